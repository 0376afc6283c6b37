"""Executes TFLite ops in TensorFlow, in real arithmetic, for any number of pictures at once.

A kernel takes the op, its arguments (None where one is left out) and the graph, and makes the value of the op's one
output before its fused activation, or a list of the values of its outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.graph.moving import MOVING, Kernel, beside_batch, shaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorflow.types.experimental import TensorLike

    from mnedge.graph.graph import Graph, Op


def activated(value: TensorLike, op: Op) -> TensorLike:
    """A value after the fused activation of an op.

    Raises:
        UnsupportedError: The activation has no real-valued form here.
    """
    import tensorflow as tf

    kind = op.options.get("activation", "NONE")
    if kind == "NONE":
        return value
    if kind == "RELU":
        return tf.nn.relu(value)
    if kind == "RELU6":
        return tf.clip_by_value(value, 0.0, 6.0)
    if kind == "RELU_N1_TO_1":
        return tf.clip_by_value(value, -1.0, 1.0)
    raise UnsupportedError(f"{op.kind} has the fused activation {kind}; known are NONE, RELU, RELU6, RELU_N1_TO_1")


def _strides(op: Op) -> list[int]:
    return [1, op.options["stride_h"], op.options["stride_w"], 1]


def _conv(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    dilations = [op.options.get("dilation_h_factor", 1), op.options.get("dilation_w_factor", 1)]
    kernel = tf.transpose(inputs[1], (1, 2, 3, 0))
    value = tf.convert_to_tensor(inputs[0])
    if max(dilations) > 1 or value.shape[3] != kernel.shape[2]:
        return _biased(_dilated_or_grouped(op, value, kernel, dilations), inputs, 2)
    result = tf.nn.conv2d(inputs[0], kernel, _strides(op), op.options["padding"], dilations=dilations)
    return _biased(result, inputs, 2)


def _dilated_or_grouped(op: Op, value: TensorLike, kernel: TensorLike, dilations: list[int]) -> TensorLike:
    """A convolution whose gradient TensorFlow does not have on CPUs: here it is that of a sum over the taps."""
    import tensorflow as tf

    strides, padding = _strides(op)[1:3], op.options["padding"]

    def by_taps(value: TensorLike, kernel: TensorLike, extents: tuple[int, int]) -> TensorLike:
        window = kernel.shape[:2]
        needed = [
            max((extent - 1) * stride + (taps - 1) * step + 1 - size, 0) if padding == "SAME" else 0
            for extent, stride, taps, step, size in zip(
                extents, strides, window, dilations, value.shape[1:3], strict=True
            )
        ]
        value = tf.pad(value, [[0, 0], *([total // 2, total - total // 2] for total in needed), [0, 0]])
        parts, depth = [], kernel.shape[2]
        groups = value.shape[3] // depth
        for row in range(window[0]):
            for column in range(window[1]):
                top, left = row * dilations[0], column * dilations[1]
                bottom, right = ((extent - 1) * stride + 1 for extent, stride in zip(extents, strides, strict=True))
                seen = value[:, top : top + bottom : strides[0], left : left + right : strides[1]]
                grouped = tf.reshape(seen, (-1, *extents, groups, depth))
                weights = tf.reshape(kernel[row, column], (depth, groups, -1))
                parts.append(tf.einsum("nhwgc,cgo->nhwgo", grouped, weights))
        return tf.reshape(tf.add_n(parts), (-1, *extents, kernel.shape[3]))

    @tf.custom_gradient  # type: ignore[untyped-decorator] # TensorFlow's
    def convolved(value: TensorLike, kernel: TensorLike) -> tuple[TensorLike, Callable[[TensorLike], TensorLike]]:
        made = tf.nn.conv2d(value, kernel, _strides(op), padding, dilations=dilations)

        def gradient(upstream: TensorLike) -> TensorLike:
            with tf.GradientTape() as tape:
                tape.watch([value, kernel])
                again = by_taps(value, kernel, tuple(made.shape[1:3]))
            return tape.gradient(again, [value, kernel], upstream)

        return made, gradient

    return convolved(value, kernel)


def _depthwise(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    dilations = [op.options.get("dilation_h_factor", 1), op.options.get("dilation_w_factor", 1)]
    _, height, width, channels = graph.tensors[str(op.inputs[1])].shape
    depth = graph.tensors[str(op.inputs[0])].shape[3]
    kernel = tf.reshape(inputs[1], (height, width, depth, channels // depth))
    result = tf.nn.depthwise_conv2d(inputs[0], kernel, _strides(op), op.options["padding"], dilations=dilations)
    return _biased(result, inputs, 2)


def _transpose_conv(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    shape = (tf.shape(inputs[2])[0], *graph.tensors[op.outputs[0]].shape[1:])
    kernel = tf.transpose(inputs[1], (1, 2, 0, 3))
    result = tf.nn.conv2d_transpose(inputs[2], kernel, shape, _strides(op), op.options["padding"])
    return _biased(result, inputs, 3)


def _fully_connected(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    depth = graph.tensors[str(op.inputs[1])].shape[1]
    rows = inputs[0] if len(inputs[0].shape) == 2 else tf.reshape(inputs[0], (-1, depth))
    result = _biased(tf.matmul(rows, inputs[1], transpose_b=True), inputs, 2)
    return shaped(result, op, graph)


def _batch_matmul(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    turned = {"transpose_a": bool(op.options.get("adj_x")), "transpose_b": bool(op.options.get("adj_y"))}
    return tf.matmul(inputs[0], inputs[1], **turned)


def _biased(value: TensorLike, inputs: list[TensorLike], index: int) -> TensorLike:
    return value if len(inputs) <= index or inputs[index] is None else value + inputs[index]


def _pool(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        window = [op.options["filter_height"], op.options["filter_width"]]
        strides = [op.options["stride_h"], op.options["stride_w"]]
        # tf.nn.pool would refuse strides wider than the window, which TFLite takes.
        return getattr(tf.nn, function)(inputs[0], window, strides, op.options["padding"])

    return kernel


def _reduce(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        axes = [beside_batch(op, int(axis), len(inputs[0].shape)) for axis in np.ravel(inputs[1])]
        return getattr(tf, function)(inputs[0], axes, keepdims=bool(op.options.get("keep_dims", False)))

    return kernel


def _elementwise(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
        import tensorflow as tf

        names = function.split(".")
        target = tf
        for name in names:
            target = getattr(target, name)
        return target(*_raised(inputs, op, graph))

    return kernel


def _raised(inputs: list[TensorLike], op: Op, graph: Graph) -> list[TensorLike]:
    """Operands, (N, C) as (N, 1, 1, C) where the result has four axes: else N pictures would meet N columns."""
    import tensorflow as tf

    rank, raised = len(graph.tensors[op.outputs[0]].shape), []
    for name, value in zip(op.inputs, inputs, strict=True):
        shape = graph.tensors[str(name)].shape
        if 0 < len(shape) < rank and not isinstance(value, np.ndarray):
            if shape[0] != 1:
                raise UnsupportedError(
                    f"{op.kind} of {op.outputs[0]} reads {name}, {shape}, which has no axis for the pictures of a batch"
                )
            value = tf.reshape(value, (-1, *[1] * (rank - len(shape)), *shape[1:]))  # noqa: PLW2901
        raised.append(value)
    return raised


def _same(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    return inputs[0]


def _softmax(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.nn.softmax(inputs[0] * op.options.get("beta", 1.0))


def _leaky_relu(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.nn.leaky_relu(inputs[0], op.options.get("alpha", 0.0))


def _prelu(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.nn.relu(inputs[0]) + inputs[1] * tf.minimum(inputs[0], 0.0)


def _gelu(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.nn.gelu(inputs[0], approximate=bool(op.options.get("approximate", False)))


def _relu_n1_to_1(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.clip_by_value(inputs[0], -1.0, 1.0)


def _hard_swish(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return inputs[0] * tf.clip_by_value(inputs[0] + 3.0, 0.0, 6.0) / 6.0


def _resize(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        return getattr(tf.raw_ops, function)(
            images=inputs[0],
            size=inputs[1],
            align_corners=bool(op.options.get("align_corners", False)),
            half_pixel_centers=bool(op.options.get("half_pixel_centers", False)),
        )

    return kernel


def _arg_max(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.argmax(inputs[0], int(np.ravel(inputs[1])[0]))


def _l2_normalization(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.math.l2_normalize(inputs[0], axis=-1, epsilon=1e-12)


# The ops that can be executed, by kind.
KERNELS: Mapping[str, Kernel] = {
    **MOVING,
    "ABS": _elementwise("abs"),
    "ADD": _elementwise("add"),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "BATCH_MATMUL": _batch_matmul,
    "CEIL": _elementwise("math.ceil"),
    "CONV_2D": _conv,
    "COS": _elementwise("cos"),
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "DIV": _elementwise("divide"),
    "ELU": _elementwise("nn.elu"),
    "EXP": _elementwise("exp"),
    "FLOOR": _elementwise("floor"),
    "FULLY_CONNECTED": _fully_connected,
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky_relu,
    "LOG": _elementwise("math.log"),
    "LOGISTIC": _elementwise("sigmoid"),
    "LOG_SOFTMAX": _elementwise("nn.log_softmax"),
    "MAXIMUM": _elementwise("maximum"),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "MEAN": _reduce("reduce_mean"),
    "MINIMUM": _elementwise("minimum"),
    "MUL": _elementwise("multiply"),
    "NEG": _elementwise("negative"),
    "PRELU": _prelu,
    "QUANTIZE": _same,
    "REDUCE_MAX": _reduce("reduce_max"),
    "REDUCE_MIN": _reduce("reduce_min"),
    "RELU": _elementwise("nn.relu"),
    "RELU6": _elementwise("nn.relu6"),
    "RELU_N1_TO_1": _relu_n1_to_1,
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "ROUND": _elementwise("round"),
    "RSQRT": _elementwise("math.rsqrt"),
    "SIN": _elementwise("sin"),
    "SOFTMAX": _softmax,
    "SQRT": _elementwise("sqrt"),
    "SQUARE": _elementwise("square"),
    "SQUARED_DIFFERENCE": _elementwise("math.squared_difference"),
    "SUB": _elementwise("subtract"),
    "SUM": _reduce("reduce_sum"),
    "TANH": _elementwise("tanh"),
    "TRANSPOSE_CONV": _transpose_conv,
}
