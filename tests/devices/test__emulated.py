"""Emulated Cortex-M boards: generated C gives the host's outputs, within the memory that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen.compile import MemoryOptions, compile_c
from mnedge.codegen.vectors import reference_outputs
from mnedge.devices import _boards, _emulated
from mnedge.errors import BudgetError, InputError, ToolError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.vectors import Ends

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}"),
]
TARGETS = {"cortex-m3": "generic", **{core: core for core in _boards.BOARDS if core != "cortex-m3"}}
# x, then y of `inverted_residual`.


def skip_without_tools(core: str) -> None:
    """Skips the test where a core's tools are missing."""
    missing = _boards.missing_tools(core)
    if missing:
        pytest.skip(f"missing {missing}; {_boards.board(core).tools.advice}")


def compiled(graph: Graph, folder: Path, core: str, **options: Any) -> Path:
    compile_c(graph, name="tiny", target=TARGETS[core], out=folder, measure=False, options=MemoryOptions(**options))
    return folder


def inverted_residual(rows: int, columns: int, channels: int, expanded: int) -> Graph:
    """Expansion with HARD_SWISH, depthwise 5 x 5, a gate, projection and residual: every fast kernel at once."""
    rng = np.random.default_rng(7)
    tensors, ops = [], []

    def value(name: str, *shape: int, scale: float = 0.05, zero_point: int = -7) -> str:
        tensors.append(Tensor(name, (1, *shape), "int8", Quantization.per_tensor(scale, zero_point)))
        return name

    def convolution(kind: str, x: str, y: str, shape: tuple[int, ...], axis: int, **options: Any) -> None:
        scales = rng.uniform(0.2, 1.0, shape[axis]).astype(np.float32) * np.float32(0.02 / np.sqrt(np.prod(shape[1:])))
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        bias = rng.integers(-2000, 2000, shape[axis]).astype(np.int32)
        tensors.append(constant(f"{y}_w", weights, Quantization.per_channel(scales, axis)))
        tensors.append(constant(f"{y}_b", bias, Quantization.per_channel(scales * np.float32(0.05), 0)))
        common = {
            "padding": "SAME",
            "stride_h": 1,
            "stride_w": 1,
            "activation": "NONE",
            "dilation_h_factor": 1,
            "dilation_w_factor": 1,
        }
        ops.append(Op(kind, (x, f"{y}_w", f"{y}_b"), (y,), {**common, **options}))

    x = value("x", rows, columns, channels)
    value("e", rows, columns, expanded)
    convolution("CONV_2D", x, "e", (expanded, 1, 1, channels), 0)
    ops.append(Op("HARD_SWISH", ("e",), (value("h", rows, columns, expanded, scale=0.04),), {}))
    value("d", rows, columns, expanded)
    convolution("DEPTHWISE_CONV_2D", "h", "d", (1, 5, 5, expanded), 3, depth_multiplier=1, activation="RELU6")
    tensors.append(constant("axes", np.array([1, 2], np.int32)))
    ops.append(Op("MEAN", ("d", "axes"), (value("m", 1, 1, expanded, zero_point=3),), {"keep_dims": True}))
    ops.append(Op("MUL", ("d", "m"), (value("g", rows, columns, expanded),), {"activation": "NONE"}))
    value("p", rows, columns, channels)
    convolution("CONV_2D", "g", "p", (channels, 1, 1, expanded), 0)
    ops.append(Op("ADD", ("x", "p"), (value("y", rows, columns, channels, scale=0.06),), {"activation": "NONE"}))
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("x",), ("y",))


@pytest.mark.parametrize("core", TARGETS)
@pytest.mark.parametrize("shape", [(7, 5, 16, 24), (6, 6, 8, 40), (3, 4, 5, 7)])
def test_outputs_are_those_of_the_reference_kernels(
    tmp_path: Path, ends_of: Callable[[Graph], Ends], core: str, shape: tuple[int, ...]
) -> None:
    skip_without_tools(core)
    graph = inverted_residual(*shape)
    images = np.random.default_rng(1).integers(-128, 128, (3, int(np.prod(shape[:3])))).astype(np.int8)
    run = _emulated.run_inputs(compiled(graph, tmp_path / "c", core), images, core=core)
    expected = reference_outputs(write_tflite(graph), images, ends_of(graph))
    assert expected is not None
    assert np.array_equal(run.outputs, expected)
    assert 0 < run.stack_bytes < 1500
    assert run.instructions > 10 * sum(shape)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_streaming_and_overwriting_change_nothing(tmp_path: Path, core: str) -> None:
    graph = inverted_residual(7, 5, 16, 24)
    images = np.random.default_rng(2).integers(-128, 128, (2, 560)).astype(np.int8)
    plain = _emulated.run_inputs(compiled(graph, tmp_path / "a", core), images, core=core)
    folder = compiled(graph, tmp_path / "b", core, input_may_be_overwritten=True)
    assert np.array_equal(_emulated.run_inputs(folder, images, core=core).outputs, plain.outputs)


def test_the_counter_counts(tmp_path: Path, small_int8: Graph) -> None:
    folder = compiled(small_int8, tmp_path / "c", "cortex-m3")
    source = (folder / "tiny.c").read_text()
    image = np.zeros((1, 192), np.int8)
    before = _emulated.run_inputs(folder, image, core="m3").instructions
    # A hundred instructions more at the end of every run; one a line, as the compiler estimates their size so.
    more = '    __asm__ volatile("' + "nop\\n\\t" * 100 + '");\n    return 0;\n}\n'
    (folder / "tiny.c").write_text(source.replace("    return 0;\n}\n", more))
    # Longer code may take a branch instruction more here and there.
    assert 100 <= _emulated.run_inputs(folder, image, core="m3").instructions - before <= 110


def test_too_little_ram_is_a_budget_error(tmp_path: Path, small_int8: Graph) -> None:
    folder = compiled(small_int8, tmp_path / "c", "cortex-m4")
    with pytest.raises(BudgetError, match="region RAM needs"):
        _emulated.run_inputs(folder, np.zeros((1, 192), np.int8), core="cortex-m4", ram_bytes=8300)


def test_a_program_that_faults_is_told(tmp_path: Path, small_int8: Graph) -> None:
    folder = compiled(small_int8, tmp_path / "c", "cortex-m4")
    source = (folder / "tiny.c").read_text()
    (folder / "tiny.c").write_text(
        source.replace("    return 0;\n}\n", '    __asm__ volatile("udf #0");\n    return 0;\n}\n')
    )
    with pytest.raises(ToolError, match="it faulted"):
        _emulated.run_inputs(folder, np.zeros((1, 192), np.int8), core="cortex-m4")


def test_unknown_cores_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cortex-m4"):
        _boards.board("cortex-m5")
    with pytest.raises(InputError, match="no generated model"):
        _emulated.run_inputs(tmp_path, np.zeros((1, 1), np.int8), core="m4")


OUTSIDE = [
    ("((int8_t *)arena)[-1] = 1;", "before the arena"),
    ("((int8_t *)arena)[TINY_ARENA_BYTES] = 1;", "after the arena"),
    ("((int8_t *)arena)[TINY_ARENA_BYTES + 63] = 1;", "after the arena"),
    ("*((int8_t *)(uintptr_t)input - 1) = 1;", "before the input"),
    ("((int8_t *)(uintptr_t)input)[TINY_INPUT_BYTES] = 1;", "after the input"),
    ("output[-64] = 1;", "before the output"),
    ("output[TINY_OUTPUT_BYTES] = 1;", "after the output"),
    ("extern uint8_t stack_top[]; stack_top[0] = 1;", "after the stack"),
    ("extern uint8_t stack_guard[]; stack_guard[0] = 1;", "before the stack"),
    ("volatile uint8_t deep[8150]; deep[0] = 1;", "the stack came to its end at 8,192 bytes"),
    ("volatile uint8_t deep[20000]; deep[0] = 1;", "the stack came to its end at 8,192 bytes"),
]


@pytest.mark.parametrize(
    ("core", "statement", "message"),
    [*(("cortex-m4", *each) for each in OUTSIDE), *((core, *OUTSIDE[-1]) for core in TARGETS if core != "cortex-m4")],
)
def test_writes_outside_and_a_stack_at_its_end_are_errors(
    tmp_path: Path, small_int8: Graph, core: str, statement: str, message: str
) -> None:
    folder = compiled(small_int8, tmp_path / "c", core)
    source = (folder / "tiny.c").read_text()
    assert source.count("    return 0;\n}\n") == 1
    (folder / "tiny.c").write_text(source.replace("    return 0;\n}\n", f"    {statement}\n    return 0;\n}}\n"))
    with pytest.raises(ToolError, match=message):
        _emulated.run_inputs(folder, np.zeros((1, 192), np.int8), core=core)


def test_a_kernel_that_fills_more_scratch_than_it_states_is_caught(tmp_path: Path, small_int8: Graph) -> None:
    """The fault that the guards are for: one pixel is stated where the kernel fills more."""
    folder = compiled(small_int8, tmp_path / "c", "cortex-m3")
    source = (folder / "tiny.c").read_text()
    filled = "scratch != NULL && channel < depth"
    assert filled in source
    (folder / "tiny.c").write_text(source.replace(filled, "channel < TINY_ARENA_BYTES + 8"))
    with pytest.raises(ToolError, match="NAME_run wrote after the arena; no output of it counts"):
        _emulated.run_inputs(folder, np.zeros((1, 192), np.int8), core="cortex-m3")


def test_the_guards_take_nothing_from_the_ram_of_the_part(tmp_path: Path, small_int8: Graph) -> None:
    folder = compiled(small_int8, tmp_path / "c", "cortex-m4")
    image = np.zeros((1, 192), np.int8)
    with pytest.raises(BudgetError) as refused:
        _emulated.run_inputs(folder, image, core="cortex-m4", ram_bytes=8300)
    needed = int(str(refused.value).split("needs ")[1].split(" ")[0].replace(",", ""))
    run = _emulated.run_inputs(folder, image, core="cortex-m4", ram_bytes=needed)
    assert run.outputs.shape == (1, 4)
    with pytest.raises(BudgetError, match="the budget is 8,300;"):
        _emulated.run_inputs(folder, image, core="cortex-m4", ram_bytes=8300)
