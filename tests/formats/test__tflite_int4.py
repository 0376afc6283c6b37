"""int4 constants: packing, the round trip, and LiteRT's reference kernels on the file."""

from __future__ import annotations

import ast
import subprocess
import sys

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mnedge.errors import UnsupportedError
from mnedge.formats._tflite_int4 import pack_int4, unpack_int4
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.report.inspect_tflite import inspect_graph

_ACTIVATION = Quantization.per_tensor(0.05, 3)
_INPUTS = 15


def _graph(kind: str, *, is_int4: bool, scales: int = 7) -> Graph:
    """A 1x1 convolution or a dense layer of 15 inputs and 7 outputs, an odd count of weights."""
    random = np.random.default_rng(0)
    spatial = (3, 3) if kind == "CONV_2D" else ()
    shape = (7, 1, 1, _INPUTS) if spatial else (7, _INPUTS)
    scale = random.uniform(0.02, 0.1, scales).astype(np.float32)
    axis = 0 if scales > 1 else None
    zeros = np.zeros(scales, np.int64)
    steps = random.integers(-7, 8, shape).astype(np.int8)
    bias = random.integers(-500, 500, 7).astype(np.int32)
    options: dict[str, object] = {"activation": "NONE"}
    if spatial:
        options |= {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "VALID"}
    tensors = (
        Tensor("x", (1, *spatial, _INPUTS), "int8", _ACTIVATION),
        Tensor("w", shape, "int8", Quantization(scale, zeros, axis), steps, is_int4=is_int4),
        Tensor("b", (7,), "int32", Quantization(scale * np.float32(0.05), zeros, axis), bias),
        Tensor("y", (1, *spatial, 7), "int8", _ACTIVATION),
    )
    return Graph(
        {tensor.name: tensor for tensor in tensors}, (Op(kind, ("x", "w", "b"), ("y",), options),), ("x",), ("y",)
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
    assert np.array_equal(read.tensors["w"].real(), _graph(kind, is_int4=True).tensors["w"].real())
    assert len(data) < len(write_tflite(_graph(kind, is_int4=False)))
    assert read.ops[0].version == {"CONV_2D": 7, "FULLY_CONNECTED": 10}[kind]
    assert write_tflite(read) == data


@pytest.mark.parametrize("kind", ["CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(
    ("resolver", "tolerance"), [(OpResolverType.BUILTIN_REF, 0), (OpResolverType.BUILTIN, 1), (OpResolverType.AUTO, 1)]
)
def test_litert_computes_int4_as_the_same_int8(kind: str, resolver: OpResolverType, tolerance: int) -> None:
    packed = _run(write_tflite(_graph(kind, is_int4=True)), resolver)
    plain = _run(write_tflite(_graph(kind, is_int4=False)), OpResolverType.BUILTIN_REF)
    assert np.abs(packed.astype(int) - plain.astype(int)).max() <= tolerance


@pytest.mark.parametrize("kind", ["CONV_2D", "FULLY_CONNECTED"])
def test_tflite_micro_computes_int4_as_the_same_int8(kind: str) -> None:
    # Its FULLY_CONNECTED takes int4 with one scale only.
    scales = 7 if kind == "CONV_2D" else 1
    pytest.importorskip("tflite_micro", reason="pip install --pre 'mnedge[tflm]'")
    packed = _run_micro(write_tflite(_graph(kind, is_int4=True, scales=scales)))
    plain = write_tflite(_graph(kind, is_int4=False, scales=scales))
    assert np.array_equal(packed, _run_micro(plain))


def test_inspect_counts_half_a_byte_a_weight() -> None:
    found = inspect_graph(_graph("FULLY_CONNECTED", is_int4=True))
    assert found.weights_bytes_by_dtype == {"int4": 53, "int32": 28}
    assert found.largest_weights[0].dtype == "int4"


def _run_micro(model: bytes) -> np.ndarray:
    """The output for `_run`'s input, in a process of its own: tflite-micro and LiteRT do not live in one."""
    code = (
        "import sys; import numpy as np; from tflite_micro.python.tflite_micro import runtime; "
        "run = runtime.Interpreter.from_bytes(bytes.fromhex(sys.argv[1])); shape = run.get_input_details(0)['shape']; "
        "run.set_input(np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8), 0); run.invoke(); "
        "print(repr(run.get_output(0).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code, model.hex()], capture_output=True, text=True, check=True)
    return np.array(ast.literal_eval(done.stdout.splitlines()[-1]), np.int8)


def test_onnx_holds_the_same_steps_in_8_bits() -> None:
    packed, plain = (write_onnx(_graph("CONV_2D", is_int4=is_int4)) for is_int4 in (True, False))
    assert packed == plain


def test_an_activation_of_int4_is_no_int8() -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(write_tflite(_graph("CONV_2D", is_int4=True))))
    activation = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"x")
    # As the converter writes them: a buffer of its own, without data.
    model.buffers.append(schema.BufferT())
    activation.type, activation.buffer = schema.TensorType.INT4, len(model.buffers) - 1
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(UnsupportedError, match="x is an activation in int4"):
        parse_tflite(bytes(builder.Output()), "x.tflite")
