"""A Graph as a differentiable TensorFlow function over a batch of images.

The graph's own batch is 1; here the first dimension of every activation may be any number. What is trained
through this executor is what is shipped: the same ops, on the same constants, in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import PIXEL_NUDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op, Tensor

# TensorFlow is not imported for its types.
TensorLike: TypeAlias = Any
OnTensor: TypeAlias = "Callable[[str, TensorLike], TensorLike]"


def execute(
    graph: Graph,
    feeds: Mapping[str, TensorLike],
    *,
    values: Mapping[str, TensorLike] | None = None,
    on_tensor: OnTensor | None = None,
    ops: Iterable[Op] | None = None,
) -> dict[str, TensorLike]:
    """Runs ops in real arithmetic and returns every activation.

    Quantized constants take part as the real numbers they stand for; QUANTIZE and DEQUANTIZE pass through, so
    an int8 graph runs as the float graph that it approximates, unless `on_tensor` rounds (see `simulate`).

    Args:
        graph: The graph, float or quantized.
        feeds: Activations by name that the ops start from, float32, first dimension the batch.
        values: Real values that stand in for constants, by name (shape and layout of the constant).
        on_tensor: Called with the name and value of every activation that an op makes; its result takes
            the value's place. Feeds are given to it too.
        ops: The ops to run, in order; all by default.

    Returns:
        Activations by name, feeds included.

    Raises:
        UnsupportedError: An op that has no real-valued form here, or that mixes pictures of a batch.
    """
    env: dict[str, TensorLike] = {
        name: value if on_tensor is None else on_tensor(name, value) for name, value in feeds.items()
    }
    constants = dict(values or {})
    for op in graph.ops if ops is None else ops:
        kernel = _KERNELS.get(op.kind)
        if kernel is None:
            raise UnsupportedError(
                f"{op.kind} cannot be executed in TensorFlow (it makes {op.outputs[0]}); "
                f"the executor knows {', '.join(_KERNELS)}"
            )
        for name in op.inputs:
            if name is not None and name not in env and name not in constants:
                constants[name] = _constant(graph.tensors[name])
        arguments = [None if name is None else env.get(name, constants.get(name)) for name in op.inputs]
        result = _activated(kernel(op, arguments, graph), op)
        env[op.outputs[0]] = result if on_tensor is None else on_tensor(op.outputs[0], result)
    return env


def compiled(
    graph: Graph, outputs: Sequence[str] | None = None, *, on_tensor: OnTensor | None = None
) -> Callable[[NDArray[np.float32]], list[NDArray[Any]]]:
    """Builds a function from images (batch, height, width, channels) to some activations of the graph.

    Args:
        graph: A graph with one input.
        outputs: Names of what the function returns; the graph's outputs by default.
        on_tensor: See `execute`.
    """
    import tensorflow as tf

    names = tuple(graph.outputs if outputs is None else outputs)
    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(images: TensorLike) -> list[TensorLike]:
        env = execute(graph, {graph.inputs[0]: images}, on_tensor=on_tensor)
        return [env[name] for name in names]

    return lambda images: [value.numpy() for value in run(tf.constant(images))]


def predict(
    graph: Graph, images: NDArray[np.float32], *, on_tensor: OnTensor | None = None, batch: int = 32
) -> NDArray[np.float32]:
    """The first output of a graph for many images, computed in batches.

    Args:
        graph: A graph with one input.
        images: float32 (N, height, width, channels).
        on_tensor: See `execute`.
        batch: Images at a time.

    Returns:
        (N, …) as the graph's first output.
    """
    run = compiled(graph, graph.outputs[:1], on_tensor=on_tensor)
    return np.concatenate([run(images[start : start + batch])[0] for start in range(0, len(images), batch)])


def simulate(graph: Graph, *, without: frozenset[str] = frozenset()) -> OnTensor:
    """Rounds every quantized activation of an int8 or uint8 graph to its own steps; for `execute(on_tensor=…)`.

    Together with `execute` this is the integer model in real arithmetic (Jacob et al. 2018, eq. 1,
    arXiv:1712.05877): it differs from integer kernels only where a kernel's own rounding does.

    Args:
        graph: The quantized graph.
        without: Names of activations that stay real.
    """
    import tensorflow as tf

    limits = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}

    def on_tensor(name: str, value: TensorLike) -> TensorLike:
        tensor = graph.tensors[name]
        if tensor.quantization is None or tensor.dtype not in limits or name in without:
            return value
        scale, zero_point = tensor.quantization.broadcast(len(tensor.shape))
        low, high = limits[tensor.dtype]
        nudge = PIXEL_NUDGE if name in graph.inputs else 0.0
        steps = tf.floor(value / scale + (0.5 + nudge)) if nudge else tf.round(value / scale)
        steps = tf.clip_by_value(steps + zero_point.astype(np.float32), float(low), float(high))
        return (steps - zero_point.astype(np.float32)) * scale

    return on_tensor


def _constant(tensor: Tensor) -> Any:  # noqa: ANN401 - an array of any dtype
    assert tensor.data is not None, f"{tensor.name} is neither fed, made nor constant"
    if tensor.quantization is None and not tensor.dtype.startswith("float"):
        return tensor.data
    return tensor.real()


def _activated(value: TensorLike, op: Op) -> TensorLike:
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
    result = tf.nn.conv2d(inputs[0], kernel, _strides(op), op.options["padding"], dilations=dilations)
    return _biased(result, inputs, 2)


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


def _biased(value: TensorLike, inputs: list[TensorLike], index: int) -> TensorLike:
    return value if len(inputs) <= index or inputs[index] is None else value + inputs[index]


def _pool(function: str) -> Callable[[Op, list[TensorLike], Graph], TensorLike]:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        window = [op.options["filter_height"], op.options["filter_width"]]
        strides = [op.options["stride_h"], op.options["stride_w"]]
        # tf.nn.pool would refuse strides wider than the window, which TFLite takes.
        return getattr(tf.nn, function)(inputs[0], window, strides, op.options["padding"])

    return kernel


def _reduce(function: str) -> Callable[[Op, list[TensorLike], Graph], TensorLike]:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        axes = [int(axis) for axis in np.ravel(inputs[1])]
        return getattr(tf, function)(inputs[0], axes, keepdims=bool(op.options.get("keep_dims", False)))

    return kernel


def _elementwise(function: str) -> Callable[[Op, list[TensorLike], Graph], TensorLike]:
    def kernel(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
        import tensorflow as tf

        names = function.split(".")
        target = tf
        for name in names:
            target = getattr(target, name)
        return target(*inputs)

    return kernel


def _same(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    return inputs[0]


def _softmax(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.nn.softmax(inputs[0] * op.options.get("beta", 1.0))


def _hard_swish(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return inputs[0] * tf.clip_by_value(inputs[0] + 3.0, 0.0, 6.0) / 6.0


def _pad(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.pad(inputs[0], inputs[1])


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

    rank = len(graph.tensors[op.outputs[0]].shape)
    axis = op.options["axis"] % rank
    if axis == 0 and rank > 1:
        raise UnsupportedError(f"CONCATENATION of {op.outputs[0]} along the batch cannot be executed for a batch")
    batch = next(tf.shape(value)[0] for value in inputs if not isinstance(value, np.ndarray))
    parts = [tf.repeat(value, batch, 0) if isinstance(value, np.ndarray) else value for value in inputs]
    return tf.concat(parts, axis)


def _resize(function: str) -> Callable[[Op, list[TensorLike], Graph], TensorLike]:
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


_KERNELS: dict[str, Callable[[Op, list[TensorLike], Graph], TensorLike]] = {
    "ADD": _elementwise("add"),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "DIV": _elementwise("divide"),
    "EXP": _elementwise("exp"),
    "FULLY_CONNECTED": _fully_connected,
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _l2_normalization,
    "LOGISTIC": _elementwise("sigmoid"),
    "MAXIMUM": _elementwise("maximum"),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "MEAN": _reduce("reduce_mean"),
    "MINIMUM": _elementwise("minimum"),
    "MUL": _elementwise("multiply"),
    "PAD": _pad,
    "QUANTIZE": _same,
    "RELU": _elementwise("nn.relu"),
    "RELU6": _elementwise("nn.relu6"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "RSQRT": _elementwise("math.rsqrt"),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SQUARED_DIFFERENCE": _elementwise("math.squared_difference"),
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elementwise("subtract"),
    "SUM": _reduce("reduce_sum"),
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
}
