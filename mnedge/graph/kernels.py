"""Each TFLite op in TensorFlow, in real arithmetic, for any number of pictures at once.

A kernel takes the op, its arguments (None where one is left out) and the graph, and makes the value of the op's one
output before its fused activation, or a list of the values of its outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorflow.types.experimental import TensorLike

    from mnedge.graph.graph import Graph, Op

Kernel: TypeAlias = "Callable[[Op, list[TensorLike], Graph], TensorLike]"


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


def _beside_batch(op: Op, axis: int, rank: int) -> int:
    """An axis along which an op works, counted from the front; never that of the batch."""
    if axis % rank == 0 and rank > 1:
        raise UnsupportedError(f"{op.kind} of {op.outputs[0]} works along the batch; it cannot be executed for a batch")
    return axis % rank


def _for_each_picture(values: list[TensorLike]) -> list[TensorLike]:
    """Values that are to be joined, constants repeated for every picture of the batch."""
    import tensorflow as tf

    batch = next(tf.shape(value)[0] for value in values if not isinstance(value, np.ndarray))
    return [tf.repeat(value, batch, 0) if isinstance(value, np.ndarray) else value for value in values]


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
    return _shaped(result, op, graph)


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

        axes = [_beside_batch(op, int(axis), len(inputs[0].shape)) for axis in np.ravel(inputs[1])]
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


def _pad(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.pad(inputs[0], inputs[1])


def _mirror_pad(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    # MirrorPadMode of the schema: REFLECT is 0, SYMMETRIC 1.
    return tf.pad(inputs[0], inputs[1], "SYMMETRIC" if op.options.get("mode", 0) else "REFLECT")


def _blocks(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        return getattr(tf.nn, function)(inputs[0], op.options["block_size"])

    return kernel


def _shaped(value: TensorLike, op: Op, graph: Graph) -> TensorLike:
    """Reshapes to the op's output for each picture of the batch."""
    import tensorflow as tf

    before, after = graph.tensors[str(op.inputs[0])].shape, graph.tensors[op.outputs[0]].shape
    if not after or not before or before[0] != after[0]:
        raise UnsupportedError(f"{op.kind} turns {before} into {after}: the pictures of a batch would be mixed")
    return tf.reshape(value, (-1, *after[1:]))


def _reshape(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    return _shaped(inputs[0], op, graph)


def _concatenation(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    axis = _beside_batch(op, op.options["axis"], len(graph.tensors[op.outputs[0]].shape))
    return tf.concat(_for_each_picture(inputs), axis)


def _pack(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    axis = _beside_batch(op, op.options.get("axis", 0), len(graph.tensors[op.outputs[0]].shape))
    return tf.stack(_for_each_picture(inputs), axis)


def _unpack(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = _beside_batch(op, op.options.get("axis", 0), len(inputs[0].shape))
    return tf.unstack(inputs[0], len(op.outputs), axis)


def _split(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = _beside_batch(op, int(np.ravel(inputs[0])[0]), len(inputs[1].shape))
    return tf.split(inputs[1], len(op.outputs), axis)


def _split_v(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = _beside_batch(op, int(np.ravel(inputs[2])[0]), len(inputs[0].shape))
    sizes = [int(size) for size in inputs[1]]
    if -1 in sizes:
        sizes[sizes.index(-1)] = inputs[0].shape[axis] - sum(size for size in sizes if size >= 0)
    return tf.split(inputs[0], sizes, axis)


def _gather(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    table, places = inputs
    # Rows of a constant table are looked up sample by sample, as an embedding's are.
    looks_up = isinstance(table, np.ndarray) and op.options.get("axis", 0) == 0 and not isinstance(places, np.ndarray)
    if looks_up and not op.options.get("batch_dims", 0):
        return tf.gather(table, places)
    if not isinstance(places, np.ndarray) or op.options.get("batch_dims", 0):
        raise UnsupportedError(
            f"GATHER of {op.outputs[0]} by computed places cannot be executed; constant places, or rows of a constant "
            "table, can"
        )
    return tf.gather(inputs[0], inputs[1], axis=_beside_batch(op, op.options.get("axis", 0), len(inputs[0].shape)))


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


def _slice(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    begin, size = np.array(inputs[1]), np.array(inputs[2])
    begin[0], size[0] = 0, -1
    return tf.slice(inputs[0], begin, size)


def _strided_slice(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    masks = {name: op.options.get(name, 0) for name in ("begin_mask", "end_mask", "shrink_axis_mask", "ellipsis_mask")}
    if masks["shrink_axis_mask"] & 1 or masks["ellipsis_mask"] or op.options.get("new_axis_mask", 0):
        raise UnsupportedError(f"STRIDED_SLICE of {op.outputs[0]} changes the batch dimension")
    return tf.strided_slice(
        inputs[0],
        inputs[1],
        inputs[2],
        inputs[3],
        begin_mask=masks["begin_mask"] | 1,
        end_mask=masks["end_mask"] | 1,
        shrink_axis_mask=masks["shrink_axis_mask"],
    )


def _tile(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    if int(np.ravel(inputs[1])[0]) != 1:
        raise UnsupportedError(f"TILE of {op.outputs[0]} repeats the batch dimension")
    return tf.tile(inputs[0], inputs[1])


def _transpose(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    order = [int(axis) for axis in np.ravel(inputs[1])]
    if order[0] != 0:
        raise UnsupportedError(f"TRANSPOSE of {op.outputs[0]} moves the batch dimension: {order}")
    return tf.transpose(inputs[0], order)


def _arg_max(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.argmax(inputs[0], int(np.ravel(inputs[1])[0]))


def _l2_normalization(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.math.l2_normalize(inputs[0], axis=-1, epsilon=1e-12)


# The ops that can be executed, by kind.
KERNELS: Mapping[str, Kernel] = {
    "ABS": _elementwise("abs"),
    "ADD": _elementwise("add"),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "BATCH_MATMUL": _batch_matmul,
    "CEIL": _elementwise("math.ceil"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "COS": _elementwise("cos"),
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEPTH_TO_SPACE": _blocks("depth_to_space"),
    "DEQUANTIZE": _same,
    "DIV": _elementwise("divide"),
    "ELU": _elementwise("nn.elu"),
    "EXP": _elementwise("exp"),
    "EXPAND_DIMS": _reshape,
    "FLOOR": _elementwise("floor"),
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
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
    "MIRROR_PAD": _mirror_pad,
    "MUL": _elementwise("multiply"),
    "NEG": _elementwise("negative"),
    "PACK": _pack,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _same,
    "REDUCE_MAX": _reduce("reduce_max"),
    "REDUCE_MIN": _reduce("reduce_min"),
    "RELU": _elementwise("nn.relu"),
    "RELU6": _elementwise("nn.relu6"),
    "RELU_N1_TO_1": _relu_n1_to_1,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "ROUND": _elementwise("round"),
    "RSQRT": _elementwise("math.rsqrt"),
    "SIN": _elementwise("sin"),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _blocks("space_to_depth"),
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQRT": _elementwise("sqrt"),
    "SQUARE": _elementwise("square"),
    "SQUARED_DIFFERENCE": _elementwise("math.squared_difference"),
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elementwise("subtract"),
    "SUM": _reduce("reduce_sum"),
    "TANH": _elementwise("tanh"),
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
