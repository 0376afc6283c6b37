"""Faster kernels where they cost no arena, and narrow weights where flash is preferred."""

from __future__ import annotations

import itertools
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.lower import lower
from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.plan import plan
from mnedge.codegen.quicken import quicken, with_narrow_weights
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import Program

SIDE = 8


def _chain(*channels: int) -> Graph:
    """Pointwise layers one after another, as many channels in each value."""
    rng = np.random.default_rng(2)
    steps = Quantization.per_tensor(0.05, -3)
    tensors = [Tensor(f"t{place}", (1, SIDE, SIDE, count), "int8", steps) for place, count in enumerate(channels)]
    ops = []
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    for place, (depth, count) in enumerate(itertools.pairwise(channels)):
        data = rng.integers(-127, 128, (count, 1, 1, depth)).astype(np.int8)
        tensors.append(constant(f"w{place}", data, Quantization.per_tensor(0.004, 0)))
        bias = rng.integers(-900, 900, count).astype(np.int32)
        tensors.append(constant(f"b{place}", bias, Quantization.per_tensor(float(np.float32(0.004 * 0.05)), 0)))
        ops.append(Op("CONV_2D", (f"t{place}", f"w{place}", f"b{place}"), (f"t{place + 1}",), options))
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("t0",), (f"t{len(channels) - 1}",))


def _variants(program: Program) -> list[str]:
    return [layer.kernel.variant("mve") for layer in program.layers if isinstance(layer.kernel, Convolution)]


def test_weights_stay_in_registers_where_no_arena_grows() -> None:
    program = lower(_chain(3, 16, 16, 4))
    assert _variants(program) == ["pointwise"] * 3
    planned = partial(plan, kernels="mve", prefer="speed")
    fast, memory = quicken(program, "mve", planned)
    # Layer by layer the second one's output lies over its input; the others read or write what the caller has.
    assert _variants(fast) == ["shallow", "pointwise", "shallow"]
    assert memory.arena_bytes == planned(program).arena_bytes
    for kernels in ("portable", "dsp"):
        same, _ = quicken(program, kernels, partial(plan, kernels=kernels))
        assert same is program


def test_all_layers_are_freed_at_once_where_rows_are_passed_on() -> None:
    program = lower(_chain(3, 16, 16, 4))
    planned = partial(plan, kernels="mve", prefer="ram")
    fast, memory = quicken(program, "mve", planned)
    assert _variants(fast) == ["shallow"] * 3
    assert memory.arena_bytes <= planned(program).arena_bytes


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_faster_and_smaller_kernels_make_the_same(
    tmp_path: Path, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    graph = _chain(3, 16, 16, 4)
    program = lower(graph)
    images = np.random.default_rng(0).integers(-128, 128, (2, SIDE * SIDE * 3)).astype(np.int8)
    fast, memory = quicken(program, "mve", partial(plan, kernels="mve", prefer="speed"))
    small = with_narrow_weights(program)
    units = [
        Unit("model0", fast, memory, "mve", "fast"),
        Unit("model1", small, plan(small, "dsp"), "dsp", "small"),
        Unit("model2", program, plan(program, "dsp"), "dsp", "wide"),
    ]
    expected = reference(graph, images)
    for unit, ran in zip(units, run_sanitized(tmp_path, [(unit, images) for unit in units]), strict=True):
        assert np.array_equal(ran.outputs, expected), unit.description
    narrow, wide = (source_text(unit) for unit in units[1:])
    assert "_wide" in wide.partition("/* layer 0")[2]
    assert "_wide" not in narrow.partition("/* layer 0")[2]
    words = [text.count("0x") for text in (narrow, wide)]
    # Half of the words of the weights, 3 of 8, 16 and 16 channels filled up, are saved.
    assert words[1] - words[0] == (16 * 8 + 16 * 16 + 4 * 16) // 4
