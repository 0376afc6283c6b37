"""int4 constants: packing, the round trip, and LiteRT's reference kernels on the file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mnedge.formats._tflite_int4 import pack_int4, unpack_int4
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor

_ACTIVATION = Quantization.per_tensor(0.05, 3)
_INPUTS = 15


def _graph(kind: str, *, is_int4: bool) -> Graph:
    """A 1x1 convolution or a dense layer of 15 inputs and 7 outputs, an odd count of weights."""
    random = np.random.default_rng(0)
    spatial = (3, 3) if kind == "CONV_2D" else ()
    shape = (7, 1, 1, _INPUTS) if spatial else (7, _INPUTS)
    scale = random.uniform(0.02, 0.1, 7).astype(np.float32)
    steps = random.integers(-7, 8, shape).astype(np.int8)
    bias = random.integers(-500, 500, 7).astype(np.int32)
    options: dict[str, object] = {"activation": "NONE"}
    if spatial:
        options |= {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "VALID"}
    tensors = (
        Tensor("x", (1, *spatial, _INPUTS), "int8", _ACTIVATION),
        Tensor("w", shape, "int8", Quantization.per_channel(scale, 0), steps, is_int4=is_int4),
        Tensor("b", (7,), "int32", Quantization.per_channel(scale * np.float32(0.05), 0), bias),
        Tensor("y", (1, *spatial, 7), "int8", _ACTIVATION),
    )
    return Graph(
        {tensor.name: tensor for tensor in tensors}, (Op(kind, ("x", "w", "b"), ("y",), options),), ["x"], ["y"]
    )


def _run(model: bytes, resolver: OpResolverType) -> np.ndarray:
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    steps = np.random.default_rng(1).integers(-128, 128, given["shape"]).astype(np.int8)
    interpreter.set_tensor(given["index"], steps)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16])
def test_packing_keeps_every_value(count: int) -> None:
    values = (np.arange(count) % 16 - 8).astype(np.int8)
    assert np.array_equal(unpack_int4(pack_int4(values), count), values)


def test_the_first_value_is_in_the_low_bits() -> None:
    assert pack_int4(np.array([1, -2, 7], np.int8)) == b"\xe1\x07"


@pytest.mark.parametrize("count", [1, 5])
def test_wrong_lengths_are_damage(count: int) -> None:
    with pytest.raises(ValueError, match="int4 values need"):
        unpack_int4(b"\x00\x00", count)


@pytest.mark.parametrize("kind", ["CONV_2D", "FULLY_CONNECTED"])
def test_a_file_keeps_int4(kind: str) -> None:
    data = write_tflite(_graph(kind, is_int4=True))
    read = parse_tflite(data, "model")
    assert read.tensors["w"].is_int4
    assert np.array_equal(read.tensors["w"].data, _graph(kind, is_int4=True).tensors["w"].data)
    assert write_tflite(read) == data


@pytest.mark.parametrize("kind", ["CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(
    ("resolver", "tolerance"), [(OpResolverType.BUILTIN_REF, 0), (OpResolverType.BUILTIN, 1), (OpResolverType.AUTO, 1)]
)
def test_litert_computes_int4_as_the_same_int8(kind: str, resolver: OpResolverType, tolerance: int) -> None:
    packed = _run(write_tflite(_graph(kind, is_int4=True)), resolver)
    plain = _run(write_tflite(_graph(kind, is_int4=False)), OpResolverType.BUILTIN_REF)
    assert np.abs(packed.astype(int) - plain.astype(int)).max() <= tolerance
