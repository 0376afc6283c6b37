import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mnedge.codegen.compile import compile_c
from mnedge.errors import InputError, ToolError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.runtimes import for_file, get

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None and shutil.which("gcc") is None, reason="needs a C compiler"
)


@pytest.fixture
def sources(small_int8: Graph, tmp_path: Path) -> Path:
    compile_c(small_int8, name="small", target="generic", out=tmp_path / "small.generic")
    return tmp_path / "small.generic"


def test_the_library_computes_what_the_reference_kernels_do(sources: Path, small_int8: Graph) -> None:
    assert for_file(sources) == "compiled-c"
    session = get("compiled-c").open(sources, 1)
    assert session.input.shape == (1, 8, 8, 3)
    assert session.input.quantization is not None
    assert session.input.quantization.zero_point[0] == -1
    assert session.outputs[0].shape == (1, 4)
    interpreter = Interpreter(
        model_content=write_tflite(small_int8), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = rng.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert np.array_equal(session.run(image)[0], expected)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `mnedge compile` first"):
        get("compiled-c").open(tmp_path, 1)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("((int8_t *)arena)[SMALL_ARENA_BYTES] = 1;", "wrote after the arena of"),
        ("((int8_t *)(uintptr_t)input)[-1] = 1;", "wrote before the input of 192 bytes"),
        ("output[SMALL_OUTPUT_BYTES] = 1;", "wrote after the output of 4 bytes"),
    ],
)
def test_a_write_outside_is_an_error(sources: Path, statement: str, message: str) -> None:
    source = (sources / "small.c").read_text()
    assert source.count("    return 0;\n}\n") == 1
    (sources / "small.c").write_text(source.replace("    return 0;\n}\n", f"    {statement}\n    return 0;\n}}\n"))
    with pytest.raises(ToolError, match=message):
        get("compiled-c").open(sources, 1).run(np.zeros((1, 8, 8, 3), np.int8))


def test_outputs_of_unlike_types_each_have_their_own(tmp_path: Path) -> None:
    """Scores and their classes: the output is as long as both in bytes."""
    scores = Tensor("y", (1, 3, 2, 4), "int8", Quantization.per_tensor(1 / 256, -128))
    graph = Graph(
        {
            "x": Tensor("x", (1, 3, 2, 4), "int8", Quantization.per_tensor(0.1, 0)),
            "y": scores,
            "axis": constant("axis", np.array(-1, np.int32)),
            "classes": Tensor("classes", (1, 3, 2), "int64"),
        },
        (Op("SOFTMAX", ("x",), ("y",), {"beta": 1.0}), Op("ARG_MAX", ("y", "axis"), ("classes",), {"output_type": 4})),
        ("x",),
        ("y", "classes"),
    )
    compile_c(graph, name="both", target="generic", out=tmp_path / "c", measure=False)
    session = get("compiled-c").open(tmp_path / "c", 1)
    image = np.random.default_rng(0).integers(-128, 128, (1, 3, 2, 4)).astype(np.int8)
    found, classes = session.run(image)
    assert (found.dtype, classes.dtype) == (np.int8, np.int64)
    assert np.array_equal(classes, found.argmax(axis=-1))
