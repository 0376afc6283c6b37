import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Quantization
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
    weights = bounded.tensors["a/w"].data
    assert weights is not None
    assert np.array_equal(weights, graph.tensors["a/w"].data)
    difference = execute(graph, feed(graph))[0].astype(int) - execute(bounded, feed(graph))[0]
    assert np.abs(difference).max() <= 1


def test_dead_channels_stay_as_they_are(sketch: Any, partitions: Any) -> None:
    graph = _dead_layer(sketch, 0.05)
    graph.tensors["y/w"].quantization.scale[2] = np.float32(1e-12)
    graph.tensors["y/b"].quantization.scale[2] = np.float32(5e-14)
    assert write_tflite(bound_scales.apply(graph)) == write_tflite(graph)
    assert partitions(graph) == 1


@pytest.mark.parametrize(("kind", "scale"), [("ADD", 13.0), ("ADD", 1e-6), ("MUL", 600.0)])
def test_elementwise_ops_that_the_delegate_would_leave_out_are_taken(
    sketch: Any, kind: str, scale: float, partitions: Any
) -> None:
    sketch.value("x", 1, 4, 4, 4, q=(0.02, 0))
    sketch.value("a", 1, 4, 4, 4, q=(scale, 0))
    sketch.value("s", 1, 4, 4, 4, q=(0.05, 0))
    sketch.value("y", 1, 4, 4, 4, q=(1.0, 0))
    sketch.constant("three", np.int8(127), Quantization.per_tensor(3 / 127, 0))
    sketch.conv("x", "a", (4, 1, 1, 4))
    sketch.tensors["a/w"].quantization.scale[:] *= np.float32(min(scale, 1.0))
    sketch.tensors["a/b"].quantization.scale[:] *= np.float32(min(scale, 1.0))
    sketch.op(kind, ("a", "three"), "s", activation="NONE")
    sketch.conv("s", "y", (4, 1, 1, 4))
    graph = sketch.graph("x", "y")
    assert partitions(graph) == 2
    assert partitions(bound_scales.apply(graph)) == 1


@pytest.mark.parametrize("scale", [0.001, 0.05])
def test_a_graph_within_the_limits_stays_as_it_is(sketch: Any, scale: Any) -> None:
    graph = _dead_layer(sketch, scale)
    assert write_tflite(bound_scales.apply(graph)) == write_tflite(graph)
