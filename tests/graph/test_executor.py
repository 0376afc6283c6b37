"""The executor against LiteRT's reference kernels, and its gradient against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.batch import Batch
from mnedge.errors import UnsupportedError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import execute, predict, simulate
from mnedge.graph.graph import Graph, Op, Tensor, constant

RNG = np.random.default_rng(5)
STRIDES = {"stride_h": 2, "stride_w": 2, "padding": "SAME", "activation": "NONE"}


def litert(graph: Graph, image: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=write_tflite(graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def one_op(
    op: Op, shape: tuple[int, ...], made: tuple[int, ...], constants: dict[str, Any], dtype: str = "float32"
) -> Graph:
    tensors = [Tensor("x", shape, "float32"), Tensor("y", made, dtype)]
    tensors += [constant(name, np.asarray(value)) for name, value in constants.items()]
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


def floats(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(np.float32)


def conv(padding: str, stride: int, dilation: int, activation: str, made: tuple[int, ...]) -> Graph:
    options = {
        "stride_h": stride, "stride_w": stride, "padding": padding, "activation": activation,
        "dilation_h_factor": dilation, "dilation_w_factor": dilation,
    }  # fmt: skip
    op = Op("CONV_2D", ("x", "w", "b"), ("y",), options)
    return one_op(op, (1, 9, 7, 3), made, {"w": floats(5, 3, 3, 3), "b": floats(5)})


def depthwise(stride: int, dilation: int, multiplier: int, made: tuple[int, ...]) -> Graph:
    options = {
        "stride_h": stride, "stride_w": stride, "padding": "SAME", "activation": "RELU6",
        "dilation_h_factor": dilation, "dilation_w_factor": dilation, "depth_multiplier": multiplier,
    }  # fmt: skip
    op = Op("DEPTHWISE_CONV_2D", ("x", "w", "b"), ("y",), options)
    return one_op(op, (1, 9, 7, 3), made, {"w": floats(1, 3, 3, 3 * multiplier), "b": floats(3 * multiplier)})


POOL = {"filter_height": 3, "filter_width": 2, "stride_h": 2, "stride_w": 1, "padding": "SAME", "activation": "NONE"}
RESIZED = np.array([6, 8], np.int32)

GRAPHS = {
    "conv same": conv("SAME", 2, 1, "NONE", (1, 5, 4, 5)),
    "conv valid relu": conv("VALID", 1, 1, "RELU", (1, 7, 5, 5)),
    "conv dilated": conv("SAME", 1, 2, "RELU6", (1, 9, 7, 5)),
    "depthwise": depthwise(2, 1, 1, (1, 5, 4, 3)),
    "depthwise dilated": depthwise(1, 2, 1, (1, 9, 7, 3)),
    "depthwise multiplier": depthwise(1, 1, 2, (1, 9, 7, 6)),
    "transpose conv": one_op(
        Op("TRANSPOSE_CONV", ("s", "w", "x"), ("y",), STRIDES),
        (1, 4, 3, 5),
        (1, 8, 6, 2),
        {"s": np.array([1, 8, 6, 2], np.int32), "w": floats(2, 3, 3, 5)},
    ),
    "fully connected": one_op(
        Op("FULLY_CONNECTED", ("x", "w", "b"), ("y",), {"activation": "RELU", "weights_format": 0}),
        (1, 6),
        (1, 4),
        {"w": floats(4, 6), "b": floats(4)},
    ),
    "average pool": one_op(Op("AVERAGE_POOL_2D", ("x",), ("y",), POOL), (1, 5, 4, 3), (1, 3, 4, 3), {}),
    "max pool": one_op(Op("MAX_POOL_2D", ("x",), ("y",), POOL), (1, 5, 4, 3), (1, 3, 4, 3), {}),
    "mean": one_op(
        Op("MEAN", ("x", "a"), ("y",), {"keep_dims": False}), (1, 5, 4, 3), (1, 3), {"a": np.array([1, 2], np.int32)}
    ),
    "add relu6": one_op(Op("ADD", ("x", "c"), ("y",), {"activation": "RELU6"}), (1, 4, 3), (1, 4, 3), {"c": floats(3)}),
    "sub": one_op(Op("SUB", ("c", "x"), ("y",), {"activation": "NONE"}), (1, 4, 3), (1, 4, 3), {"c": floats(3)}),
    "mul": one_op(Op("MUL", ("x", "c"), ("y",), {"activation": "NONE"}), (1, 4, 3), (1, 4, 3), {"c": np.float32(1.5)}),
    "hard swish": one_op(Op("HARD_SWISH", ("x",), ("y",)), (1, 40), (1, 40), {}),
    "logistic": one_op(Op("LOGISTIC", ("x",), ("y",)), (1, 40), (1, 40), {}),
    "softmax": one_op(Op("SOFTMAX", ("x",), ("y",), {"beta": 1.0}), (1, 10), (1, 10), {}),
    "pad": one_op(
        Op("PAD", ("x", "p"), ("y",)), (1, 3, 4, 2), (1, 6, 5, 2),
        {"p": np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)},
    ),
    "concatenation": one_op(
        Op("CONCATENATION", ("x", "x"), ("y",), {"axis": -1, "activation": "NONE"}), (1, 3, 2), (1, 3, 4), {}
    ),
    "bilinear": one_op(
        Op("RESIZE_BILINEAR", ("x", "s"), ("y",), {"align_corners": False, "half_pixel_centers": True}),
        (1, 3, 4, 2), (1, 6, 8, 2), {"s": RESIZED},
    ),
    "bilinear corners": one_op(
        Op("RESIZE_BILINEAR", ("x", "s"), ("y",), {"align_corners": True, "half_pixel_centers": False}),
        (1, 3, 4, 2), (1, 6, 8, 2), {"s": RESIZED},
    ),
    "nearest": one_op(
        Op("RESIZE_NEAREST_NEIGHBOR", ("x", "s"), ("y",), {"align_corners": False, "half_pixel_centers": False}),
        (1, 3, 4, 2), (1, 6, 8, 2), {"s": RESIZED},
    ),
    "arg max": one_op(
        Op("ARG_MAX", ("x", "a"), ("y",), {"output_type": 4}), (1, 3, 9), (1, 3), {"a": np.int32(2)}, dtype="int64"
    ),
    "reshape": one_op(
        Op("RESHAPE", ("x", "s"), ("y",), {"new_shape": (1, 12)}), (1, 3, 4), (1, 12), {"s": np.array((1, 12), "i4")}
    ),
    "transpose": one_op(
        Op("TRANSPOSE", ("x", "o"), ("y",)), (1, 3, 4, 2), (1, 2, 3, 4), {"o": np.array([0, 3, 1, 2], np.int32)}
    ),
    "strided slice": one_op(
        Op(
            "STRIDED_SLICE", ("x", "b", "e", "s"), ("y",),
            {"begin_mask": 0, "end_mask": 2, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0},
        ),
        (1, 6, 4), (1, 3, 2),
        {"b": np.array([0, 1, 0], np.int32), "e": np.array([1, 0, 2], np.int32), "s": np.array([1, 2, 1], np.int32)},
    ),
    "l2 normalization": one_op(Op("L2_NORMALIZATION", ("x",), ("y",), {"activation": "NONE"}), (1, 9), (1, 9), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_batch_equals_reference_kernels_picture_by_picture(name: str) -> None:
    graph = GRAPHS[name]
    images = 3 * floats(3, *graph.tensors["x"].shape[1:])
    expected = np.concatenate([litert(graph, images[index : index + 1]) for index in range(3)])
    got = predict(graph, images)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    import tensorflow as tf

    graph = GRAPHS["conv valid relu"]
    image = floats(1, *graph.tensors["x"].shape[1:])
    weights = tf.Variable(graph.tensors["w"].real())

    def loss() -> Any:
        return tf.reduce_sum(execute(graph, {"x": tf.constant(image)}, values={"w": weights})["y"] ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, weights).numpy()
    direction = floats(*weights.shape)
    weights.assign_add(1e-3 * direction)
    above = float(loss())
    weights.assign_sub(2e-3 * direction)
    assert (above - float(loss())) / 2e-3 == pytest.approx(float(np.sum(gradient * direction)), rel=2e-2)


def test_an_int8_graph_simulated_equals_the_integer_kernels(small_int8: Graph) -> None:
    pixels = RNG.integers(0, 256, (6, 8, 8, 3))
    integers = np.concatenate([litert(small_int8, (row[None] - 128).astype(np.int8)) for row in pixels])
    real = (pixels / np.float32(127.5) - 1).astype(np.float32)
    quantization = small_int8.tensors["scores"].quantization
    assert quantization is not None
    simulated = predict(small_int8, real, on_tensor=simulate(small_int8))
    # The integer softmax rounds its exponentials; everything before it is exact to a step.
    assert np.abs(simulated - quantization.dequantize(integers)).max() <= 1.01 / 256


def test_mixing_the_pictures_of_a_batch_is_refused() -> None:
    op = Op("RESHAPE", ("x", "s"), ("y",), {"new_shape": (12,)})
    graph = one_op(op, (1, 3, 4), (12,), {"s": np.array([12], np.int32)})
    with pytest.raises(UnsupportedError, match="mixed"):
        predict(graph, floats(2, 3, 4))


def test_an_op_without_a_real_form_is_named() -> None:
    graph = one_op(Op("TFLite_Detection_PostProcess", ("x",), ("y",)), (1, 3), (1, 3), {})
    with pytest.raises(UnsupportedError, match="TFLite_Detection_PostProcess"):
        predict(graph, floats(1, 3))


def test_arrays_that_are_fed_are_no_constants() -> None:
    shapes = {"x": (1, 2), "z": (1, 3), "joined": (1, 5)}
    tensors = {name: Tensor(name, shape, "float32") for name, shape in shapes.items()}
    op = Op("CONCATENATION", ("x", "z"), ("joined",), {"axis": 1, "activation": "NONE"})
    graph = Graph(tensors, (op,), ("x", "z"), ("joined",))
    x, z = floats(4, 2), floats(4, 3)
    assert np.array_equal(execute(graph, {"x": x, "z": z})["joined"], np.concatenate([x, z], 1))
    assert np.array_equal(predict(graph, Batch({"z": z, "x": x}), batch=3), np.concatenate([x, z], 1))
