"""Narrow weights where flash is preferred to speed."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.lower import lower
from mnedge.codegen.narrow import with_narrow_weights
from mnedge.codegen.plan import plan
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_smaller_kernels_make_the_same(
    tmp_path: Path, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    graph = _chain(3, 16, 16, 4)
    program = lower(graph)
    images = np.random.default_rng(0).integers(-128, 128, (2, SIDE * SIDE * 3)).astype(np.int8)
    small = with_narrow_weights(program)
    units = [
        Unit("model0", small, plan(small, "dsp"), "dsp", "small"),
        Unit("model1", program, plan(program, "dsp"), "dsp", "wide"),
    ]
    expected = reference(graph, images)
    for unit, ran in zip(units, run_sanitized(tmp_path, [(unit, images) for unit in units]), strict=True):
        assert np.array_equal(ran.outputs, expected), unit.description
    narrow, wide = (source_text(unit) for unit in units)
    assert "_wide" in wide.partition("/* layer 0")[2]
    assert "_wide" not in narrow.partition("/* layer 0")[2]
    words = [text.count("0x") for text in (narrow, wide)]
    # Half of the words of the weights, 3 of 8, 16 and 16 channels filled up, are saved.
    assert words[1] - words[0] == (16 * 8 + 16 * 16 + 4 * 16) // 4
