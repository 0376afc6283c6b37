from typing import Any

import numpy as np
import pytest

from mnedge.passes import fold_pad


def _network(sketch: Any, size: Any, pads: Any, stride: Any, kernel: Any, q: Any = None) -> Any:
    padded = size + sum(pads)
    result = (padded - kernel) // stride + 1
    sketch.value("x", 1, size, size, 4, q=q)
    sketch.value("p", 1, padded, padded, 4, q=q)
    sketch.value("y", 1, result, result, 4, q=q and (0.1, 5))
    sketch.constant("widths", np.array([[0, 0], pads, pads, [0, 0]], np.int32))
    sketch.op("PAD", ("x", "widths"), "p")
    sketch.conv("p", "y", (1, kernel, kernel, 4), depthwise=True, padding="VALID", stride_h=stride, stride_w=stride)
    return sketch.graph("x", "y")


@pytest.mark.parametrize("q", [None, (0.03, 11)], ids=["float", "int8"])
@pytest.mark.parametrize(
    ("size", "pads", "stride", "kernel"), [(8, (0, 1), 2, 3), (7, (1, 1), 2, 3), (8, (1, 2), 2, 5)]
)
def test_pads_that_same_makes_too_are_dropped_bit_for_bit(
    sketch: Any, size: Any, pads: Any, stride: Any, kernel: Any, q: Any, execute: Any, feed: Any
) -> None:
    graph = _network(sketch, size, pads, stride, kernel, q)
    folded = fold_pad.apply(graph)
    assert [op.kind for op in folded.ops] == ["DEPTHWISE_CONV_2D"]
    assert np.array_equal(execute(graph, feed(graph))[0], execute(folded, feed(graph))[0])


@pytest.mark.parametrize(
    ("size", "pads", "stride", "kernel"), [(8, (1, 1), 2, 3), (8, (1, 0), 2, 3), (8, (2, 2), 1, 3)]
)
def test_other_pads_stay(sketch: Any, size: Any, pads: Any, stride: Any, kernel: Any) -> None:
    graph = _network(sketch, size, pads, stride, kernel)
    assert [op.kind for op in fold_pad.apply(graph).ops] == ["PAD", "DEPTHWISE_CONV_2D"]


def test_a_pad_that_others_read_stays(sketch: Any) -> None:
    graph = _network(sketch, 8, (0, 1), 2, 3)
    graph = graph.replaced(outputs=("y", "p"))
    assert [op.kind for op in fold_pad.apply(graph).ops] == ["PAD", "DEPTHWISE_CONV_2D"]
