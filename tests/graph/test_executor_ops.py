"""Every op of the executor against LiteRT's reference kernels, float and int8: random shapes, values, scales."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mnedge.errors import UnsupportedError
from mnedge.graph.executor import compiled, execute, predict, simulate
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.graph.kernels import KERNELS

SAME_SCALE = (
    "AVERAGE_POOL_2D", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "MAXIMUM", "MINIMUM",
    "MIRROR_PAD", "PACK", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK",
)  # fmt: skip
FIXED = {
    "LOGISTIC": (1 / 256, -128),
    "SOFTMAX": (1 / 256, -128),
    "L2_NORMALIZATION": (1 / 128, 0),
    "TANH": (1 / 128, 0),
    "LOG_SOFTMAX": (16 / 256, 127),
}
# Ops that move or choose steps, and make none: nothing may differ.
MOVING = (*(kind for kind in SAME_SCALE if kind not in ("AVERAGE_POOL_2D", "RESIZE_BILINEAR")), "ARG_MAX")
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
FLOAT_KINDS = sorted(set(KERNELS) - {"QUANTIZE", "DEQUANTIZE"})
# LiteRT has no int8 kernels for these.
FLOAT_ONLY = {"CEIL", "COS", "FLOOR", "NEG", "ROUND", "SIN", "SQUARE"}
INT8_KINDS = sorted({*FLOAT_KINDS, "QUANTIZE"} - FLOAT_ONLY)
POSITIVE = ("LOG", "RSQRT", "SQRT")


@dataclass
class OneOp:
    """One op of random shape: its tensors, its activations from outside, and the op."""

    draw: Any
    kind: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def choice(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def maybe(self) -> bool:
        return bool(self.draw(st.booleans()))

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.number(0, 2**32))

    def activation(self, name: str, shape: tuple[int, ...]) -> str:
        self.tensors[name] = Tensor(name, shape, "float32")
        self.inputs.append(name)
        return name

    def picture(self) -> str:
        return self.activation("x", (1, self.number(1, 7), self.number(1, 7), self.number(1, 5)))

    def constant(self, name: str, data: Any) -> str:
        self.tensors[name] = constant(name, np.asarray(data))
        return name

    def make(self, inputs: tuple[str | None, ...], shape: tuple[int, ...], **options: Any) -> None:
        self.make_several(inputs, [shape], **options)

    def make_several(self, inputs: tuple[str | None, ...], shapes: list[tuple[int, ...]], **options: Any) -> None:
        """The op, its outputs y, y1, y2 and so on; the graph's output is the last of them."""
        names = tuple(f"y{place or ''}" for place in range(len(shapes)))
        dtype = "int64" if self.kind == "ARG_MAX" else "float32"
        self.tensors |= {name: Tensor(name, shape, dtype) for name, shape in zip(names, shapes, strict=True)}
        self.ops.append(Op(self.kind, inputs, names, options))

    def graph(self) -> Graph:
        graph = Graph(self.tensors, tuple(self.ops), tuple(self.inputs), self.ops[-1].outputs[-1:])
        graph.check()
        return graph


def _window(one: OneOp, shape: tuple[int, ...], kernel: tuple[int, int], dilation: int = 1) -> tuple[Any, Any]:
    """Options of a sliding window, and the rows and columns that it makes."""
    stride = (one.number(1, 3), one.number(1, 3)) if dilation == 1 else (1, 1)
    reach = [(taps - 1) * dilation + 1 for taps in kernel]
    fits = reach[0] <= shape[1] and reach[1] <= shape[2]
    padding = one.choice("SAME", "VALID") if fits else "SAME"
    extents = shape[1:3] if padding == "SAME" else [shape[1] - reach[0] + 1, shape[2] - reach[1] + 1]
    options = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1]}
    return options, tuple(-(-extent // step) for extent, step in zip(extents, stride, strict=True))


def _activation(one: OneOp) -> str:
    return str(one.choice("NONE", "RELU", "RELU6", "RELU_N1_TO_1"))


def _convolution(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    kernel, dilation = (one.number(1, 4), one.number(1, 4)), one.choice(1, 1, 2)
    depthwise = one.kind == "DEPTHWISE_CONV_2D"
    multiplicity = one.number(1, 2)
    made = x[3] * multiplicity if depthwise else one.number(1, 6)
    options, extents = _window(one, x, kernel, dilation)
    shape = (1, *kernel, made) if depthwise else (made, *kernel, x[3])
    options |= {"dilation_h_factor": dilation, "dilation_w_factor": dilation, "activation": _activation(one)}
    if depthwise:
        # LiteRT's depthwise kernels take one stride for both directions.
        options |= {"depth_multiplier": multiplicity, "stride_w": options["stride_h"]}
        columns = x[2] if options["padding"] == "SAME" else x[2] - (kernel[1] - 1) * dilation
        extents = (extents[0], -(-columns // options["stride_h"]))
    weights = one.constant("w", one.rng.normal(0, 0.4, shape).astype(np.float32))
    bias = one.constant("b", one.rng.normal(0, 0.4, made).astype(np.float32))
    one.make(("x", weights, bias), (1, *extents, made), **options)


def _transpose_convolution(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    kernel, made = (one.number(1, 3), one.number(1, 3)), one.number(1, 4)
    stride, padding = one.number(1, 2), one.choice("SAME", "VALID")
    grown = [extent * stride if padding == "SAME" else (extent - 1) * stride + taps
             for extent, taps in zip(x[1:3], kernel, strict=True)]  # fmt: skip
    weights = one.constant("w", one.rng.normal(0, 0.4, (made, *kernel, x[3])).astype(np.float32))
    shape = (1, *grown, made)
    inputs: tuple[str | None, ...] = (one.constant("shape", np.array(shape, np.int32)), weights, "x")
    if one.maybe():
        inputs = (*inputs, one.constant("b", one.rng.normal(0, 0.4, made).astype(np.float32)))
    one.make(inputs, shape, padding=padding, stride_h=stride, stride_w=stride)


def _fully_connected(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    rows = one.maybe()  # every pixel by itself, or the whole picture
    depth, made = x[3] if rows else int(np.prod(x)), one.number(1, 6)
    weights = one.constant("w", one.rng.normal(0, 0.4, (made, depth)).astype(np.float32))
    bias = one.constant("b", one.rng.normal(0, 0.4, made).astype(np.float32))
    shape = (*x[:3], made) if rows else (1, made)
    one.make(("x", weights, bias), shape, activation=_activation(one), keep_num_dims=rows)


def _two(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    positive = one.kind == "DIV"
    other = one.choice("activation", "gate", "scalar", "channels")
    if other in ("activation", "gate"):
        one.activation("z", x if other == "activation" else (1, 1, 1, x[3]))
    else:
        values = one.rng.normal(0, 2.0, () if other == "scalar" else (x[3],)).astype(np.float32)
        one.constant("z", np.abs(values) + np.float32(0.5) if positive else values)
    inputs = ("x", "z")
    if not positive and other != "scalar" and one.maybe():
        inputs = ("z", "x")
    options = {} if one.kind in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE") else {"activation": _activation(one)}
    one.make(inputs, x, **options)


def _pool(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    kernel = (one.number(1, 3), one.number(1, 3))
    options, extents = _window(one, x, kernel)
    options |= {"filter_height": kernel[0], "filter_width": kernel[1], "activation": _activation(one)}
    one.make(("x",), (1, *extents, x[3]), **options)


def _reduce(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    axes, keep = one.choice((1, 2), (1,), (3,), (1, 2, 3)), one.maybe()
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(x))
    shape = kept if keep else tuple(extent for axis, extent in enumerate(x) if axis not in axes)
    one.make(("x", one.constant("axes", np.array(axes, np.int32))), shape, keep_dims=keep)


def _unary(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    options = {"SOFTMAX": {"beta": one.choice(1.0, 0.5)}, "LEAKY_RELU": {"alpha": one.choice(0.3, 0.01)},
               "GELU": {"approximate": one.maybe()}}  # fmt: skip
    one.make(("x",), x, **options.get(one.kind, {}))


def _batch_matmul(one: OneOp) -> None:
    rows, depth, columns = one.number(1, 5), one.number(1, 6), one.number(1, 5)
    heads = (1, one.number(1, 3)) if one.maybe() else (1,)
    turned = one.maybe(), one.maybe()
    one.activation("x", (*heads, depth, rows) if turned[0] else (*heads, rows, depth))
    one.activation("z", (*heads, columns, depth) if turned[1] else (*heads, depth, columns))
    one.make(("x", "z"), (*heads, rows, columns), adj_x=turned[0], adj_y=turned[1])


def _prelu(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    slopes = one.rng.uniform(-0.2, 0.6, one.choice((1, 1, x[3]), (x[3],), (1, 1, 1)))
    one.make(("x", one.constant("z", slopes.astype(np.float32))), x)


def _expand_dims(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    axis = one.number(1, 4)
    given = one.choice(axis, axis - 5)
    one.make(("x", one.constant("axis", np.array(given, np.int32))), (*x[:axis], 1, *x[axis:]))


def _gather(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    axis = one.number(1, 3)
    places = one.rng.integers(0, x[axis], one.number(1, 6)).astype(np.int32)
    shape = (*x[:axis], len(places), *x[axis + 1 :])
    one.make(("x", one.constant("places", places)), shape, axis=one.choice(axis, axis - 4))


def _pack(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    if one.maybe():
        one.activation("z", x)
    else:
        one.constant("z", one.rng.normal(0, 1, x).astype(np.float32))
    axis = one.number(1, 4)
    given = one.choice(axis, axis - 5)
    one.make(("x", "z"), (*x[:axis], 2, *x[axis:]), axis=given, values_count=2)


def _unpack(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    axis = one.number(1, 3)
    made = (*x[:axis], *x[axis + 1 :])
    one.make_several(("x",), [made] * x[axis], axis=one.choice(axis, axis - 4), num=x[axis])


def _split(one: OneOp) -> None:
    count, axis = one.number(1, 3), one.number(1, 3)
    shape = [1, one.number(1, 5), one.number(1, 5), one.number(1, 5)]
    shape[axis] *= count
    one.activation("x", tuple(shape))
    sizes = [shape[axis] // count] * count
    place = one.constant("axis", np.array(one.choice(axis, axis - 4), np.int32))
    inputs: tuple[str, ...] = (place, "x")
    if one.kind == "SPLIT_V":
        sizes = [1, *sizes[1:], sizes[0] - 1] if sizes[0] > 1 else sizes
        inputs = ("x", one.constant("sizes", np.array([*sizes[:-1], -1], np.int32)), place)
    shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    one.make_several(inputs, shapes, num_splits=len(sizes))


def _blocks(one: OneOp) -> None:
    block, rows, columns, depth = one.number(2, 3), one.number(1, 4), one.number(1, 4), one.number(1, 4)
    wide, deep = (1, rows * block, columns * block, depth), (1, rows, columns, depth * block * block)
    x, made = (deep, wide) if one.kind == "DEPTH_TO_SPACE" else (wide, deep)
    one.activation("x", x)
    one.make(("x",), made, block_size=block)


def _mirror_pad(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    mode = one.number(0, 1)
    widest = [min(extent - 1 + mode, 2) for extent in x[1:3]]
    widths = [(0, 0), *((one.number(0, most), one.number(0, most)) for most in widest), (0, 0)]
    name = one.constant("widths", np.array(widths, np.int32))
    one.make(("x", name), tuple(int(n) for n in np.array(x) + np.array(widths).sum(1)), mode=mode)


def _arg_max(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    one.make(("x", one.constant("axis", np.array(3, np.int32))), x[:3], output_type=4)


def _pad(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    widths = np.array([(0, 0), *((one.number(0, 2), one.number(0, 2)) for _ in range(3))], np.int32)
    one.make(("x", one.constant("widths", widths)), tuple(int(n) for n in np.array(x) + widths.sum(1)))


def _reshape(one: OneOp) -> None:
    _, rows, columns, depth = one.tensors[one.picture()].shape
    shape = one.choice((1, rows * columns * depth), (1, rows * columns, depth), (1, 1, rows, columns * depth))
    one.make(("x", one.constant("shape", np.array(shape, np.int32))), shape, new_shape=shape)


def _squeeze(one: OneOp) -> None:
    shape = (1, 1, one.number(1, 5), one.number(1, 5))
    one.activation("x", shape)
    one.make(("x",), (1, *shape[2:]), squeeze_dims=(1,))


def _concatenation(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    axis = one.number(1, 3)
    other = tuple(one.number(1, 4) if place == axis else extent for place, extent in enumerate(x))
    if one.maybe():
        one.activation("z", other)
    else:
        one.constant("z", one.rng.normal(0, 1, other).astype(np.float32))
    shape = tuple(extent + other[axis] if place == axis else extent for place, extent in enumerate(x))
    one.make(("x", "z"), shape, axis=one.choice(axis, axis - 4), activation="NONE")


def _resize(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    size = np.array([one.number(1, 9), one.number(1, 9)], np.int32)
    corners, centres = one.choice((False, False), (True, False), (False, True))
    shape = (1, int(size[0]), int(size[1]), x[3])
    one.make(("x", one.constant("size", size)), shape, align_corners=corners, half_pixel_centers=centres)


def _slice(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    begin = [0, *(one.number(0, extent - 1) for extent in x[1:])]
    size = [1, *(one.number(1, extent - start) for extent, start in zip(x[1:], begin[1:], strict=True))]
    names = one.constant("begin", np.array(begin, np.int32)), one.constant("size", np.array(size, np.int32))
    one.make(("x", *names), tuple(size))


def _strided_slice(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    begin = [0, *(one.number(0, extent - 1) for extent in x[1:])]
    strides = [1, *(one.number(1, 2) for _ in range(3))]
    end_mask = one.choice(0, 2, 4)
    end = [1, *(one.number(start + 1, extent) for extent, start in zip(x[1:], begin[1:], strict=True))]
    reached = [extent if end_mask & (1 << place) else end[place] for place, extent in enumerate(x)]
    shape = [-(-(stop - start) // step) for start, stop, step in zip(begin, reached, strides, strict=True)]
    names = [one.constant(name, np.array(value, np.int32))
             for name, value in (("begin", begin), ("end", end), ("strides", strides))]  # fmt: skip
    shrink = one.choice(0, 2) if shape[1] == 1 else 0
    made = tuple(extent for place, extent in enumerate(shape) if not shrink & (1 << place))
    one.make(("x", *names), made, begin_mask=0, end_mask=end_mask, shrink_axis_mask=shrink)


def _tile(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    times = np.array([1, *(one.number(1, 2) for _ in range(3))], np.int32)
    one.make(("x", one.constant("times", times)), tuple(int(n) for n in np.array(x) * times))


def _transpose(one: OneOp) -> None:
    x = one.tensors[one.picture()].shape
    order = (0, *one.draw(st.permutations([1, 2, 3])))
    one.make(("x", one.constant("order", np.array(order, np.int32))), tuple(x[axis] for axis in order))


MAKERS = {
    "ARG_MAX": _arg_max, "AVERAGE_POOL_2D": _pool, "CONCATENATION": _concatenation, "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution, "FULLY_CONNECTED": _fully_connected, "MAX_POOL_2D": _pool, "MEAN": _reduce,
    "PAD": _pad, "RESHAPE": _reshape, "RESIZE_BILINEAR": _resize, "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice, "SQUEEZE": _squeeze, "STRIDED_SLICE": _strided_slice, "SUM": _reduce, "TILE": _tile,
    "TRANSPOSE": _transpose, "TRANSPOSE_CONV": _transpose_convolution,
    "BATCH_MATMUL": _batch_matmul,
    "DEPTH_TO_SPACE": _blocks, "EXPAND_DIMS": _expand_dims, "GATHER": _gather, "MIRROR_PAD": _mirror_pad,
    "PACK": _pack, "PRELU": _prelu, "REDUCE_MAX": _reduce, "REDUCE_MIN": _reduce, "SPACE_TO_DEPTH": _blocks,
    "SPLIT": _split, "SPLIT_V": _split, "UNPACK": _unpack,
    **dict.fromkeys(("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"), _two),
    **dict.fromkeys(("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "L2_NORMALIZATION",
                     "LEAKY_RELU", "LOG", "LOG_SOFTMAX", "LOGISTIC", "NEG", "QUANTIZE", "RELU", "RELU6",
                     "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SOFTMAX", "SQRT", "SQUARE", "TANH"), _unary),
}  # fmt: skip


def tensors(feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.constant(value) for name, value in feeds.items()}


@st.composite
def float_ops(draw: Any, kind: str) -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph of one float op and a batch of feeds."""
    one = OneOp(draw, kind)
    MAKERS[kind](one)
    batch = one.number(1, 3)
    feeds = {}
    for name in one.inputs:
        values = one.rng.normal(0, 3.0, (batch, *one.tensors[name].shape[1:])).astype(np.float32)
        strictly_positive = kind in POSITIVE or (kind == "DIV" and name == "z")
        feeds[name] = np.abs(values) + np.float32(0.1) if strictly_positive else values
    return one.graph(), feeds


@st.composite
def int8_ops(draw: Any, kind: str) -> tuple[Graph, dict[str, np.ndarray]]:
    """The same op on int8, its scales and zero points random where the op leaves them free."""
    graph, real = draw(float_ops(kind))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def drawn(low: float, high: float) -> Quantization:
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return Quantization.per_tensor(scale, int(rng.integers(-128, 128)))

    first = drawn(0.008, 0.05)
    if kind in POSITIVE:
        first = Quantization.per_tensor(float(first.scale[0]), -128)
    shared = kind in SAME_SCALE
    made = {name: replace(graph.tensors[name], dtype="int8", quantization=first if name == "x" or shared
                          else drawn(0.008, 0.05)) for name in graph.inputs}  # fmt: skip
    steps = {name: made[name].quantization.quantize(value, "int8") for name, value in real.items()}
    if kind in POSITIVE:
        steps = {name: np.maximum(value, -127) for name, value in steps.items()}
    for name in set(graph.tensors) & {"w", "z"} - set(graph.inputs):
        values = graph.tensors[name].real()
        if name == "z":
            quantization = first if shared else Quantization.per_tensor(max(float(np.abs(values).max()), 0.1) / 100, 5)
        elif rng.random() < 0.3 or kind == "FULLY_CONNECTED":
            quantization = Quantization.per_tensor(float(np.abs(values).max()) / 127, 0)
        else:
            axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
            largest = np.abs(values).max(axis=tuple(dim for dim in range(4) if dim != axis))
            quantization = Quantization.per_channel((largest * rng.uniform(0.7, 1.5) / 127).astype(np.float32), axis)
        made[name] = constant(name, quantization.quantize(values, "int8"), quantization)
    if "b" in graph.tensors:
        weights = made["w"].quantization
        assert weights is not None
        scales = (weights.scale * first.scale[0]).astype(np.float32)
        quantization = Quantization(scales, np.zeros(scales.shape, np.int64), 0 if scales.size > 1 else None)
        made["b"] = constant("b", quantization.quantize(graph.tensors["b"].real(), "int32"), quantization)
    if kind != "ARG_MAX":
        values = np.asarray(execute(graph, tensors(real))[graph.outputs[0]])
        free = Quantization.per_tensor(max(float(np.abs(values).max()), 0.05) / rng.uniform(60, 250),
                                       int(rng.integers(-128, 128)))  # fmt: skip
        output = first if shared else Quantization.per_tensor(*FIXED[kind]) if kind in FIXED else free
        made |= {name: replace(graph.tensors[name], dtype="int8", quantization=output) for name in graph.ops[0].outputs}
    return graph.replaced(tensors=made.values()), steps


def examples(request: pytest.FixtureRequest) -> settings:
    return settings(
        max_examples=max(request.config.getoption("--fuzz") // 40, 3), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip


@pytest.mark.parametrize("kind", FLOAT_KINDS)
def test_float_ops_are_those_of_litert(kind: str, judge: Any, request: pytest.FixtureRequest) -> None:
    @examples(request)
    @given(float_ops(kind))
    def check(drawn: tuple[Graph, dict[str, np.ndarray]]) -> None:
        graph, feeds = drawn
        expected = judge(graph, feeds)
        made = np.asarray(execute(graph, tensors(feeds))[graph.outputs[0]])
        assert made.shape == expected.shape
        np.testing.assert_allclose(made, expected, rtol=2e-5, atol=2e-5 * max(1.0, np.abs(expected).max()))

    check()


@pytest.mark.parametrize("kind", INT8_KINDS)
def test_simulated_int8_ops_are_within_a_step_of_litert(kind: str, judge: Any, request: pytest.FixtureRequest) -> None:
    """`simulate` leaves the kernels their own rounding: at most one step, and none where nothing is computed."""

    @examples(request)
    @given(int8_ops(kind))
    def check(drawn: tuple[Graph, dict[str, np.ndarray]]) -> None:
        graph, steps = drawn
        expected = judge(graph, steps).astype(np.int64)
        real = {name: graph.tensors[name].quantization.dequantize(value) for name, value in steps.items()}  # type: ignore[union-attr]
        made = np.asarray(execute(graph, tensors(real), on_tensor=simulate(graph))[graph.outputs[0]])
        assert made.shape == expected.shape
        output = graph.tensors[graph.outputs[0]].quantization
        simulated = made if output is None else output.quantize(made, "int8").astype(np.int64)
        assert np.abs(simulated - expected).max() <= (0 if kind in MOVING else 1)

    check()


def test_every_kernel_is_tested() -> None:
    assert set(KERNELS) == {*MAKERS, "DEQUANTIZE"}


def test_an_absent_bias_adds_nothing(judge: Any) -> None:
    one = OneOp(None, "FULLY_CONNECTED")
    one.activation("x", (1, 3))
    weights = one.constant("w", np.arange(6, dtype=np.float32).reshape(2, 3))
    one.make(("x", weights, None), (1, 2), activation="NONE")
    feeds = {"x": np.ones((2, 3), np.float32)}
    assert np.array_equal(execute(one.graph(), feeds)["y"], judge(one.graph(), feeds))


def network() -> Graph:
    """A convolution and what often follows it, in float."""
    rng = np.random.default_rng(1)
    one = OneOp(None, "CONV_2D")
    one.activation("x", (1, 5, 5, 2))
    weights = one.constant("w", rng.normal(0, 0.5, (3, 3, 3, 2)).astype(np.float32))
    bias = one.constant("b", rng.normal(0, 0.5, 3).astype(np.float32))
    one.tensors["c"] = Tensor("c", (1, 5, 5, 3), "float32")
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "RELU6"}
    one.ops.append(Op("CONV_2D", ("x", weights, bias), ("c",), options))
    one.kind = "MEAN"
    one.make(("c", one.constant("axes", np.array([1, 2], np.int32))), (1, 3), keep_dims=False)
    return one.graph()


def test_predict_gives_the_same_for_every_batch_size() -> None:
    graph = network()
    images = np.random.default_rng(2).normal(0, 1, (7, 5, 5, 2)).astype(np.float32)
    whole = predict(graph, images)
    assert whole.shape == (7, 3)
    np.testing.assert_allclose(predict(graph, images, batch=3), whole, rtol=1e-6, atol=1e-7)
    first, second = compiled(graph, ("c", "y"))(images)
    assert first.shape == (7, 5, 5, 3)
    np.testing.assert_allclose(second, first.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_values_stand_in_for_constants_and_carry_gradients() -> None:
    import tensorflow as tf

    graph = network()
    images = np.random.default_rng(2).normal(0, 1, (2, 5, 5, 2)).astype(np.float32)
    bias = tf.Variable(np.full(3, 0.5, np.float32))
    with tf.GradientTape() as tape:
        made = execute(graph, {"x": images}, values={"b": bias})
        total = tf.reduce_sum(made["y"])
    replaced = graph.replaced(tensors=[constant("b", bias.numpy())])
    np.testing.assert_array_equal(made["y"], execute(replaced, {"x": images})["y"])
    active = (made["c"].numpy() > 0) & (made["c"].numpy() < 6)
    np.testing.assert_allclose(tape.gradient(total, bias), active.mean((1, 2)).sum(0), rtol=1e-5)


def test_hooks_see_every_activation_and_may_change_it() -> None:
    graph = network()
    images = np.random.default_rng(2).normal(0, 1, (2, 5, 5, 2)).astype(np.float32)
    seen: list[str] = []

    def on_tensor(name: str, value: Any) -> Any:
        seen.append(name)
        return value * 2 if name == "c" else value

    made = execute(graph, {"x": images}, on_tensor=on_tensor)
    plain = execute(graph, {"x": images})
    assert seen == ["x", "c", "y"]
    np.testing.assert_allclose(made["y"], 2 * plain["y"].numpy(), rtol=1e-6)


def test_some_ops_can_be_run_alone() -> None:
    graph = network()
    values = np.random.default_rng(2).normal(0, 1, (2, 5, 5, 3)).astype(np.float32)
    made = execute(graph, {"c": values}, ops=graph.ops[1:])
    assert set(made) == {"c", "y"}


def test_simulate_rounds_all_but_the_named() -> None:
    graph = network()
    int8 = graph.replaced(tensors=[
        replace(graph.tensors[name], dtype="int8", quantization=Quantization.per_tensor(0.5, 3)) for name in "xcy"
    ])  # fmt: skip
    images = np.random.default_rng(2).normal(0, 3, (2, 5, 5, 2)).astype(np.float32)
    made = execute(int8, {"x": images}, on_tensor=simulate(int8, without=frozenset("c")))
    off_grid = {name: float(np.abs(value.numpy() * 2 % 1).max()) for name, value in made.items()}
    assert off_grid["x"] == off_grid["y"] == 0.0
    assert off_grid["c"] > 0


def test_every_pixel_keeps_a_step_of_its_own() -> None:
    """p / 127.5 - 1 lies halfway between two steps of 1 / 127.5; rounding to even would merge neighbours."""
    x = Tensor("x", (1, 1, 256, 1), "int8", Quantization.per_tensor(1 / 127.5, -1))
    graph = Graph({"x": x, "y": replace(x, name="y")}, (Op("RESHAPE", ("x",), ("y",)),), ("x",), ("y",))
    pixels = (np.arange(256, dtype=np.float32) / np.float32(127.5) - 1).reshape(1, 1, 256, 1)
    made = np.asarray(execute(graph, {"x": pixels}, on_tensor=simulate(graph))["x"])
    assert x.quantization is not None
    assert x.quantization.quantize(made, "int8").ravel().tolist() == list(range(-128, 128))


def _one_op(kind: str, shape: tuple[int, ...], made: tuple[int, ...], *constants: Any, **options: Any) -> Graph:
    tensors = {"x": Tensor("x", shape, "float32"), "y": Tensor("y", made, "float32")}
    tensors |= {f"c{number}": constant(f"c{number}", np.asarray(value)) for number, value in enumerate(constants)}
    return Graph(tensors, (Op(kind, tuple(name for name in tensors if name != "y"), ("y",), options),), ("x",), ("y",))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (_one_op("CUMSUM", (1, 4), (1, 4), np.array(1)), "CUMSUM cannot be executed in TensorFlow .it makes y."),
        (_one_op("PACK", (1, 4), (2, 1, 4), np.ones((1, 4), np.float32), axis=0), "works along the batch"),
        (_one_op("UNPACK", (1, 4), (4,), axis=0), "works along the batch"),
        (_one_op("GATHER", (1, 4), (1, 4), np.zeros(1, np.int32), axis=-2), "works along the batch"),
        (_one_op("REDUCE_MAX", (1, 4), (4,), np.zeros(1, np.int32)), "works along the batch"),
        (_one_op("RESHAPE", (1, 4, 2), (4, 2), np.array([4, 2], np.int32)), "pictures of a batch would be mixed"),
        (_one_op("TRANSPOSE", (1, 4), (4, 1), np.array([1, 0], np.int32)), "moves the batch dimension"),
        (_one_op("TILE", (1, 4), (2, 4), np.array([2, 1], np.int32)), "repeats the batch dimension"),
        (_one_op("CONCATENATION", (1, 4), (2, 4), np.ones((1, 4), np.float32), axis=0), "along the batch"),
        (_one_op("ADD", (1, 4), (1, 4), np.ones(4, np.float32), activation="TANH"), "fused activation TANH"),
        (
            _one_op("STRIDED_SLICE", (1, 4), (4,), *np.array([[0, 0], [1, 4], [1, 1]], np.int32), shrink_axis_mask=1),
            "changes the batch dimension",
        ),
    ],
)
def test_what_mixes_pictures_or_is_unknown_says_so(graph: Graph, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        execute(graph, {"x": np.ones(graph.tensors["x"].shape, np.float32)})


@pytest.mark.parametrize("pictures", [3, 5])
def test_a_row_of_each_picture_meets_its_own_picture(pictures: int) -> None:
    """As many pictures as the maps have columns would broadcast along the columns."""
    shapes = {"x": (1, 4, 5, 3), "m": (1, 3), "y": (1, 4, 5, 3)}
    graph = Graph(
        {
            **{name: Tensor(name, shape, "float32") for name, shape in shapes.items()},
            "a": constant("a", np.array([1, 2], np.int32)),
        },
        (Op("MEAN", ("x", "a"), ("m",), {"keep_dims": False}), Op("MUL", ("x", "m"), ("y",), {"activation": "NONE"})),
        ("x",),
        ("y",),
    )  # fmt: skip
    values = np.random.default_rng(0).normal(0, 1, (pictures, 4, 5, 3)).astype(np.float32)
    found = predict(graph, values)
    np.testing.assert_allclose(found, values * values.mean((1, 2))[:, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("padding", "strides", "dilations", "depth"),
    [
        ("SAME", (1, 1), (2, 2), 4),
        ("VALID", (2, 1), (1, 3), 4),
        ("SAME", (1, 1), (3, 2), 2),
        ("SAME", (2, 2), (1, 1), 2),
    ],
)
def test_dilated_and_grouped_convolutions_have_their_gradient(
    padding: str, strides: tuple[int, int], dilations: tuple[int, int], depth: int
) -> None:
    """Held against kernels with holes, a group at a time: TensorFlow itself has no such gradients on CPUs."""
    import tensorflow as tf

    rng = np.random.default_rng(5)
    image = tf.constant(rng.normal(size=(2, 11, 12, 4)).astype(np.float32))
    weights = tf.constant(rng.normal(size=(6, 3, 3, depth)).astype(np.float32))
    op = Op("CONV_2D", ("x", "w", "b"), ("y",), {
        "padding": padding, "stride_h": strides[0], "stride_w": strides[1], "dilation_h_factor": dilations[0],
        "dilation_w_factor": dilations[1], "activation": "NONE",
    })  # fmt: skip

    def with_holes(image: Any, weights: Any) -> Any:
        taps = [[row * dilations[0], column * dilations[1]] for row in range(3) for column in range(3)]
        kernel = tf.reshape(tf.transpose(weights, (1, 2, 3, 0)), (9, depth, 6))
        whole = tf.scatter_nd(taps, kernel, (2 * dilations[0] + 1, 2 * dilations[1] + 1, depth, 6))
        parts = zip(tf.split(image, 4 // depth, 3), tf.split(whole, 4 // depth, 3), strict=True)
        return tf.concat([tf.nn.conv2d(seen, part, [1, *strides, 1], padding) for seen, part in parts], 3)

    def own(image: Any, weights: Any) -> Any:
        return KERNELS["CONV_2D"](op, [image, weights, np.zeros(6, np.float32)], Graph({}, (), (), ()))

    found = []
    for convolve in (tf.function(own), with_holes):
        with tf.GradientTape() as tape:
            tape.watch([image, weights])
            made = convolve(image, weights)
            told = tf.reduce_sum(tf.sin(made))
        found.append([made, *tape.gradient(told, [image, weights])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
