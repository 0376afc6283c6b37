from typing import Any

import numpy as np
import pytest

from mnedge.passes import lower_hard_swish
from mnedge.passes._pass import run_passes

LOWERED = ("lower-hard-swish", "fold-scale")


def _network(sketch: Any, q_in: Any = None, q_out: Any = None, dtype: Any = "int8") -> Any:
    sketch.value("x", 1, 8, 8, 4, q=q_in, dtype=dtype)
    sketch.value("y", 1, 8, 8, 4, q=q_out, dtype=dtype)
    sketch.op("HARD_SWISH", ("x",), "y")
    return sketch.graph("x", "y")


def test_float_values_stay(sketch: Any, execute: Any, feed: Any) -> None:
    graph = _network(sketch)
    lowered = lower_hard_swish.apply(graph)
    assert [op.kind for op in lowered.ops] == ["ADD", "MUL", "MUL"]
    image = feed(graph)
    np.testing.assert_allclose(execute(lowered, image)[0], execute(graph, image)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("top", [2.0, 8.0, 40.0])
def test_quantized_values_stay_within_rounding_of_the_definition(
    sketch: Any, dtype: Any, top: Any, execute: Any, feed: Any
) -> None:
    low = np.iinfo(dtype).min
    zero = round(low + 3 / (top + 3) * 255)
    scale, out = (top + 3) / 255, (top + 0.375) / 255
    graph = _network(sketch, (scale, zero), (out, low + round(0.375 / out)), dtype)
    lowered = run_passes(graph, LOWERED)
    image = feed(graph)
    x = (image.astype(np.float64) - zero) * scale
    exact = x * np.clip(x + 3, 0, 6) / 6
    quantization = graph.tensors["y"].quantization
    values = quantization.dequantize(execute(lowered, image)[0])
    # Half a step of the gate (6 / 255) times |x| / 6, and half a step of the result.
    bound = np.abs(x) / 6 * (6 / 255 / 2) + out * 1.01
    assert np.all(np.abs(values - np.clip(exact, -0.375, top)) <= bound + 1e-6)


def test_int8_graph_is_one_partition_where_hard_swish_would_cut_it(
    sketch: Any, execute: Any, partitions: Any, feed: Any
) -> None:
    sketch.value("x", 1, 8, 8, 4, q=(0.05, 0))
    sketch.value("a", 1, 8, 8, 8, q=(0.05, -68))
    sketch.value("h", 1, 8, 8, 8, q=(0.04, -119))
    sketch.value("b", 1, 8, 8, 4, q=(0.05, 3))
    sketch.conv("x", "a", (8, 1, 1, 4))
    sketch.op("HARD_SWISH", ("a",), "h")
    sketch.conv("h", "b", (4, 1, 1, 8))
    graph = sketch.graph("x", "b")
    lowered = run_passes(graph, LOWERED)
    assert partitions(graph) == 2
    assert partitions(lowered) == 1
    assert [op.kind for op in lowered.ops] == ["CONV_2D", "ADD", "MUL", "CONV_2D"]
    for name in ("a/w", "a/b", "b/w", "b/b"):
        data = lowered.tensors[name].data
        assert data is not None
        assert np.array_equal(graph.tensors[name].data, data), f"{name} changed its integers"
    difference = execute(graph, feed(graph))[0].astype(int) - execute(lowered, feed(graph))[0]
    assert np.abs(difference).max() <= 3
    assert np.abs(difference).mean() < 0.6
