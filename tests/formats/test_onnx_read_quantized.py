"""Files of ONNX Runtime's quantize_static, QDQ and QOperator: read with their own scales, to within a step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from mnedge.errors import UnsupportedError
from mnedge.runtimes.onnxruntime import PRECISE
from mnedge.sources.onnx import SOURCE, read_int8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnedge.graph.graph import Graph

_SHAPE = (1, 3, 32, 32)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._feeds: Iterator[dict[str, Any]] = iter(
            [{"input": random.normal(size=_SHAPE).astype(np.float32)} for _ in range(8)]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _network(net: Any) -> str:
    """Of everything whose steps a file says: strides, depthwise, a residual, a joined map, pooling, a dense layer."""
    x = net.node("Relu", net.conv("input", 3, 8, 3, 2, bias=True))
    wide = net.activation(net.conv(x, 8, 24, bias=True), "relu6")
    deep = net.activation(net.conv(wide, 24, 24, 3, 1, group=24, bias=True), "relu6")
    x = net.node("Add", x, net.conv(deep, 24, 8, bias=True))
    pooled = net.node("MaxPool", net.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    other = net.node("Relu", net.conv(x, 8, 8, 3, 2, bias=True))
    return str(net.head(net.node("Concat", pooled, other, axis=1), 16, 10))


def _quantized(net: Any, folder: Path, **settings: Any) -> Path:
    onnx.save(net.model(_network(net), _SHAPE), folder / "float.onnx")
    settings = {"quant_format": QuantFormat.QDQ, **settings}
    quantize_static(folder / "float.onnx", folder / "int8.onnx", _Pictures(), **settings)
    return folder / "int8.onnx"


def _outputs(path: Path, feed: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(PRECISE, "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": feed})[0]


@pytest.mark.filterwarnings("ignore")
# ONNX Runtime has no QGemm of int8.
@pytest.mark.parametrize(
    ("form", "activations", "per_channel"),
    [
        (QuantFormat.QDQ, QuantType.QUInt8, False),
        (QuantFormat.QDQ, QuantType.QInt8, True),
        (QuantFormat.QOperator, QuantType.QUInt8, False),
        (QuantFormat.QOperator, QuantType.QUInt8, True),
    ],
    ids=["qdq-uint8", "qdq-int8", "qoperator", "qoperator-per-channel"],
)
def test_a_quantized_file_is_read_with_its_own_steps(
    form: Any, activations: Any, per_channel: bool, torch_style: Any, tmp_path: Path,
    in_litert: Callable[..., list[Any]],
) -> None:  # fmt: skip
    path = _quantized(
        torch_style(13), tmp_path, activation_type=activations, weight_type=QuantType.QInt8, per_channel=per_channel,
        quant_format=form,
    )  # fmt: skip
    kinds_there = {node.op_type for node in onnx.load(path).graph.node}
    assert ("QLinearConv" in kinds_there) == (form == QuantFormat.QOperator)
    graph: Graph = read_int8(path)
    kinds = Counter(op.kind for op in graph.ops)
    assert kinds["DEQUANTIZE"] == 0
    assert not [tensor.name for tensor in graph.tensors.values() if tensor.dtype == "float32"]
    first, last = graph.tensors[graph.inputs[0]].quantization, graph.tensors[graph.outputs[0]].quantization
    assert first is not None
    assert last is not None
    random = np.random.default_rng(2)
    for _ in range(5):
        feed = random.normal(size=_SHAPE).astype(np.float32)
        steps = last.quantize(_outputs(path, feed), "int8")
        # XNNPACK scales accumulators in float, as ONNX Runtime does; LiteRT's own kernels round them twice.
        found = in_litert(graph, first.quantize(feed.transpose(0, 2, 3, 1), "int8"), delegate=True)[0]
        assert np.abs(found.astype(int) - steps.astype(int)).max() <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_a_reshape_that_moves_nothing_leaves_no_reals(form: Any, torch_style: Any, tmp_path: Path) -> None:
    # As tf2onnx writes Keras' V1: the pooled channels, brought to the shape that they have.
    net = torch_style(13)
    pooled = net.node("GlobalAveragePool", net.conv("input", 3, 8, 3, 2, bias=True))
    shaped = net.node("Reshape", pooled, net.constant(np.array([-1, 8, 1, 1], np.int64)))
    onnx.save(net.model(net.conv(shaped, 8, 5, bias=True), _SHAPE), tmp_path / "float.onnx")
    path = tmp_path / "int8.onnx"
    quantize_static(tmp_path / "float.onnx", path, _Pictures(), quant_format=form, weight_type=QuantType.QInt8)
    assert [op.kind for op in read_int8(path).ops] == ["PAD", "CONV_2D", "MEAN", "CONV_2D"]


def _as_tf2onnx_writes_it(dtype: str) -> onnx.ModelProto:
    """A dense layer of an int8 .tflite: the input has steps, and the bias is added behind the product."""
    random = np.random.default_rng(5)
    zero = np.array(-3 if dtype == "int8" else 125, dtype)
    steps = {"input": (0.05, zero), "weights": (0.01, np.int8(0)), "bias": (0.05 * 0.01, np.int32(0)),
             "sum": (0.08, np.int8(4))}  # fmt: skip
    values = {"weights": random.integers(-127, 128, (12, 5)).astype(np.int8),
              "bias": random.integers(-900, 900, 5).astype(np.int32)}  # fmt: skip
    for name, (scale, zero_point) in steps.items():
        values |= {f"{name}_scale": np.float32(scale), f"{name}_zero": zero_point}
    node = onnx.helper.make_node
    nodes = [
        node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_real"])
        for name in ("input", "weights", "bias")
    ]
    nodes += [
        node("MatMul", ["input_real", "weights_real"], ["product"]),
        node("Add", ["product", "bias_real"], ["sum_real"]),
        node("QuantizeLinear", ["sum_real", "sum_scale", "sum_zero"], ["sum"]),
    ]
    kind = onnx.TensorProto.INT8 if dtype == "int8" else onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        nodes, "net", [onnx.helper.make_tensor_value_info("input", kind, (1, 12))],
        [onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.INT8, (1, 5))],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in values.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_what_tf2onnx_makes_of_an_int8_tflite_becomes_that_again(
    dtype: str, tmp_path: Path, in_litert: Callable[..., list[Any]]
) -> None:
    path = tmp_path / "int8.onnx"
    onnx.save(_as_tf2onnx_writes_it(dtype), path)
    graph = read_int8(path)
    assert [op.kind for op in graph.ops] == ["FULLY_CONNECTED"]
    source = graph.tensors["input"]
    assert (source.dtype, source.quantization and int(source.quantization.zero_point[0])) == ("int8", -3)
    picture = np.random.default_rng(6).integers(-128, 128, (1, 12)).astype(np.int8)
    steps = picture if dtype == "int8" else (picture.astype(np.int16) + 128).astype(np.uint8)
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": steps})
    assert np.array_equal(in_litert(graph, picture, delegate=True)[0], expected[0])


@pytest.mark.filterwarnings("ignore")
def test_a_qdq_file_is_no_float_source_and_a_float_file_is_no_qdq_one(torch_style: Any, tmp_path: Path) -> None:
    path = _quantized(torch_style(13), tmp_path)
    with pytest.raises(UnsupportedError, match="is quantized already"):
        SOURCE.read(path, None)
    with pytest.raises(UnsupportedError, match=r"is a float model; `mnedge quantize"):
        read_int8(tmp_path / "float.onnx")


@pytest.mark.filterwarnings("ignore")
def test_weights_with_another_zero_point_are_refused_with_the_way_out(torch_style: Any, tmp_path: Path) -> None:
    path = _quantized(torch_style(13), tmp_path, weight_type=QuantType.QUInt8, activation_type=QuantType.QUInt8)
    with pytest.raises(UnsupportedError, match=r"Conv\): its weights are uint8.*weight_type=QuantType.QInt8"):
        read_int8(path)
