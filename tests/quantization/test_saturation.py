"""Channels that a hard-swish passes as they are, scaled down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled, predict
from mnedge.quantization.saturation import shrink_saturated


@pytest.fixture
def lifted(net: Any) -> Any:
    """A hard-swish on six channels, the last of which lies between 30 and 50."""
    made = net(seed=3)
    weights = made.rng.normal(0, 0.2, (6, 3, 3, 3))
    bias = np.array([0, 0, 0, 0, 0, 40], np.float32)
    made.conv("c", 6, weights=weights, bias=bias, activation="NONE").hard_swish("h")
    return made.conv("d", 4, kernel=1, activation="NONE")


def _range(graph: Any, name: str, images: Any) -> Any:
    values = np.asarray(compiled(graph, [name])(images)[0])
    return values.min((0, 1, 2)), values.max((0, 1, 2))


def test_the_function_stays_and_the_range_shrinks(lifted: Any, images: Any) -> None:
    graph, pictures = lifted.graph(), images(8)
    changed = shrink_saturated(graph, pictures)
    changed.check()
    np.testing.assert_allclose(predict(changed, pictures), predict(graph, pictures), rtol=1e-4, atol=1e-4)
    before, after = _range(graph, "c", pictures), _range(changed, "c", pictures)
    assert before[0][-1] > 25
    assert 3 < after[0][-1] < 3.3
    np.testing.assert_allclose(after[1][:-1], before[1][:-1], rtol=1e-6)


def test_a_product_that_another_op_reads_stays(lifted: Any, images: Any) -> None:
    graph = lifted.op("MEAN", "mean", ("h", lifted.constant("axes", np.array([1, 2], np.int32))), (1, 1, 1, 6)).graph()
    changed = shrink_saturated(graph, images(8))
    np.testing.assert_array_equal(_range(changed, "c", images(8)), _range(graph, "c", images(8)))


def test_a_network_without_hard_swish_is_left_alone(outliers: Any, pictures: Any) -> None:
    changed = shrink_saturated(outliers, pictures[:4])
    np.testing.assert_array_equal(predict(changed, pictures[:4]), predict(outliers, pictures[:4]))
