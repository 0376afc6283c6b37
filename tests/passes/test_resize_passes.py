"""sink-resize and split-resize: the same pictures with less work."""

from typing import Any

import numpy as np
import pytest

from mnedge.passes import sink_resize, split_resize

HALF_PIXEL = {"half_pixel_centers": True, "align_corners": False}


def _kinds(graph: Any) -> list[str]:
    return [op.kind for op in graph.ops]


def _resize(sketch: Any, channels: int, size: tuple[int, int], factors: tuple[float, float], **options: Any) -> Any:
    q = (0.05, 3)
    large = (int(size[0] * factors[0]), int(size[1] * factors[1]))
    sketch.value("x", 1, *size, channels, q=q)
    sketch.value("y", 1, *large, channels, q=q)
    sketch.constant("size", np.array(large, np.int32))
    sketch.op("RESIZE_BILINEAR", ("x", "size"), "y", **{**HALF_PIXEL, **options})
    return sketch.graph("x", "y")


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(
    ("size", "factors"), [((7, 7), (8, 8)), ((5, 6), (4, 2)), ((4, 1), (2, 16)), ((3, 2), (1, 32)), ((2, 2), (0.5, 4))]
)
def test_split_resize_is_within_a_step(
    sketch: Any, channels: int, size: tuple[int, int], factors: tuple[float, int], execute: Any, feed: Any
) -> None:
    graph = _resize(sketch, channels, size, factors)
    split = split_resize.apply(graph)
    assert "CONV_2D" in _kinds(split)
    expected, found = (execute(one, feed(graph))[0].astype(int) for one in (graph, split))
    assert np.abs(expected - found).max() <= 1


def test_split_resize_stays_one_partition(sketch: Any, execute: Any, feed: Any, partitions: Any) -> None:
    graph = _resize(sketch, 3, (7, 9), (8, 4))
    split = split_resize.apply(graph)
    assert partitions(split) == 1
    image = feed(graph)
    assert np.abs(execute(split, image)[0].astype(int) - execute(split, image, delegate=True)[0]).max() <= 1


@pytest.mark.parametrize(
    ("channels", "size", "factors", "options"),
    [
        (8, (7, 7), (8, 8), {}),
        (3, (7, 7), (8, 1), {}),
        (3, (2, 2), (3, 3), {}),
        (3, (4, 4), (2, 1.5), {}),
        (3, (7, 7), (8, 8), {"half_pixel_centers": False}),
        (3, (7, 7), (8, 8), {"half_pixel_centers": False, "align_corners": True}),
    ],
    ids=["enough channels", "same width", "factor of three", "broken factor", "corners of pixels", "aligned corners"],
)
def test_other_resizes_stay(sketch: Any, channels: int, size: Any, factors: Any, options: Any) -> None:
    assert _kinds(split_resize.apply(_resize(sketch, channels, size, factors, **options))) == ["RESIZE_BILINEAR"]


def _scores(sketch: Any, channels: int = 2, **options: Any) -> Any:
    """LR-ASPP's end: a map that is enlarged, and scored pixel by pixel."""
    sketch.value("x", 1, 4, 5, 6)
    sketch.value("large", 1, 8, 10, 6)
    sketch.value("y", 1, 8, 10, channels)
    sketch.constant("size", np.array([8, 10], np.int32))
    sketch.op("RESIZE_BILINEAR", ("x", "size"), "large", **HALF_PIXEL)
    sketch.conv("large", "y", (channels, 1, 1, 6), **options)
    return sketch.graph("x", "y")


def test_a_resize_goes_behind_a_pointwise_convolution(sketch: Any, same: Any) -> None:
    graph = _scores(sketch)
    sunk = sink_resize.apply(graph)
    assert _kinds(sunk) == ["CONV_2D", "RESIZE_BILINEAR"]
    assert sunk.tensors[sunk.ops[0].outputs[0]].shape == (1, 4, 5, 2)
    same(graph, sunk)


@pytest.mark.parametrize("change", ["more channels", "activation", "other reader"])
def test_a_resize_stays_where_the_order_matters(sketch: Any, change: str) -> None:
    options = {"activation": "RELU"} if change == "activation" else {}
    graph = _scores(sketch, 7 if change == "more channels" else 2, **options)
    if change == "other reader":
        graph = graph.replaced(outputs=("y", "large"))
    assert _kinds(sink_resize.apply(graph)) == ["RESIZE_BILINEAR", "CONV_2D"]
