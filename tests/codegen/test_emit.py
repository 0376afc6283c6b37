"""The calls of generated C in and out of turn."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import KernelSet

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


def _unit(graph: Graph, kernels: KernelSet) -> Unit:
    program = lower(graph)
    return Unit("tiny", program, plan(program, kernels, prefer="ram", streamed=True), kernels, "streamed")


@pytest.mark.parametrize("kernels", ["portable", "dsp", "mve"])
def test_rows_and_ends_out_of_turn_are_refused(
    tmp_path: Path, small_int8: Graph, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    images = np.random.default_rng(0).integers(-128, 128, (2, 192)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(_unit(small_int8, kernels), images)])
    assert np.array_equal(ran.outputs, reference(small_int8, images))


def test_a_later_segment_that_is_longer_than_the_first_reads_no_state_past_the_arena(
    tmp_path: Path, run_sanitized: Callable, reference: Callable
) -> None:
    """A streamed layer of its own, one that needs the picture whole, and two layers that run together behind it."""
    rng = np.random.default_rng(1)
    steps = Quantization.per_tensor(0.05, 1)
    shapes = {
        "x": (1, 2, 2, 1),
        "pooled": (1, 2, 2, 1),
        "turned": (1, 2, 2, 1),
        "wide": (1, 2, 2, 12),
        "y": (1, 2, 2, 4),
    }
    tensors = [Tensor(name, shape, "int8", steps) for name, shape in shapes.items()]
    tensors.append(constant("order", np.array([0, 2, 1, 3], np.int32)))
    once = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    ops = [
        Op("MAX_POOL_2D", ("x",), ("pooled",), {**once, "filter_height": 1, "filter_width": 1}),
        Op("TRANSPOSE", ("pooled", "order"), ("turned",)),
    ]
    for entry, name in (("turned", "wide"), ("wide", "y")):
        weights = rng.integers(-127, 128, (shapes[name][3], 1, 1, shapes[entry][3])).astype(np.int8)
        tensors.append(constant(f"{name}_weights", weights, Quantization.per_tensor(0.01, 0)))
        bias = np.zeros(shapes[name][3], np.int32)
        tensors.append(constant(f"{name}_bias", bias, Quantization.per_tensor(0.0005, 0)))
        ops.append(Op("CONV_2D", (entry, f"{name}_weights", f"{name}_bias"), (name,), once))
    graph = Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("x",), ("y",))
    unit = _unit(graph, "mve")
    images = np.random.default_rng(0).integers(-128, 128, (2, 4)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit, images)])
    assert np.array_equal(ran.outputs, reference(graph, images))
    assert [part.last - part.first + 1 for part in unit.plan.segments] == [1, 1, 2]
    # The state: three pointers of 8 bytes, and the rows made of the input and by each layer of the longest segment.
    assert unit.plan.arena_bytes < 24 + 3 * 4 + 4


def test_a_pool_over_the_whole_input_takes_no_stack_of_depthwise_kernels() -> None:
    steps = Quantization.per_tensor(0.05, 1)
    once = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    tensors = [
        Tensor("x", (1, 40, 40, 8), "int8", steps),
        constant("weights", np.ones((1, 3, 3, 8), np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("deep", (1, 38, 38, 8), "int8", steps),
        Tensor("y", (1, 1, 1, 8), "int8", steps),
    ]
    ops = (
        Op("DEPTHWISE_CONV_2D", ("x", "weights"), ("deep",), {**once, "depth_multiplier": 1}),
        Op("AVERAGE_POOL_2D", ("deep",), ("y",), {**once, "filter_height": 38, "filter_width": 38}),
    )
    program = lower(Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",)))
    for kernels in ("portable", "dsp", "mve"):
        unit = Unit("tiny", program, plan(program, kernels), kernels, "pooled")
        assert set(re.findall(r"\*taps\[(\d+)\]", source_text(unit))) == {"9"}
