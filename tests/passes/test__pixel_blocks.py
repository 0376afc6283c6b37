"""Pixels prepared in blocks of 2 x 2 in front of a convolution of stride 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.passes.fold_preprocessing import shared_steps
from mnedge.pixels import Pixels
from mnedge.quantization.interpret import first_output

_SIDE = 12


def _network(sketch: Any, kernel: int, before: int | None, *, side: int = _SIDE, stride: int = 2) -> Any:
    """A picture, a PAD where `before` says so (SAME otherwise), and a convolution."""
    name = sketch.value("image", 1, side, side, 3)
    made = -(-side // stride)
    padding = "SAME"
    if before is not None:
        after = (made - 1) * stride + kernel - side - before
        widths = [[0, 0], [before, max(after, 0)], [before, max(after, 0)], [0, 0]]
        grown = side + before + max(after, 0)
        name, padding = sketch.value("padded", 1, grown, grown, 3), "VALID"
        sketch.op("PAD", ("image", sketch.constant("widths", np.array(widths, np.int32))), name)
    sketch.conv(name, sketch.value("out", 1, made, made, 8), (8, kernel, kernel, 3), padding=padding,
                stride_h=stride, stride_w=stride)  # fmt: skip
    return sketch.graph("image", "out")


@pytest.mark.parametrize(
    ("kernel", "before"), [(3, 1), (3, 0), (5, 2), (5, 1), (7, 3), (4, 1), (2, 0), (3, None), (5, None), (7, None)]
)
def test_the_pixels_of_a_strided_convolution_are_prepared_in_blocks(sketch: Any, kernel: int, before: Any) -> None:
    pixels = Pixels.parse("imagenet")
    graph = _network(sketch, kernel, before)
    left, raw = shared_steps(graph, pixels)
    left.check()
    kinds = [op.kind for op in left.ops]
    assert kinds[0] == "CONV_2D"
    assert "DEPTHWISE_CONV_2D" not in kinds
    assert raw == Pixels.parse("0..255")
    pictures = np.random.default_rng(0).integers(0, 256, (3, _SIDE, _SIDE, 3)).astype(np.uint8)
    wanted, found = first_output(graph, pixels.real(pictures)), first_output(left, raw.real(pictures))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * float(np.abs(wanted).max()))


@pytest.mark.parametrize(("side", "stride"), [(11, 2), (12, 1), (12, 3)])
def test_other_sizes_and_strides_are_prepared_one_by_one(sketch: Any, side: int, stride: int) -> None:
    left, _ = shared_steps(_network(sketch, 3, None, side=side, stride=stride), Pixels.parse("imagenet"))
    assert left.ops[0].kind == "DEPTHWISE_CONV_2D"
