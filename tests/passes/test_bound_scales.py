import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.passes import bound_scales


def _dead_layer(sketch: Any, scale: Any) -> Any:
    """Squeeze-and-excite as calibration left it in a real V3 small: a layer whose outputs are all but zero."""
    sketch.value("x", 1, 4, 4, 4, q=(0.02, 0))
    sketch.value("a", 1, 4, 4, 8, q=(scale, -128))
    sketch.value("y", 1, 4, 4, 4, q=(0.05, 0))
    sketch.conv("x", "a", (8, 1, 1, 4), activation="RELU")
    sketch.conv("a", "y", (4, 1, 1, 8))
    return sketch.graph("x", "y")


def test_a_file_that_the_delegate_refuses_loads(
    sketch: Any, tmp_path: Any, execute: Any, partitions: Any, feed: Any
) -> None:
    graph = _dead_layer(sketch, 1e-7)
    file = tmp_path / "refused.tflite"
    file.write_bytes(write_tflite(graph))
    # In a process of its own: the refusal may end it.
    script = (
        "import sys; from ai_edge_litert.interpreter import Interpreter; Interpreter(sys.argv[1]).allocate_tensors()"
    )
    refused = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, check=False)
    assert refused.returncode != 0
    bounded = bound_scales.apply(graph)
    assert partitions(bounded) == 1
    assert np.array_equal(bounded.tensors["a/w"].data, graph.tensors["a/w"].data)
    difference = execute(graph, feed(graph))[0].astype(int) - execute(bounded, feed(graph))[0]
    assert np.abs(difference).max() <= 1


def test_dead_channels_get_zero_weights_and_a_scale(sketch: Any, execute: Any, partitions: Any, feed: Any) -> None:
    graph = _dead_layer(sketch, 0.05)
    weights = graph.tensors["y/w"]
    weights.quantization.scale[2] = np.float32(1e-12)
    graph.tensors["y/b"].quantization.scale[2] = np.float32(5e-14)
    bounded = bound_scales.apply(graph)
    assert partitions(bounded) == 1
    assert not np.any(bounded.tensors["y/w"].data[2])
    assert np.array_equal(bounded.tensors["y/w"].data[[0, 1, 3]], weights.data[[0, 1, 3]])
    assert np.array_equal(execute(graph, feed(graph))[0], execute(bounded, feed(graph))[0])


@pytest.mark.parametrize("scale", [0.001, 0.05])
def test_a_graph_within_the_limits_stays_as_it_is(sketch: Any, scale: Any) -> None:
    graph = _dead_layer(sketch, scale)
    assert write_tflite(bound_scales.apply(graph)) == write_tflite(graph)
