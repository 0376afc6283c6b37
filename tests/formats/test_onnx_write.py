"""Against ONNX's own checker, ONNX Runtime and LiteRT."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import numpy_helper

from mnedge.errors import UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.graph.precision import float_ops
from mnedge.passes._pass import run_passes
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.runtimes.onnxruntime import PRECISE, optimized_nodes, saturates
from mnedge.targets.cpu import TARGET

_WINDOW = {"stride_h": 2, "stride_w": 2, "filter_height": 3, "filter_width": 3, "padding": "SAME"}


def _litert(graph: Graph, image: Any) -> list[Any]:
    # BUILTIN_REF has no ELU.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kernels = plain if any(op.kind == "ELU" for op in graph.ops) else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _onnx(data: bytes, image: Any, *, optimize: bool = True) -> list[Any]:
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(PRECISE, "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def _one_op(op: Op, shape: tuple[int, ...], out: tuple[int, ...], *constants: Tensor, dtype: str = "float32") -> Graph:
    tensors = [Tensor("x", shape, "float32"), Tensor("y", out, dtype), *constants]
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


def _ints(name: str, *values: Any) -> Tensor:
    return constant(name, np.array(values if len(values) != 1 or np.ndim(values[0]) else values[0], np.int32))


def _several(op: Op, shape: tuple[int, ...], made: list[tuple[int, ...]], *constants: Tensor) -> Graph:
    """As `_one_op`, for an op of several outputs, all of which are the graph's."""
    tensors = [Tensor(name, shape, "float32") for name, shape in zip(("x", *op.outputs), (shape, *made), strict=True)]
    return Graph({tensor.name: tensor for tensor in (*tensors, *constants)}, (op,), ("x",), op.outputs)


_RNG = np.random.default_rng(5)
_IMAGE, _ROW = (1, 5, 7, 4), (1, 12)
_FLOAT_OPS = {
    "mean of channels": _one_op(
        Op("MEAN", ("x", "a"), ("y",), {"keep_dims": True}), _IMAGE, (1, 5, 7, 1), _ints("a", [3])
    ),
    "mean of each channel taken away": Graph(
        {
            **{name: Tensor(name, _IMAGE, "float32") for name in "xy"}, "m": Tensor("m", (1, 4), "float32"),
            "a": _ints("a", [1, 2]),
        },
        (Op("MEAN", ("x", "a"), ("m",), {"keep_dims": False}), Op("SUB", ("x", "m"), ("y",), {"activation": "NONE"})),
        ("x",), ("y",),
    ),
    "mean of rows": _one_op(Op("MEAN", ("x", "a"), ("y",), {"keep_dims": False}), _IMAGE, (1, 7, 4), _ints("a", [1])),
    "sum": _one_op(Op("SUM", ("x", "a"), ("y",), {"keep_dims": False}), _IMAGE, (1, 4), _ints("a", [1, 2])),
    "average pool": _one_op(
        Op("AVERAGE_POOL_2D", ("x",), ("y",), {**_WINDOW, "activation": "NONE"}), _IMAGE, (1, 3, 4, 4)
    ),
    "max pool": _one_op(Op("MAX_POOL_2D", ("x",), ("y",), {**_WINDOW, "activation": "RELU"}), _IMAGE, (1, 3, 4, 4)),
    "pad": _one_op(Op("PAD", ("x", "p"), ("y",)), _IMAGE, (1, 8, 9, 4), _ints("p", [0, 0], [1, 2], [0, 2], [0, 0])),
    "flatten": _one_op(Op("RESHAPE", ("x", "s"), ("y",)), _IMAGE, (1, 140), _ints("s", 1, 140)),
    "unflatten": _one_op(Op("RESHAPE", ("x", "s"), ("y",)), _ROW, (1, 2, 2, 3), _ints("s", 1, 2, 2, 3)),
    "regroup": _one_op(Op("RESHAPE", ("x", "s"), ("y",)), _IMAGE, (1, 35, 2, 2), _ints("s", 1, 35, 2, 2)),
    "transpose": _one_op(Op("TRANSPOSE", ("x", "o"), ("y",)), _IMAGE, (1, 4, 5, 7), _ints("o", 0, 3, 1, 2)),
    "transpose rows": _one_op(Op("TRANSPOSE", ("x", "o"), ("y",)), _ROW, (12, 1), _ints("o", 1, 0)),
    "softmax": _one_op(Op("SOFTMAX", ("x",), ("y",), {"beta": 0.5}), _ROW, _ROW),
    "softmax of pixels": _one_op(Op("SOFTMAX", ("x",), ("y",), {"beta": 1.0}), _IMAGE, _IMAGE),
    "hard-swish": _one_op(Op("HARD_SWISH", ("x",), ("y",)), _IMAGE, _IMAGE),
    "logistic": _one_op(Op("LOGISTIC", ("x",), ("y",)), _IMAGE, _IMAGE),
    "relu6": _one_op(Op("RELU6", ("x",), ("y",)), _IMAGE, _IMAGE),
    "add channels": _one_op(
        Op("ADD", ("x", "c"), ("y",), {"activation": "RELU6"}),
        _IMAGE,
        _IMAGE,
        constant("c", np.array([1, -2, 3, 0.5], np.float32)),
    ),
    "subtract a plane": _one_op(
        Op("SUB", ("x", "c"), ("y",), {"activation": "NONE"}),
        _IMAGE,
        _IMAGE,
        constant("c", _RNG.normal(size=(5, 7, 1)).astype(np.float32)),
    ),
    "bilinear, half pixels": _one_op(
        Op("RESIZE_BILINEAR", ("x", "s"), ("y",), {"align_corners": False, "half_pixel_centers": True}),
        _IMAGE,
        (1, 10, 9, 4),
        _ints("s", 10, 9),
    ),
    "bilinear, corners": _one_op(
        Op("RESIZE_BILINEAR", ("x", "s"), ("y",), {"align_corners": True, "half_pixel_centers": False}),
        _IMAGE,
        (1, 9, 13, 4),
        _ints("s", 9, 13),
    ),
    "bilinear, plain": _one_op(
        Op("RESIZE_BILINEAR", ("x", "s"), ("y",), {"align_corners": False, "half_pixel_centers": False}),
        _IMAGE,
        (1, 10, 14, 4),
        _ints("s", 10, 14),
    ),
    "nearest": _one_op(
        Op("RESIZE_NEAREST_NEIGHBOR", ("x", "s"), ("y",), {"align_corners": False, "half_pixel_centers": False}),
        _IMAGE,
        (1, 10, 14, 4),
        _ints("s", 10, 14),
    ),
    "slice": _one_op(
        Op("SLICE", ("x", "b", "s"), ("y",)), _IMAGE, (1, 4, 3, 2), _ints("b", 0, 1, 2, 1), _ints("s", 1, -1, 3, 2)
    ),
    "strided slice": _one_op(
        Op("STRIDED_SLICE", ("x", "b", "e", "s"), ("y",), {"begin_mask": 1, "end_mask": 9}),
        _IMAGE,
        (1, 2, 3, 3),
        _ints("b", 0, 1, 0, 1),
        _ints("e", 1, 4, 6, 0),
        _ints("s", 1, 2, 2, 1),
    ),
    "arg max": _one_op(
        Op("ARG_MAX", ("x", "a"), ("y",), {"output_type": 4}), _IMAGE, (1, 5, 7), _ints("a", 3), dtype="int64"
    ),
    "tile": _one_op(Op("TILE", ("x", "r"), ("y",)), _IMAGE, (1, 10, 7, 8), _ints("r", 1, 2, 1, 2)),
    "l2 normalization": _one_op(Op("L2_NORMALIZATION", ("x",), ("y",), {"activation": "NONE"}), _IMAGE, _IMAGE),
    "concatenation": _one_op(
        Op("CONCATENATION", ("x", "x"), ("y",), {"axis": 3, "activation": "NONE"}), _IMAGE, (1, 5, 7, 8)
    ),
    "transposed convolution": _one_op(
        Op(
            "TRANSPOSE_CONV",
            ("s", "w", "x"),
            ("y",),
            {"padding": "SAME", "stride_h": 2, "stride_w": 2, "activation": "NONE"},
        ),
        _IMAGE,
        (1, 10, 14, 3),
        _ints("s", 1, 10, 14, 3),
        constant("w", _RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)),
    ),
    "absolute": _one_op(Op("ABS", ("x",), ("y",)), _IMAGE, _IMAGE),
    "leaky relu": _one_op(Op("LEAKY_RELU", ("x",), ("y",), {"alpha": 0.2}), _IMAGE, _IMAGE),
    "relu -1 to 1": _one_op(Op("RELU_N1_TO_1", ("x",), ("y",)), _IMAGE, _IMAGE),
    "prelu": _one_op(
        Op("PRELU", ("x", "c"), ("y",)), _IMAGE, _IMAGE,
        constant("c", np.array([[[0.1, -0.2, 0.3, 0.5]]], np.float32)),
    ),
    "elu": _one_op(Op("ELU", ("x",), ("y",)), _IMAGE, _IMAGE),
    "gelu": _one_op(Op("GELU", ("x",), ("y",), {"approximate": False}), _IMAGE, _IMAGE),
    "gelu by tanh": _one_op(Op("GELU", ("x",), ("y",), {"approximate": True}), _IMAGE, _IMAGE),
    "tanh": _one_op(Op("TANH", ("x",), ("y",)), _IMAGE, _IMAGE),
    "log softmax": _one_op(Op("LOG_SOFTMAX", ("x",), ("y",)), _IMAGE, _IMAGE),
    "largest": _one_op(
        Op("REDUCE_MAX", ("x", "a"), ("y",), {"keep_dims": False}), _IMAGE, (1, 4), _ints("a", [1, 2])
    ),
    "least": _one_op(
        Op("REDUCE_MIN", ("x", "a"), ("y",), {"keep_dims": True}), _IMAGE, (1, 5, 7, 1), _ints("a", [-1])
    ),
    "one dimension more": _one_op(
        Op("EXPAND_DIMS", ("x", "a"), ("y",)), _IMAGE, (1, 5, 1, 7, 4), constant("a", np.array(2, np.int32))
    ),
    "gather channels": _one_op(
        Op("GATHER", ("x", "p"), ("y",), {"axis": -1}), _IMAGE, (1, 5, 7, 3), _ints("p", 3, 0, 3)
    ),
    "gather one row": _one_op(
        Op("GATHER", ("x", "p"), ("y",), {"axis": 1}), _IMAGE, (1, 7, 4), constant("p", np.array(2, np.int32))
    ),
    "pack": _one_op(
        Op("PACK", ("x", "x"), ("y",), {"axis": 3, "values_count": 2}), _IMAGE, (1, 5, 7, 2, 4)
    ),
    "pack to pictures": _one_op(
        Op("PACK", ("x", "x"), ("y",), {"axis": -1, "values_count": 2}), (1, 5, 7), (1, 5, 7, 2)
    ),
    "depth to space": _one_op(
        Op("DEPTH_TO_SPACE", ("x",), ("y",), {"block_size": 2}), (1, 3, 4, 12), (1, 6, 8, 3)
    ),
    "space to depth": _one_op(
        Op("SPACE_TO_DEPTH", ("x",), ("y",), {"block_size": 2}), (1, 6, 8, 3), (1, 3, 4, 12)
    ),
    "product of pictures": _one_op(
        Op("BATCH_MATMUL", ("x", "x"), ("y",), {"adj_x": False, "adj_y": True}), _IMAGE, (1, 5, 7, 7)
    ),
    "product with a constant": _one_op(
        Op("BATCH_MATMUL", ("x", "c"), ("y",), {"adj_x": True, "adj_y": False}), (1, 6, 4), (1, 4, 3),
        constant("c", _RNG.normal(size=(1, 6, 3)).astype(np.float32)),
    ),
    "quotient": _one_op(
        Op("DIV", ("x", "c"), ("y",), {"activation": "NONE"}), _IMAGE, _IMAGE,
        constant("c", np.array([0.5, 2.0, -3.0, 1.0], np.float32)),
    ),
    "mirror pad": _one_op(
        Op("MIRROR_PAD", ("x", "p"), ("y",), {"mode": 0}), _IMAGE, (1, 8, 9, 4),
        _ints("p", [0, 0], [1, 2], [0, 2], [0, 0]),
    ),
    "split": _several(Op("SPLIT", ("a", "x"), ("y", "y1"), {"num_splits": 2}), _IMAGE, [(1, 5, 7, 2)] * 2,
                      constant("a", np.array(3, np.int32))),
    "split in unequal parts": _several(
        Op("SPLIT_V", ("x", "s", "a"), ("y", "y1"), {"num_splits": 2}), _IMAGE, [(1, 2, 7, 4), (1, 3, 7, 4)],
        _ints("s", 2, -1), constant("a", np.array(1, np.int32)),
    ),
    "unpack": _several(Op("UNPACK", ("x",), ("y", "y1", "y2", "y3"), {"axis": -1, "num": 4}), _IMAGE, [(1, 5, 7)] * 4),
    "unpack to pictures": _several(
        Op("UNPACK", ("x",), ("y", "y1"), {"axis": 2, "num": 2}), (1, 5, 2, 7, 4), [_IMAGE] * 2
    ),
}  # fmt: skip
# What has no int8 kernels in LiteRT, or none of this form.
_FLOAT_ALONE = {
    "cosine": _one_op(Op("COS", ("x",), ("y",)), _IMAGE, _IMAGE),
    "sine": _one_op(Op("SIN", ("x",), ("y",)), _IMAGE, _IMAGE),
    "floor": _one_op(Op("FLOOR", ("x",), ("y",)), _IMAGE, _IMAGE),
    "negative": _one_op(Op("NEG", ("x",), ("y",)), _IMAGE, _IMAGE),
    "square": _one_op(Op("SQUARE", ("x",), ("y",)), _IMAGE, _IMAGE),
    "root of the square": Graph(
        {name: Tensor(name, _IMAGE, "float32") for name in "xyz"},
        (Op("SQUARE", ("x",), ("z",)), Op("SQRT", ("z",), ("y",))), ("x",), ("y",),
    ),
    "log of the square": Graph(
        {name: Tensor(name, _IMAGE, "float32") for name in "xyz"},
        (Op("SQUARE", ("x",), ("z",)), Op("LOG", ("z",), ("y",))), ("x",), ("y",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _FLOAT_OPS | _FLOAT_ALONE)
def test_each_float_op_computes_what_litert_computes(name: str) -> None:
    graph = (_FLOAT_OPS | _FLOAT_ALONE)[name]
    image = _RNG.normal(0, 3, graph.tensors["x"].shape).astype(np.float32)
    for expected, found in zip(_litert(graph, image), _onnx(write_onnx(graph), image), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(_FLOAT_OPS.keys() - {"arg max", "sum"}))
def test_each_op_quantized_computes_the_steps_that_litert_computes(name: str) -> None:
    """What `quantize_ptq` makes of one op, in both runtimes; SUM is beyond BUILTIN_REF, see tests/graph/conftest.py."""
    graph = _FLOAT_OPS[name]
    images = np.random.default_rng(3).normal(0, 3, (8, *graph.tensors["x"].shape[1:])).astype(np.float32)
    if name == "quotient":
        # LiteRT's int8 kernel says 127 of nothing divided by a negative number.
        images = np.where(np.abs(images) < 0.2, np.float32(0.2), images)
    int8 = quantize_ptq(graph, images, PostTraining(effort="fast", ranges="min-max")).graph
    assert float_ops(int8) == []
    source = int8.tensors["x"].quantization
    assert source is not None
    steps = source.quantize(images[:1], "int8")
    data = write_onnx(int8)
    for made_name, expected, found in zip(
        int8.outputs, _litert(int8, steps), _onnx(data, source.dequantize(steps)), strict=True
    ):
        made = int8.tensors[made_name].quantization
        assert made is not None
        assert found.shape == expected.shape
        assert np.abs(made.quantize(found, "int8").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_convolutions(kind: str, padding: str, stride: int, dilation: int) -> None:
    size = [-(-(extent - (2 * dilation if padding == "VALID" else 0)) // stride) for extent in (9, 8)]
    shape = (6, 3, 3, 4) if kind == "CONV_2D" else (1, 3, 3, 8)
    options = {"padding": padding, "stride_h": stride, "stride_w": stride, "activation": "RELU6"}
    options |= {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
    options |= {"depth_multiplier": 2} if kind == "DEPTHWISE_CONV_2D" else {}
    channels = 6 if kind == "CONV_2D" else 8
    graph = _one_op(
        Op(kind, ("x", "w", "b"), ("y",), options),
        (1, 9, 8, 4),
        (1, *size, channels),
        constant("w", _RNG.normal(size=shape).astype(np.float32)),
        constant("b", _RNG.normal(size=channels).astype(np.float32)),
    )
    image = _RNG.normal(size=(1, 9, 8, 4)).astype(np.float32)
    np.testing.assert_allclose(_onnx(write_onnx(graph), image)[0], _litert(graph, image)[0], rtol=1e-4, atol=1e-5)


def test_what_has_no_onnx_form_is_named() -> None:
    graph = _one_op(Op("MY_CUSTOM", ("x",), ("y",)), _ROW, _ROW)
    with pytest.raises(UnsupportedError, match="MY_CUSTOM, which makes y, does not go to ONNX"):
        write_onnx(graph)


# -- int8


@pytest.fixture
def gate() -> Graph:
    """A convolution, a lowered hard-swish, a pooled gate on it, a residual and a classifier, int8."""
    rng = np.random.default_rng(11)

    def activation(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
        return Tensor(name, shape, "int8", Quantization.per_tensor(scale, zero_point))

    def layer(name: str, kernel: tuple[int, ...], source: Tensor) -> list[Tensor]:
        scale = rng.uniform(0.004, 0.01, kernel[0]).astype(np.float32)
        assert source.quantization is not None
        step = source.quantization.scale[0]
        return [
            constant(f"{name}/w", rng.integers(-127, 128, kernel).astype(np.int8), Quantization.per_channel(scale, 0)),
            constant(
                f"{name}/b",
                rng.integers(-300, 300, kernel[0]).astype(np.int32),
                Quantization.per_channel(scale * step, 0),
            ),
        ]

    image = activation("image", (1, 8, 8, 3), 1 / 127.5, -1)
    conv = activation("conv", (1, 8, 8, 16), 0.06, -40)
    gated = activation("gated", (1, 8, 8, 16), 0.15, -110)
    pooled = activation("pooled", (1, 1, 1, 16), 0.1, -120)
    squeeze = activation("squeeze", (1, 1, 1, 16), 6 / 255, -128)
    excited = activation("excited", (1, 8, 8, 16), 0.4, -110)
    mixed = activation("mixed", (1, 8, 8, 16), 0.3, 4)
    summed = activation("summed", (1, 8, 8, 16), 0.35, 0)
    mean = activation("mean", (1, 1, 1, 16), 0.2, 0)
    scores = activation("scores", (1, 1, 1, 5), 0.2, 0)
    tensors = [
        image, conv, activation("relu6", (1, 8, 8, 16), 6 / 255, -128), gated, pooled, squeeze, excited, mixed,
        summed, mean, scores, activation("flat", (1, 5), 0.2, 0), activation("soft", (1, 5), 1 / 256, -128),
        constant("three", np.array(127, np.int8), Quantization.per_tensor(3 / 127, 0)),
        constant("axes", np.array([1, 2], np.int32)), constant("shape", np.array([1, 5], np.int32)),
        *layer("conv", (16, 3, 3, 3), image), *layer("squeeze", (16, 1, 1, 16), pooled),
        *layer("mixed", (16, 1, 1, 16), excited), *layer("scores", (5, 1, 1, 16), mean),
    ]  # fmt: skip
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    none = {"activation": "NONE"}
    ops = (
        Op("CONV_2D", ("image", "conv/w", "conv/b"), ("conv",), {**options, **none}),
        Op("ADD", ("conv", "three"), ("relu6",), {"activation": "RELU6"}),
        Op("MUL", ("conv", "relu6"), ("gated",), none),
        Op("MEAN", ("gated", "axes"), ("pooled",), {"keep_dims": True}),
        Op("CONV_2D", ("pooled", "squeeze/w", "squeeze/b"), ("squeeze",), {**options, "activation": "RELU6"}),
        Op("MUL", ("gated", "squeeze"), ("excited",), none),
        Op("CONV_2D", ("excited", "mixed/w", "mixed/b"), ("mixed",), {**options, "activation": "RELU"}),
        Op("ADD", ("mixed", "gated"), ("summed",), none),
        Op("MEAN", ("summed", "axes"), ("mean",), {"keep_dims": True}),
        Op("CONV_2D", ("mean", "scores/w", "scores/b"), ("scores",), {**options, **none}),
        Op("RESHAPE", ("scores", "shape"), ("flat",)),
        Op("SOFTMAX", ("flat",), ("soft",), {"beta": 1.0}),
    )
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("soft", "summed"))
    graph.check()
    return graph


def _pixels(graph: Graph, seed: int) -> tuple[Any, Any]:
    """The same picture as the .tflite takes it (int8) and as the .onnx does (float32)."""
    pixels = np.random.default_rng(seed).integers(0, 256, graph.tensors[graph.inputs[0]].shape)
    return (pixels - 128).astype(np.int8), (pixels / np.float32(127.5) - 1).astype(np.float32)


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_int8_computes_what_the_tflite_computes(gate: Graph, activations: Any) -> None:
    data = write_onnx(gate, activations=activations)
    for seed in range(4):
        steps, real = _pixels(gate, seed)
        expected = _litert(gate, steps)
        for optimize in (True, False):
            found = _onnx(data, real, optimize=optimize)
            for name, old, new in zip(gate.outputs, expected, found, strict=True):
                quantization = gate.tensors[name].quantization
                assert quantization is not None
                assert new.dtype == np.float32
                difference = np.abs(new - quantization.dequantize(old)) / quantization.scale[0]
                # The random weights let a step grow to a few. Two steps of a score, 0.4, move its softmax by up to
                # 0.4 / 4, and that is 26 steps of it.
                assert difference.max() <= {"soft": 26.0, "summed": 8.01}[name], f"{name}: {difference.max()} steps"
                assert np.median(difference) <= 1.01


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_the_files_hold_the_same_integers_and_scales(gate: Graph, activations: Any) -> None:
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(
        write_onnx(gate, activations=activations)).graph.initializer}  # fmt: skip
    for name in ("conv", "squeeze", "mixed", "scores"):
        weights, bias = gate.tensors[f"{name}/w"], gate.tensors[f"{name}/b"]
        assert weights.data is not None
        assert weights.quantization is not None
        assert bias.data is not None
        assert np.array_equal(held[weights.name], weights.data.transpose(0, 3, 1, 2))
        assert np.array_equal(held[bias.name], bias.data)
        assert any(np.array_equal(value, weights.quantization.scale) for value in held.values())
    zero_points = {int(value) for value in held.values() if value.dtype == activations and value.ndim == 0}
    shift = 128 if activations == "uint8" else 0
    assert {point + shift for point in (-1, -40, -110, -128, 4)} <= zero_points


def test_every_op_is_an_integer_kernel_after_optimization(gate: Graph, tmp_path: Path) -> None:
    file = tmp_path / "gate.onnx"
    file.write_bytes(write_onnx(gate))
    nodes = optimized_nodes(file)
    counts = Counter(kind for kind, _, _ in nodes)
    assert counts["QLinearConv"] == 4
    assert counts["QLinearAdd"] == 2
    assert counts["QLinearMul"] == 2
    assert counts["QLinearGlobalAveragePool"] == 2
    inner = [kind for kind, name, is_float in nodes if is_float and not name.endswith("/off_ties")]
    assert set(inner) <= {"QuantizeLinear", "DequantizeLinear"}


def test_clips_stand_on_steps_only_where_saturation_does_not_clip(gate: Graph) -> None:
    model = onnx.load_from_string(write_onnx(gate))
    clips = [node for node in model.graph.node if node.op_type in ("Clip", "Relu")]
    # "mixed" has ReLU at zero point 4: its steps reach below 0. The ReLU6 of the others end with their steps.
    assert [node.name for node in clips] == ["mixed/clipped"]
    producer = {output: node.op_type for node in model.graph.node for output in node.output}
    assert producer[clips[0].input[0]] == "QuantizeLinear"


def test_every_pixel_gets_the_step_that_the_tflite_gives_it() -> None:
    image = Tensor("image", (1, 16, 16, 1), "int8", Quantization.per_tensor(1 / 127.5, -1))
    flat = Tensor("flat", (1, 256), "int8", image.quantization)
    graph = Graph(
        {"image": image, "flat": flat, "shape": constant("shape", np.array([1, 256], np.int32))},
        (Op("RESHAPE", ("image", "shape"), ("flat",)),),
        ("image",),
        ("flat",),
    )
    pixels = np.arange(256).reshape(1, 16, 16, 1)
    found = _onnx(write_onnx(graph), (pixels / np.float32(127.5) - 1).astype(np.float32))[0]
    np.testing.assert_allclose(found.ravel(), (np.arange(256) - 127) / 127.5, atol=1e-6)


def test_the_kernels_that_do_not_saturate_compute_the_same(gate: Graph) -> None:
    if saturates():
        pytest.skip("this CPU has no VNNI: its plain kernels saturate")
    data, image = write_onnx(gate), _pixels(gate, 0)[1]
    found = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"image": image})
    for old, new in zip(_onnx(data, image), found, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_the_same_graph_gives_the_same_bytes(gate: Graph) -> None:
    assert write_onnx(gate) == write_onnx(gate)


def test_ends_keep_name_shape_and_order(gate: Graph) -> None:
    model = onnx.load_from_string(write_onnx(gate))
    ends = [(value.name, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim))
            for value in (*model.graph.input, *model.graph.output)]  # fmt: skip
    assert ends == [("image", (1, 8, 8, 3)), ("soft", (1, 5)), ("summed", (1, 8, 8, 16))]


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["tf2_mobilenet_v2_1.0_224_ptq", "v3-small_224_1.0_uint8", "mobilenet_v1_0.25_128_quant"]
)
def test_files_of_others_run_on_integer_kernels(shared_data: Path, tmp_path: Path, name: str) -> None:
    graph = run_passes(read_tflite(shared_data / "models" / "imagenet" / f"{name}.tflite"), TARGET.int8_passes)
    file = tmp_path / "theirs.onnx"
    file.write_bytes(write_onnx(graph))
    counts = Counter(kind for kind, _, _ in optimized_nodes(file))
    ops = Counter(op.kind for op in graph.ops)
    assert counts["QLinearConv"] == ops["CONV_2D"] + ops["DEPTHWISE_CONV_2D"]
    assert counts["QLinearMul"] == ops["MUL"]
    assert counts["QLinearAdd"] == ops["ADD"]
    assert not counts.keys() & {"Conv", "Mul", "Add", "GlobalAveragePool", "ReduceMean", "Softmax"}


@pytest.mark.parametrize("behind", ["VALID convolution", "nothing"])
@pytest.mark.parametrize("zero_point", [None, -7])
def test_pad_is_taken_over_or_stays_an_integer_op(behind: str, zero_point: int | None, tmp_path: Path) -> None:
    steps = None if zero_point is None else Quantization.per_tensor(0.05, zero_point)
    dtype = "float32" if steps is None else "int8"
    weights = _RNG.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    tensors = [
        Tensor("x", (1, 5, 5, 2), dtype, steps),
        _ints("widths", [0, 0], [0, 1], [2, 0], [0, 0]),
        Tensor("padded", (1, 6, 7, 2), dtype, steps),
    ]
    ops = [Op("PAD", ("x", "widths"), ("padded",))]
    if behind != "nothing":
        scales = np.full(3, 0.01, np.float32)
        tensors += [
            constant("w", weights, Quantization.per_channel(scales, 0))
            if steps
            else constant("w", weights.astype(np.float32)),
            constant("b", np.arange(3).astype(np.int32), Quantization.per_channel(scales * np.float32(0.05), 0))
            if steps
            else constant("b", np.arange(3).astype(np.float32)),
            Tensor("y", (1, 2, 3, 3), dtype, steps and Quantization.per_tensor(0.2, 3)),
        ]
        ops.append(Op("CONV_2D", ("padded", "w", "b"), ("y",), _WINDOW | {"padding": "VALID", "activation": "NONE"}))
    graph = Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("x",), (tensors[-1].name,))
    real = _RNG.normal(size=(1, 5, 5, 2)).astype(np.float32)
    image = real if steps is None else steps.quantize(real, "int8")
    (expected,) = _litert(graph, image)
    result = graph.tensors[graph.outputs[0]].quantization
    data = write_onnx(graph)
    (found,) = _onnx(data, real)
    if result is None:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        return
    assert np.abs(result.quantize(found, "int8").astype(int) - expected).max() <= 1
    (tmp_path / "m.onnx").write_bytes(data)
    kinds = Counter((kind, is_float) for kind, _, is_float in optimized_nodes(tmp_path / "m.onnx"))
    assert ("Pad", True) not in kinds
    assert (kinds["Pad", False] == 0) == (behind != "nothing")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mlperf_tiny/vww_96_int8", "tasks/ssd_slim_120x160x1_v1_int8__emza"])
def test_files_of_others_compute_the_same_steps(shared_data: Path, name: str) -> None:
    graph = read_tflite(shared_data / "models" / f"{name}.tflite")
    image = graph.tensors[graph.inputs[0]]
    assert image.quantization is not None
    steps = np.random.default_rng(0).integers(-128, 128, image.shape).astype(np.int8)
    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], steps)
    interpreter.invoke()
    expected = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    found = _onnx(write_onnx(graph), image.quantization.dequantize(steps))
    for tensor, old, new in zip(graph.outputs, expected, found, strict=True):
        quantization = graph.tensors[tensor].quantization
        assert quantization is not None
        np.testing.assert_allclose(new, quantization.dequantize(old), atol=quantization.scale[0] * 1.01)


def test_a_shape_that_is_left_open_is_asked_for() -> None:
    image = Tensor("x", (1, 1, 1, 3), "float32", open_shape=(-1, -1, -1, 3))
    graph = Graph({"x": image, "y": replace(image, name="y")}, (Op("RELU", ("x",), ("y",)),), ("x",), ("y",))
    with pytest.raises(UnsupportedError, match=r"input x leaves its shape open \(\? x \? x \? x 3\).*--size"):
        write_onnx(graph)


def test_a_symmetric_mirror_pad_is_refused_with_the_way_out() -> None:
    widths = constant("p", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    tensors = {"x": Tensor("x", (1, 4, 4, 3), "float32"), "p": widths, "y": Tensor("y", (1, 6, 6, 3), "float32")}
    graph = Graph(tensors, (Op("MIRROR_PAD", ("x", "p"), ("y",), {"mode": 1}),), ("x",), ("y",))
    with pytest.raises(UnsupportedError, match=r'MIRROR_PAD that makes y .*mode="REFLECT".*--target'):
        write_onnx(graph)
