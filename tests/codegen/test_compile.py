"""`compile_c` and its relatives: the folder, the manifest, the errors, and whole models of others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen import vectors
from mnedge.codegen.compile import MemoryOptions, check_name, compile_c
from mnedge.codegen.tflm import compile_tflm, measure_arena, resolver_name
from mnedge.codegen.vela import compile_vela
from mnedge.devices import _boards
from mnedge.errors import BudgetError, InputError, UnsupportedError
from mnedge.files import RECORD
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.results.compilation import CSources
from mnedge.workflows.compile import compile as compile_model
from mnedge.workflows.optimize import optimize
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from pathlib import Path


STRICT = "-std=c99 -Wall -Wextra -Wconversion -Werror -pedantic -O2"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
CROSS = {"cortex-m4": _boards.BOARDS["cortex-m4"].flags, "cortex-m55": _boards.BOARDS["cortex-m55"].flags}
TARGETS = ("generic", "cortex-m4", "cortex-m7", "cortex-m55")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
_MISSING = _boards.missing_tools()
needs_boards = pytest.mark.skipif(bool(_MISSING), reason=f"missing {_MISSING}; {_boards.ADVICE}")


def build(
    graph: Graph, out: Path, target: str = "generic", *, measure: bool = True, model_sha256: str = "", **options: Any
) -> CSources:
    return compile_c(
        graph,
        name="tiny",
        target=target,
        out=out,
        model=write_tflite(graph),
        options=MemoryOptions(**options),
        measure=measure,
        model_sha256=model_sha256,
    )


@cache
def sanitizes(compiler: str) -> bool:
    """Returns whether a compiler is here, and its sanitizers link; with clang that takes a package more."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, *SANITIZERS.split(), "-x", "c", "-", "-o", f"{folder}/nothing"]
        empty = b"int main(void) { return 0; }"
        return subprocess.run(command, input=empty, check=False, capture_output=True).returncode == 0


def run_test_program(
    folder: Path, name: str, flags: str = SANITIZERS, *, compiler: str = "gcc"
) -> subprocess.CompletedProcess[str]:
    """Builds and runs the test that was generated beside the model."""
    sources = [f"test_{name}.c", f"{name}.c"]
    subprocess.run([compiler, *STRICT.split(), *flags.split(), *sources, "-o", "test"], cwd=folder, check=True)
    return subprocess.run(["./test"], cwd=folder, check=False, capture_output=True, text=True)


def test_the_folder_holds_the_model_and_what_a_project_needs(tmp_path: Path, small_int8: Graph) -> None:
    manifest = build(small_int8, tmp_path / "out", measure=False, model_sha256="ab" * 32)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    packages = {"CMakeLists.txt", "idf_component.yml", "library.json", "library.properties", "zephyr"}
    assert files == {"tiny.h", "tiny.c", "test_tiny.c", *packages, "manifest.json", RECORD}
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["model_sha256"] == "ab" * 32
    assert written["arena_bytes"] == manifest.arena_bytes
    assert f"#define TINY_ARENA_BYTES {written['arena_bytes']} " in (tmp_path / "out" / "tiny.h").read_text()
    assert [row["op"] for row in written["layers"]] == ["CONV_2D", "MEAN", "SOFTMAX"]
    assert written["macs"] == 4 * 4 * 4 * 27


@needs_gcc
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "options", rest_is_slow([{}, {"stream_input": True}, {"input_may_be_overwritten": True}, {"prefer": "speed"}], 2)
)
def test_the_generated_test_passes_with_sanitizers(
    tmp_path: Path, small_int8: Graph, target: str, options: dict[str, Any]
) -> None:
    build(small_int8, tmp_path / "out", target, measure=False, **options)
    for flags in (SANITIZERS, "-O2"):
        finished = run_test_program(tmp_path / "out", "tiny", flags)
        assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr


OUTSIDE = [
    ("((int8_t *)arena)[-1] = 1;", "wrote before the arena"),
    ("((int8_t *)arena)[TINY_ARENA_BYTES] = 1;", "wrote after the arena"),
    ("*((int8_t *)(uintptr_t)input - 1) = 1;", "wrote before the input"),
    ("((int8_t *)(uintptr_t)input)[TINY_INPUT_BYTES] = 1;", "wrote after the input"),
    ("*(int8_t *)(uintptr_t)input ^= 1;", "changed its input"),
    ("output[-1] = 1;", "wrote before the output"),
    ("output[TINY_OUTPUT_BYTES] = 1;", "wrote after the output"),
    ("return ((int8_t *)arena)[TINY_ARENA_BYTES] == 0;", ""),
]


@needs_gcc
@pytest.mark.parametrize("compiler", rest_is_slow(["gcc", "clang"]))
@pytest.mark.parametrize(("statement", "message"), OUTSIDE)
def test_the_generated_test_tells_what_was_written_outside(
    tmp_path: Path, small_int8: Graph, compiler: str, statement: str, message: str
) -> None:
    if not sanitizes(compiler):
        pytest.skip(f"no {compiler} with its sanitizers on this machine: apt-get install {compiler} libclang-rt-dev")
    build(small_int8, tmp_path / "out", measure=False)
    source = (tmp_path / "out" / "tiny.c").read_text()
    assert source.count("    return 0;\n}\n") == 1
    wrong = source.replace("    return 0;\n}\n", f"    {statement}\n    return 0;\n}}\n")
    (tmp_path / "out" / "tiny.c").write_text(wrong)
    finished = run_test_program(tmp_path / "out", "tiny", "-O2", compiler=compiler)
    assert message in finished.stdout
    assert (finished.returncode == 1) is bool(message)
    finished = run_test_program(tmp_path / "out", "tiny", compiler=compiler)
    # A read outside changes no guard; the sanitizer sees it all the same. A changed input is inside.
    seen = finished.stderr if "changed" not in message else finished.stdout
    assert ("changed its input" if "changed" in message else "use-after-poison") in seen


@needs_gcc
def test_the_generated_test_catches_a_kernel_that_fills_more_scratch_than_it_states(
    tmp_path: Path, small_int8: Graph
) -> None:
    build(small_int8, tmp_path / "out", measure=False)
    source = (tmp_path / "out" / "tiny.c").read_text()
    filled = "scratch != NULL && channel < depth"
    assert filled in source
    (tmp_path / "out" / "tiny.c").write_text(source.replace(filled, "channel < TINY_ARENA_BYTES + 8"))
    assert "tiny_run wrote after the arena" in run_test_program(tmp_path / "out", "tiny", "-O2").stdout


@needs_gcc
@pytest.mark.parametrize("target", TARGETS)
def test_only_stdint_and_stddef_are_included_and_cpp_can_use_it(tmp_path: Path, small_int8: Graph, target: str) -> None:
    compile_c(small_int8, name="tiny", target=target, out=tmp_path / "out", measure=False)
    texts = [(tmp_path / "out" / name).read_text() for name in ("tiny.c", "tiny.h")]
    included = set(re.findall(r"#include [<\"](.*?)[>\"]", "".join(texts)))
    assert included == {"stdint.h", "stddef.h", "tiny.h"}
    (tmp_path / "main.cpp").write_text(
        '#include "out/tiny.h"\nint main() { return tiny_run(nullptr, nullptr, nullptr) + 1; }\n'
    )
    subprocess.run(["gcc", "-c", "-std=c99", "out/tiny.c", "-o", "tiny.o"], cwd=tmp_path, check=True)
    subprocess.run(["g++", "-Wall", "-Werror", "main.cpp", "tiny.o", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc m4", "arm-none-eabi-gcc m55"])
@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
def test_no_compiler_warns(tmp_path: Path, small_int8: Graph, target: str, compiler: str, level: str) -> None:
    program, _, core = compiler.partition(" ")
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    compile_c(small_int8, name="tiny", target=target, out=tmp_path / "out", measure=False)
    flags = CROSS.get(f"cortex-{core}", ())
    argv = [program, *flags, *STRICT.replace("-O2", level).split(), "-c", "tiny.c", "-o", "tiny.o"]
    subprocess.run(argv, cwd=tmp_path / "out", check=True)


@needs_gcc
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on this machine")
def test_cmake_builds_and_tests_it(tmp_path: Path, small_int8: Graph) -> None:
    build(small_int8, tmp_path / "out", measure=False)
    flags = f"-DCMAKE_C_FLAGS={SANITIZERS}"
    for argv in (["cmake", flags, "-S", "out", "-B", "b"], ["cmake", "--build", "b"], ["ctest", "--test-dir", "b"]):
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, small_int8: Graph) -> None:
    for name in ("a", "b"):
        build(small_int8, tmp_path / name, measure=False)
    for file in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("name", ["", "3d", "a-b", "int", "a b", "_x", "ä", "x" * 80])
def test_a_name_that_is_no_c_identifier(name: str) -> None:
    with pytest.raises(InputError, match="cannot start C names"):
        check_name(name)


def test_a_budget_names_the_nearest_miss_and_leaves_nothing(tmp_path: Path, small_int8: Graph) -> None:
    smallest = build(small_int8, tmp_path / "small", prefer="ram", measure=False).arena_bytes
    with pytest.raises(BudgetError, match=f"{smallest:,} bytes, the budget is {smallest - 1:,}"):
        build(small_int8, tmp_path / "out", budget_bytes=smallest - 1)
    assert not (tmp_path / "out").exists()
    assert build(small_int8, tmp_path / "out", budget_bytes=smallest, measure=False).arena_bytes == smallest


def _with(graph: Graph, *ops: Op, tensors: tuple[Tensor, ...] = ()) -> Graph:
    return graph.replaced(tensors=tensors, ops=(*graph.ops, *ops), outputs=[ops[-1].outputs[0]])


def test_unsupported_models_say_why_and_leave_nothing(tmp_path: Path, small_int8: Graph) -> None:
    real = Tensor("real", (1, 4), "float32")
    scores = Quantization.per_tensor(1 / 256, -128)
    cases = {
        "SOFTMAX in float": _with(
            small_int8,
            Op("DEQUANTIZE", ("scores",), ("real",)),
            Op("SOFTMAX", ("real",), ("again",), {"beta": 1.0}),
            tensors=(real, replace(real, name="again")),
        ),
        "batch size 2": small_int8.replaced(tensors=[Tensor("image", (2, 8, 8, 3), "int8", scores)]),
        "CONV_2D in float": small_int8.replaced(tensors=[Tensor("image", (1, 8, 8, 3), "float32")]),
        "larger than": small_int8.replaced(tensors=[Tensor("image", (1, 1 << 15, 1 << 14, 3), "int8", scores)]),
        "scale": small_int8.replaced(tensors=[Tensor("conv", (1, 4, 4, 4), "int8", Quantization.per_tensor(0.0, 0))]),
    }
    for message, graph in cases.items():
        with pytest.raises(UnsupportedError, match=message):
            compile_c(graph, name="tiny", target="generic", out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(UnsupportedError, match="takes no C sources"):
        compile_c(small_int8, name="tiny", target="cpu", out=tmp_path / "out")
    with pytest.raises(InputError, match="unknown target"):
        compile_c(small_int8, name="tiny", target="cortex-m5", out=tmp_path / "out")


@needs_boards
@pytest.mark.toolchain
@pytest.mark.parametrize("target", TARGETS)
def test_the_manifest_holds_what_the_board_measured(tmp_path: Path, small_int8: Graph, target: str) -> None:
    manifest = build(small_int8, tmp_path / "out", target)
    assert manifest.verified.endswith("2 inputs")
    measured = (manifest.stack_bytes or 0, manifest.flash_bytes or 0, manifest.instructions or 0)
    limits = ((100, 2000), (500, 20_000), (1_000, 200_000))
    assert [low < value < high for value, (low, high) in zip(measured, limits, strict=True)] == [True] * 3, measured


def test_models_whose_reference_aborts_have_no_vectors_and_say_so(tmp_path: Path) -> None:
    flat = Tensor("x", (1, 600), "int8", Quantization.per_tensor(0.1, 0))
    scores = Tensor("y", (1, 600), "int8", Quantization.per_tensor(1 / 256, -128))
    graph = Graph({"x": flat, "y": scores}, (Op("SOFTMAX", ("x",), ("y",), {"beta": 1.0}),), ("x",), ("y",))
    equal = np.zeros((1, 600), np.int8)
    ends = ((("int8", 0.1, 0),), (("int8", 1 / 256, -128),))
    assert vectors.reference_outputs(write_tflite(graph), equal, ends) is None
    manifest = build(graph, tmp_path / "out", measure=False)
    assert manifest.vectors == "2 from LiteRT's reference kernels"


@pytest.mark.slow
def test_tflm_gets_the_exact_ops_and_an_arena_that_fits(tmp_path: Path, small_int8: Graph) -> None:
    pytest.importorskip("tflite_micro", reason="pip install --pre 'mnedge[tflm]'")
    model = write_tflite(small_int8)
    manifest = compile_tflm(model, name="tiny", target="cortex-m4", out=tmp_path / "out")
    text = (tmp_path / "out" / "tiny_model.h").read_text()
    assert re.findall(r"resolver\.Add(\w+)", text) == ["Conv2D", "Mean", "Softmax"]
    assert "MicroMutableOpResolver<3>" in text
    measured = measure_arena(model)
    assert manifest.arena_bytes_measured == measured
    assert manifest.arena_bytes > measured
    script = (
        "import sys; from tflite_micro.python.tflite_micro import runtime; model = open(sys.argv[1], 'rb').read(); "
        "runtime.Interpreter.from_bytes(model, arena_size=int(sys.argv[2]))"
    )
    (tmp_path / "m.tflite").write_bytes(model)
    for size, good in ((measured, True), (measured - 32, False)):
        status = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "m.tflite", str(size)], capture_output=True, check=False
        )
        assert (status.returncode == 0) is good


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("DEPTHWISE_CONV_2D", "DepthwiseConv2D"),
        ("RELU6", "Relu6"),
        ("L2_NORMALIZATION", "L2Normalization"),
        ("PADV2", "PadV2"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTM"),
        ("TFLite_Detection_PostProcess", "DetectionPostprocess"),
    ],
)
def test_names_of_tflm_ops(kind: str, name: str) -> None:
    assert resolver_name(kind) == name


def test_tflm_packs_what_has_no_kernel_in_c(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="pip install --pre 'mnedge[tflm]'")
    steps = Quantization.per_tensor(0.1, 0)
    tensors = {name: Tensor(name, (1, 4, 4, 8), "int8", steps) for name in ("x", "y")}
    tensors["z"] = Tensor("z", (1, 8, 8, 2), "int8", steps)
    ops = (Op("NEG", ("x",), ("y",)), Op("DEPTH_TO_SPACE", ("y",), ("z",), {"block_size": 2}))
    graph = Graph(tensors, ops, ("x",), ("z",))
    with pytest.raises(UnsupportedError, match="DEPTH_TO_SPACE"):
        build(graph, tmp_path / "c", measure=False)
    float_steps = {name: Tensor(name, tensor.shape, "float32") for name, tensor in tensors.items()}
    packed = compile_tflm(
        write_tflite(Graph(float_steps, ops, ("x",), ("z",))), name="m", target="cortex-m4", out=tmp_path / "out"
    )
    assert packed.ops == ("DEPTH_TO_SPACE", "NEG")


def test_tflm_refuses_custom_ops_that_it_does_not_know_by_name(tmp_path: Path) -> None:
    tensors = {name: Tensor(name, (1, 4), "float32") for name in ("x", "y")}
    for kind, words in (("Mine", "the custom op Mine .output y."), ("ethos-u", "compiled for Arm's Ethos-U already")):
        graph = Graph(tensors, (Op(kind, ("x",), ("y",), {"custom_options": b""}),), ("x",), ("y",))
        with pytest.raises(UnsupportedError, match=words):
            compile_tflm(write_tflite(graph), name="m", target="cortex-m4", out=tmp_path / "out")
    with pytest.raises(InputError, match="cut short or damaged"):
        compile_tflm(write_tflite(graph)[:60], name="m", target="cortex-m4", out=tmp_path / "out")


def test_ops_that_vela_leaves_have_their_tflite_names(tmp_path: Path) -> None:
    pytest.importorskip("ethosu", reason="pip install 'mnedge[ethos-u]'")
    steps = Quantization.per_tensor(0.1, 0)
    tensors = {name: Tensor(name, (1, 4, 4, 8), "int8", steps) for name in ("x", "y", "z")}
    ops = (Op("ADD", ("x", "x"), ("y",), {"activation": "NONE"}), Op("DIV", ("x", "y"), ("z",), {"activation": "NONE"}))
    model = write_tflite(Graph(tensors, ops, ("x",), ("z",)))
    manifest = compile_vela(model, name="tiny", target="ethos-u55-128", out=tmp_path / "out")
    assert manifest.cpu_ops == ("DIV z",)


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_vela_compiles_and_its_figures_are_read(tmp_path: Path, small_int8: Graph, target: str) -> None:
    pytest.importorskip("ethosu", reason="pip install 'mnedge[ethos-u]'")
    manifest = compile_vela(write_tflite(small_int8), name="tiny", target=target, out=tmp_path / "out")
    assert (tmp_path / "out" / "tiny_vela.tflite").read_bytes()[4:8] == b"TFL3"
    assert manifest.npu_operators > 0
    assert manifest.cpu_ops == ()
    assert manifest.macs >= 4 * 4 * 4 * 27
    assert manifest.cycles > 0
    assert manifest.arena_bytes > 0


MODELS = [
    "mlperf_tiny/vww_96_int8", "tasks/ssd_slim_120x160x1_v1_int8__emza",
    pytest.param("mcu/v2_0.35_96_int8_random", marks=pytest.mark.slow),
    pytest.param("imagenet/mobilenet_v1_0.25_128_quant", marks=pytest.mark.slow),
    pytest.param("imagenet/keras_mobilenetv2_int8__Sch-Stef", marks=pytest.mark.soak),
    pytest.param("imagenet/tf2_mobilenet_v2_1.0_224_ptq", marks=pytest.mark.soak),
]  # fmt: skip


@needs_gcc
@pytest.mark.shared
@pytest.mark.parametrize("model", MODELS)
def test_models_of_others_are_bit_exact(shared_data: Path, tmp_path: Path, model: str) -> None:
    path = shared_data / "models" / f"{model}.tflite"
    for target in ("generic", "cortex-m4", "cortex-m55")[: 3 if "mlperf" in model else 1]:
        compile_c(
            read_tflite(path), name="m", target=target, out=tmp_path / target, model=path.read_bytes(), measure=False
        )
        finished = run_test_program(tmp_path / target, "m")
        assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr


# Arena bytes (caller's input outside), flash bytes, instructions on M4 and M55: what the issue allows at most.
LIMITS = {
    "mlperf_tiny/vww_96_int8": (39_000, 250_000, 13.0e6, 4.2e6),
    "mcu/v2_0.35_96_int8_random": (40_000, 2_036_940, 28.0e6, 9.0e6),
    "mcu/v3small_0.75_224_int8_random": (206_000, 2_454_148, 105.0e6, 27.0e6),
}


@needs_boards
@pytest.mark.shared
@pytest.mark.toolchain
@pytest.mark.soak
@pytest.mark.parametrize("model", LIMITS)
def test_the_default_plan_holds_the_figures(shared_data: Path, tmp_path: Path, model: str) -> None:
    path = shared_data / "models" / f"{model}.tflite"
    arena, flash, on_m4, on_m55 = LIMITS[model]
    for target, instructions in (("cortex-m4", on_m4), ("cortex-m55", on_m55)):
        manifest = compile_c(read_tflite(path), name="m", target=target, out=tmp_path / target, model=path.read_bytes())
        assert manifest.arena_bytes <= arena
        assert manifest.flash_bytes is not None
        assert manifest.flash_bytes <= flash
        assert manifest.instructions is not None
        assert manifest.instructions <= instructions


def test_ops_without_a_kernel_are_all_named_with_their_tensors(tmp_path: Path, small_int8: Graph) -> None:
    real = Quantization.per_tensor(0.1, 0)
    tensors = tuple(Tensor(name, (1, 4), "int8", real) for name in ("e", "f", "l"))
    graph = _with(
        small_int8,
        Op("RSQRT", ("scores",), ("e",)),
        Op("RSQRT", ("e",), ("f",)),
        Op("LOG", ("f",), ("l",)),
        tensors=tensors,
    )
    with pytest.raises(UnsupportedError) as refused:
        compile_c(graph, name="tiny", target="generic", out=tmp_path / "out")
    said = str(refused.value)
    assert "LOG (op 5, output l), RSQRT (2 ops, the first op 3, output e)" in said
    assert "--outputs scores. " in said
    # Where an op that has a kernel follows, nothing can be left out.
    between = replace(graph, ops=(*graph.ops, Op("RELU", ("l",), ("r",))), outputs=("r",))
    between = between.replaced(tensors=[Tensor("r", (1, 4), "int8", real)])
    with pytest.raises(UnsupportedError, match="op 5, output l") as refused:
        compile_c(between, name="tiny", target="generic", out=tmp_path / "out")
    assert "--outputs" not in str(refused.value)


def test_an_op_that_computes_in_another_way_in_uint8_is_refused(tmp_path: Path) -> None:
    """And what is advised compiles: the model in int8."""
    steps = Quantization.per_tensor(0.03, 120)
    tensors = [Tensor("x", (1, 4, 4, 3), "uint8", steps), Tensor("y", (1, 8, 8, 3), "uint8", steps)]
    tensors.append(Tensor("size", (2,), "int32", data=np.array([8, 8], np.int32)))
    options = {"align_corners": False, "half_pixel_centers": False}
    ops = (Op("RESIZE_BILINEAR", ("x", "size"), ("y",), options),)
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    with pytest.raises(UnsupportedError, match=r"mnedge optimize IN\.tflite --target TARGET -o OUT\.tflite"):
        build(graph, tmp_path / "out", measure=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "m.tflite").write_bytes(write_tflite(graph))
    optimize(tmp_path / "m.tflite", tmp_path / "int8.tflite", target="cortex-m4", measure=False)
    build(read_tflite(tmp_path / "int8.tflite"), tmp_path / "out", measure=False)


def _with_float_ends(graph: Graph, *more: Op, tensors: tuple[Tensor, ...] = ()) -> Graph:
    """The graph between a QUANTIZE and a DEQUANTIZE, and further ops behind that."""
    real = Tensor("real_image", (1, 8, 8, 3), "float32")
    scores = Tensor("real_scores", (1, 4), "float32")
    ops = (Op("QUANTIZE", ("real_image",), ("image",)), *graph.ops, Op("DEQUANTIZE", ("scores",), ("real_scores",)))
    last = more[-1].outputs[0] if more else "real_scores"
    return graph.replaced(tensors=(real, scores, *tensors), ops=(*ops, *more), inputs=["real_image"], outputs=[last])


@needs_gcc
def test_float_ends_are_cut_and_the_header_converts_as_tflite_does(tmp_path: Path, small_int8: Graph) -> None:
    graph = _with_float_ends(small_int8)
    manifest = build(graph, tmp_path / "out", measure=False)
    assert manifest.vectors == "2 from LiteRT's reference kernels"
    assert manifest.input_bytes == 8 * 8 * 3
    finished = run_test_program(tmp_path / "out", "tiny")
    assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr
    reals = np.concatenate([np.linspace(-2, 2, 1001), (np.arange(-300, 300) + 0.5) / 127.5, [1e3, -1e3]])
    reals = reals.astype(np.float32)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "out/tiny.h"\nint main(void)\n{\n    float real;\n'
        "    while (fread(&real, sizeof real, 1, stdin) == 1) {\n        const int8_t step = tiny_quantize(real);\n"
        "        real = tiny_dequantize(step);\n        fwrite(&step, 1, 1, stdout);\n"
        "        fwrite(&real, sizeof real, 1, stdout);\n    }\n}\n"
    )
    strict = [*STRICT.split(), *SANITIZERS.split()]
    subprocess.run(["gcc", *strict, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    made = subprocess.run(["./main"], cwd=tmp_path, input=reals.tobytes(), capture_output=True, check=True).stdout
    rows = np.frombuffer(made, np.dtype([("step", "i1"), ("real", "<f4")]))
    steps, back = _conversions_of_litert(reals, graph.tensors["image"], graph.tensors["scores"])
    assert np.array_equal(rows["step"], steps)
    assert np.array_equal(rows["real"], back)


def _conversions_of_litert(reals: np.ndarray, image: Tensor, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What QUANTIZE makes of real values, and what DEQUANTIZE makes of the same steps as scores."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    results: list[np.ndarray] = []
    ends = (("float32", "int8", image.quantization), ("int8", "float32", scores.quantization))
    for kind, (before, after, quantization) in zip(("QUANTIZE", "DEQUANTIZE"), ends, strict=True):
        x = Tensor("x", (1, len(reals)), before, quantization if before == "int8" else None)
        y = Tensor("y", (1, len(reals)), after, quantization if after == "int8" else None)
        model = write_tflite(Graph({"x": x, "y": y}, (Op(kind, ("x",), ("y",)),), ("x",), ("y",)))
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        fed = reals if kind == "QUANTIZE" else results[0]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed.reshape(1, -1))
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel())
    return results[0], results[1]


@needs_gcc
def test_the_advice_for_float_ops_at_the_ends_leads_to_c(tmp_path: Path, small_int8: Graph) -> None:
    """A scaling in front of the QUANTIZE, and a LOG_SOFTMAX behind the DEQUANTIZE: what is advised compiles."""
    between = _with_float_ends(
        small_int8,
        Op("LOG_SOFTMAX", ("real_scores",), ("logs",)),
        tensors=(Tensor("logs", (1, 4), "float32"),),
    )
    factor = Tensor("factor", (), "float32", data=np.array(1 / 255, np.float32))
    graph = between.replaced(
        tensors=(Tensor("pixels", (1, 8, 8, 3), "float32"), factor),
        ops=(Op("MUL", ("pixels", "factor"), ("real_image",), {"activation": "NONE"}), *between.ops),
        inputs=["pixels"],
    )
    with pytest.raises(UnsupportedError, match=r"LOG_SOFTMAX in float \(op 6, output logs\), MUL in float") as refused:
        build(graph, tmp_path / "out")
    found = re.search(r"compiles with --input (\S+) --outputs (\S+)\. ", str(refused.value))
    assert found is not None, str(refused.value)
    (tmp_path / "m.tflite").write_bytes(write_tflite(graph))
    made = compile_model(
        tmp_path / "m.tflite", tmp_path / "out", "generic", name="tiny", feed=found[1], outputs=found[2].split(",")
    )
    assert isinstance(made, CSources)
    assert made.vectors == "2 from LiteRT's reference kernels"
    finished = run_test_program(tmp_path / "out", "tiny")
    assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr


def test_several_inputs_lie_one_after_another_and_are_not_streamed(tmp_path: Path, small_int8: Graph) -> None:
    other = Tensor("more", (1, 4), "int8", Quantization.per_tensor(0.02, 3))
    total = Tensor("total", (1, 4), "int8", Quantization.per_tensor(0.03, 1))
    sum_of = Op("ADD", ("mean", "more"), ("total",), {"activation": "NONE", "pot_scale_int16": True})
    graph = small_int8.replaced(
        tensors=(other, total), ops=(*small_int8.ops[:2], sum_of), inputs=("image", "more"), outputs=("total",)
    )
    build(graph, tmp_path / "out", measure=False)
    header = (tmp_path / "out" / "tiny.h").read_text()
    assert "#define TINY_INPUT_BYTES 196 " in header
    assert "#define TINY_INPUT1_OFFSET 192 " in header
    if shutil.which("gcc"):
        finished = run_test_program(tmp_path / "out", "tiny")
        assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr
    for option in ("stream_input", "input_may_be_overwritten"):
        asked: dict[str, Any] = {option: True}
        with pytest.raises(UnsupportedError, match="2 inputs; --stream-input"):
            build(graph, tmp_path / "streamed", "generic", **asked)


def test_shapes_that_a_model_computes_are_constants_in_c(tmp_path: Path, small_int8: Graph) -> None:
    """SHAPE, STRIDED_SLICE and PACK in front of a RESHAPE, as Keras exports them for a free batch."""
    numbers = [("begin", np.array([0])), ("end", np.array([1])), ("step", np.array([1])), ("four", np.array(4))]
    constants = [Tensor(name, data.shape, "int32", data=data.astype(np.int32)) for name, data in numbers]
    tensors = (
        *constants,
        Tensor("shape", (2,), "int32"),
        Tensor("batch", (), "int32"),
        Tensor("sizes", (2,), "int32"),
        Tensor("flat", (1, 4), "int8", Quantization.per_tensor(1 / 256, -128)),
    )
    masks = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 1}
    graph = _with(
        small_int8,
        Op("SHAPE", ("scores",), ("shape",), {"out_type": 2}),
        Op("STRIDED_SLICE", ("shape", "begin", "end", "step"), ("batch",), {**masks, "offset": False}),
        Op("PACK", ("batch", "four"), ("sizes",), {"axis": 0, "values_count": 2}),
        Op("RESHAPE", ("scores", "sizes"), ("flat",), {}),
        tensors=tensors,
    )
    manifest = build(graph, tmp_path / "out", measure=False)
    assert [layer.op for layer in manifest.layers] == ["CONV_2D", "MEAN", "SOFTMAX"]


FIRMWARE = [
    "fingerprint", "magic_wand", "mbnet96_0.25_q", "micro_speech", "mnist_lstm", "mnist_valid_q", "person_detect",
    "rock_paper_scissors", "tinyengine_detection", "wake_word_hey_jarvis",
]  # fmt: skip


@pytest.mark.slow
@needs_gcc
@pytest.mark.shared
@pytest.mark.parametrize("model", FIRMWARE)
def test_models_of_public_firmware_are_bit_exact(shared_data: Path, tmp_path: Path, model: str) -> None:
    path = shared_data.parent / "cases" / "mcu" / f"{model}.tflite"
    if not path.is_file():
        pytest.skip("no shared cases beside the shared data")
    data = path.read_bytes()
    for target in ("generic", "cortex-m4", "cortex-m55"):
        graph = parse_tflite(data, str(path), stateful=True)
        made = compile_c(graph, name="m", target=target, out=tmp_path / target, model=data, measure=False)
        if made.vectors.startswith("none"):
            pytest.skip("LiteRT refuses the model, and tflite-micro is not installed")
        finished = run_test_program(tmp_path / target, "m")
        assert (finished.stdout, finished.returncode) == ("2 of 2 vectors equal\n", 0), finished.stderr
