from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.graph.graph import Graph
from mnedge.report.inspect_onnx import inspect_onnx
from mnedge.report.inspect_tflite import inspect_graph
from mnedge.results.inspection import EndRow


def _save(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shapes: list[list[int]]) -> Path:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip("xy", shapes, strict=True)
    ]
    initializers = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_convolutions_and_products_are_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    rng = np.random.default_rng(1)
    shapes = {"w": (6, 2, 3, 3), "b": (6,), "v": (6, 5)}
    constants = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    found = inspect_onnx(_save(tmp_path / "m.onnx", nodes, constants, [[1, 4, 8, 8], [1, 5]]))
    assert found.macs == 4 * 4 * 6 * 2 * 9 + 6 * 5
    assert found.parameters == 108 + 6 + 30
    assert found.weights_bytes == 4 * 144
    assert [row.kind for row in found.ops] == ["Conv", "Gemm", "Flatten", "GlobalAveragePool"]
    assert found.inputs == (EndRow("x", (1, 4, 8, 8), "float32", None, None),)


def test_the_two_formats_of_one_graph_count_alike(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(small_int8))
    as_onnx, as_tflite = inspect_onnx(path), inspect_graph(small_int8)
    assert (as_onnx.macs, as_onnx.parameters) == (as_tflite.macs, as_tflite.parameters)
    # ONNX stores a zero point for each of the 4 channels.
    assert as_onnx.weights_bytes_by_dtype["int8"] == as_tflite.weights_bytes_by_dtype["int8"] + 4
    # Int8 weights behind a DequantizeLinear are constants, not activations.
    assert not any(row.name.startswith("weights") for row in as_onnx.largest_activations)


@pytest.mark.parametrize("data", [b"", b"\x08\x07not onnx", b"\xff" * 40])
def test_what_is_no_onnx_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not an ONNX model"):
        inspect_onnx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.onnx cannot be read"):
        inspect_onnx(tmp_path / "nowhere.onnx")


def test_a_damaged_file_is_counted_or_refused(
    small_int8: Graph, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = write_onnx(small_int8)
    rng = np.random.default_rng(5)
    path = tmp_path / "damaged.onnx"
    refused = 0
    for _ in range(request.config.getoption("--fuzz")):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        try:
            inspect_onnx(path)
        except InputError:
            refused += 1
    assert refused > 0
