from pathlib import Path

import numpy as np
import pytest

from mnedge.formats.tflite_read import read_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.report.inspect_tflite import inspect_graph, is_quantized
from mnedge.results.inspection import EndRow, TensorRow


def test_a_small_network_is_counted(small_int8: Graph) -> None:
    found = inspect_graph(small_int8)
    assert [(row.kind, row.count, row.dtypes) for row in found.ops] == [
        ("CONV_2D", 1, ("int8",)),
        ("MEAN", 1, ("int8",)),
        ("SOFTMAX", 1, ("int8",)),
    ]
    assert found.macs == found.ops[0].macs == 4 * 4 * 4 * 27
    assert found.parameters == 4 * 27 + 4
    # Weights int8, four biases and two axes int32.
    assert found.weights_bytes_by_dtype == {"int8": 108, "int32": 24}
    assert found.weights_bytes == sum(row.weights_bytes for row in found.ops) == 132
    assert found.largest_weights[0] == TensorRow("weights", (4, 3, 3, 3), "int8", 108)
    assert found.largest_activations[0].name == "image"
    assert found.inputs == (EndRow("image", (1, 8, 8, 3), "int8", float(np.float32(1 / 127.5)), -1),)
    assert is_quantized(small_int8)


def test_shared_constants_count_once() -> None:
    tensors = [Tensor("x", (1, 4), "float32"), constant("c", np.ones(4, np.float32))]
    tensors += [Tensor(name, (1, 4), "float32") for name in ("y", "z")]
    ops = (Op("MUL", ("x", "c"), ("y",)), Op("ADD", ("y", "c"), ("z",)))
    found = inspect_graph(Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("z",)))
    assert found.weights_bytes == sum(row.weights_bytes for row in found.ops) == 16
    assert found.parameters == 0


def test_metadata_is_text_where_it_is_text(small_int8: Graph) -> None:
    graph = Graph(
        small_int8.tensors, small_int8.ops, small_int8.inputs, small_int8.outputs,
        {"min_runtime_version": b"1.14.0\0\0", "buffer": bytes(range(200))},
    )  # fmt: skip
    assert inspect_graph(graph).metadata == {"min_runtime_version": "1.14.0", "buffer": 200}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "macs", "quantized"),
    [
        # MLPerf Tiny's own count; 301 M and 56.5 M are the papers' 300 M and 56 M.
        ("mlperf_tiny/vww_96_float.tflite", 7_489_664, False),
        ("mlperf_tiny/vww_96_int8.tflite", 7_489_664, True),
        ("imagenet/tf2_mobilenet_v2_1.0_224_ptq.tflite", 300_776_272, True),
        ("imagenet/v3-small_224_1.0_uint8.tflite", None, True),
    ],
)
def test_published_models(shared_data: Path, name: str, macs: int | None, quantized: bool) -> None:
    graph = read_tflite(shared_data / "models" / name)
    found = inspect_graph(graph)
    assert is_quantized(graph) is quantized
    assert found.weights_bytes < (shared_data / "models" / name).stat().st_size
    if macs is not None:
        assert found.macs == pytest.approx(macs, rel=0.005)
