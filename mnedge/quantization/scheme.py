"""Quantization scheme: the dtype of every activation, and the scales and ranges that their ops prescribe."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.batch import batch_of, is_real
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import PIXEL_NUDGE
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant, fresh_name
from mnedge.graph.kernels import KERNELS
from mnedge.graph.ops import LAYERS, bias_of, info, weights_of
from mnedge.pixels import CHANNELS
from mnedge.quantization.honesty import named_ops, way_out
from mnedge.quantization.intervals import INFINITE, Interval, hull, made_interval, read_interval
from mnedge.quantization.wide import activations_around, widened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.choices import Granularity
    from mnedge.pixels import Pixels


# The ops that are brought to int8.
INT8_KINDS = frozenset((
    "ABS", "ADD", "ARG_MAX", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EXP", "EXPAND_DIMS", "FULLY_CONNECTED", "GATHER", "GELU",
    "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOG", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D",
    "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU",
    "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX",
    "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM",
    "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
))  # fmt: skip
_PICTURE_RANK = 4

# Weights are symmetric: the lowest step is not used.
MOST_STEPS, MOST_STEPS_OF_4_BITS = 127, 7
# Steps of an activation.
Steps = Literal["int8", "int16"]


@dataclass(frozen=True)
class Layer:
    """An op with weights.

    Attributes:
        op: The op.
        weights: Name of its weights.
        bias: Name of its bias.
        data: Name of the activation that it reads.
        output: Name of the activation that it makes.
        axis: Channel axis of the weights.
    """

    op: Op
    weights: str
    bias: str
    data: str
    output: str
    axis: int


@dataclass(frozen=True)
class Scheme:
    """A float graph with the constraints that int8 puts on it.

    Attributes:
        graph: The float graph in which every layer has weights and a bias of its own.
        group: The group of every activation (and activation-like constant) that becomes int8; the members of
            a group share scale and zero point.
        fixed: Quantization of the groups whose range the op's meaning fixes.
        bounds: Interval of each group outside which values cannot occur or do not matter.
        layers: Ops with weights, in order of execution.
        granularity: Granularity of the weight scales.
        float_kinds: Op kinds that stay float.
        wide: The groups in int16; all others are int8.
        int4: Outputs of the layers whose weights have 4 bits; all others have 8.
    """

    graph: Graph
    group: Mapping[str, str]
    fixed: Mapping[str, Quantization]
    bounds: Mapping[str, Interval]
    layers: tuple[Layer, ...]
    granularity: Granularity
    float_kinds: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    int4: frozenset[str] = frozenset()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups in the order in which the graph makes them."""
        return tuple(dict.fromkeys(self.group.values()))

    @property
    def free_groups(self) -> tuple[str, ...]:
        """The groups whose range is to be chosen."""
        return tuple(name for name in self.groups if name not in self.fixed)

    def dtype(self, name: str) -> Steps:
        """The dtype that an activation becomes."""
        return "int16" if self.group[name] in self.wide else "int8"

    def most_steps(self, layer: Layer) -> int:
        """The largest weight of a layer, in steps to either side of 0."""
        return MOST_STEPS_OF_4_BITS if layer.output in self.int4 else MOST_STEPS

    def is_float(self, op: Op) -> bool:
        """Returns whether an op stays float."""
        return op.kind in self.float_kinds


def scheme_of(
    graph: Graph,
    images: Samples,
    granularity: Granularity = "per-channel",
    allow_float: frozenset[str] = frozenset(),
    pixels: Pixels | None = None,
    wide: frozenset[str] = frozenset(),
    int4: frozenset[str] = frozenset(),
) -> Scheme:
    """Works out what int8 asks of a float graph.

    The ops in int16 (16x8) have QUANTIZE between them and those in int8; the graph's ends are int8 in any case.

    Args:
        graph: Float graph.
        images: float32 (N, H, W, C) as the graph wants them, or a `Batch`.
        granularity: Granularity of the weight scales.
        allow_float: Op kinds that may stay float.
        pixels: Pixels of the graph, which fixes the scale of the inputs that are pictures; None where none
            is. The interval of their samples fixes that of the others.
        wide: Outputs of the ops in int16; see `int16_ops`.
        int4: Outputs of the layers whose weights have 4 bits; see `int4_layers`.

    Raises:
        UnsupportedError: An op has no int8 form and is not allowed to stay float, or the graph is not float.
    """
    check_float(graph, allow_float)
    wide -= {op.outputs[0] for op in graph.ops if op.kind in allow_float}
    graph, in_16 = widened(with_own_constants(graph), wide)
    graph = _with_requantization(graph, allow_float)
    inputs = _input_quantizations(graph, images, pixels)
    group, fixed = _groups(graph, inputs, allow_float, in_16)
    wide_groups = frozenset(group[name] for name in in_16 if name in group)
    layers = layers_of(graph, allow_float)
    return Scheme(graph, group, fixed, _bounds(graph, group), layers, granularity, allow_float, wide_groups, int4)


def check_float(graph: Graph, allow_float: frozenset[str] = frozenset()) -> None:
    """Makes sure that a graph is float and that its ops have an int8 form.

    Raises:
        UnsupportedError: An op has no int8 form and is not allowed to stay float, or the graph is not float.
    """
    loose = next((tensor for tensor in graph.tensors.values() if tensor.is_open), None)
    if loose is not None:
        shape = " x ".join("?" if extent < 0 else str(extent) for extent in loose.open_shape)
        raise UnsupportedError(
            f"tensor {loose.name} has the open shape {shape}, which int8 cannot be calibrated for; "
            "give --size HEIGHTxWIDTH, or export the model with fixed shapes"
        )
    missing = [op for op in graph.ops if op.kind not in INT8_KINDS and op.kind not in allow_float]
    if missing:
        raise UnsupportedError(f"no int8 form of {named_ops(missing)}; {way_out(missing)}")
    stuck = [op for op in graph.ops if op.kind in allow_float and op.kind not in KERNELS]
    if stuck:
        raise UnsupportedError(f"mnedge cannot execute {named_ops(stuck)}, in float either; {way_out(stuck)}")
    computed = next((op for op in graph.ops if op.kind not in allow_float and _computes_bias(graph, op)), None)
    if computed is not None:
        raise UnsupportedError(
            f"the {computed.kind} that makes {computed.outputs[0]} reads a bias that is computed, {bias_of(computed)}; "
            "a constant bias is allowed"
        )
    quantized = next((tensor for tensor in graph.tensors.values() if tensor.quantization is not None), None)
    if quantized is not None:
        raise UnsupportedError(f"tensor {quantized.name} is quantized already; give the float model")


def _computes_bias(graph: Graph, op: Op) -> bool:
    weights, bias = weights_of(op), bias_of(op)
    return bias is not None and graph.tensors[str(weights)].is_constant and not graph.tensors[bias].is_constant


def _input_quantizations(graph: Graph, images: Samples, pixels: Pixels | None) -> dict[str, Quantization]:
    """Quantization of every input of real numbers; of several, those with the shape of a picture are pictures."""
    found = {}
    for name, values in batch_of(graph.inputs, images).arrays.items():
        tensor = graph.tensors[name]
        is_picture = len(graph.inputs) == 1 or (pixels is not None and is_picture_of(pixels, tensor.shape))
        if is_real(tensor):
            found[name] = input_quantization(values, pixels if is_picture else None)
    return found


def is_picture_of(pixels: Pixels, shape: tuple[int, ...]) -> bool:
    """Returns whether an input of a shape, batch first, takes pictures of such channels."""
    return len(shape) == _PICTURE_RANK and shape[3] == CHANNELS[pixels.order]


def input_quantization(images: NDArray[np.float32], pixels: Pixels | None) -> Quantization:
    """Quantization of the input: the steps are 8-bit pixels minus 128 wherever one affine map serves all channels.

    A pixel p is s p + o to the network, and real 0, which padding adds, must be a whole step. With the zero point
    z = -128 - floor(o / s + 1/2), p is nearest to the step p - 128, whatever o / s is: o / s moves all pixels by the
    same fraction of a step, at most half, and the biases of the first layer are fitted to that. Where 0 lies outside
    of what pixels can be, or channels have maps of their own, the range is that of all pixels, with 0.

    Args:
        images: float32, what calibrates; their range counts where they are no pictures.
        pixels: Pixels of the network; None for an input that is no picture.
    """
    if pixels is None:
        return range_quantization(float(images.min()), float(images.max()))
    if pixels.is_per_tensor:
        zero_point = -128 - math.floor(pixels.offset[0] / pixels.scale[0] + 0.5 + PIXEL_NUDGE)
        if -128 <= zero_point <= 127:
            return Quantization.per_tensor(pixels.scale[0], zero_point)
    ends = pixels.real(np.repeat(np.array([[0], [255]], np.uint8), CHANNELS[pixels.order], axis=1))
    return range_quantization(float(ends.min()), float(ends.max()))


def range_quantization(low: float, high: float) -> Quantization:
    """The int8 quantization of an interval, widened to hold 0 and shifted so that 0 is a step.

    Jacob et al. 2018, section 3.1, arXiv:1712.05877.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-12)
    zero_point = int(np.clip(np.round(-128 - low / scale), -128, 127))
    return Quantization.per_tensor(scale, zero_point)


def symmetric_quantization(low: float, high: float) -> Quantization:
    """The int16 quantization of an interval: the zero point is 0, as 16x8 kernels take it."""
    return Quantization.per_tensor(max(-low, high, 1e-12) / 32767, 0)


def with_own_constants(graph: Graph) -> Graph:
    """Gives every layer weights and a bias that no other op reads; a missing bias becomes zeros."""
    seen: set[str] = set()
    added: dict[str, Tensor] = {}

    def own(name: str, values: NDArray[np.float32]) -> str:
        fresh = fresh_name(name, seen)
        seen.add(fresh)
        added[fresh] = constant(fresh, values)
        return fresh

    ops = []
    for op in graph.ops:
        row = LAYERS.get(op.kind)
        if row is None or not graph.tensors[str(op.inputs[row.weights])].is_constant:
            ops.append(op)
            continue
        inputs = [*op.inputs, *(None,) * (row.bias + 1 - len(op.inputs))]
        weights = graph.tensors[str(inputs[row.weights])]
        inputs[row.weights] = own(weights.name, weights.real())
        bias = inputs[row.bias]
        values = np.zeros(weights.shape[row.channel_axis], np.float32) if bias is None else graph.tensors[bias].real()
        # Some files have a bias of shape (1, channels).
        inputs[row.bias] = own(f"{op.outputs[0]}/bias" if bias is None else bias, values.reshape(-1))
        ops.append(replace(op, inputs=tuple(inputs)))
    return graph.replaced(tensors=added.values(), ops=ops)


def _with_requantization(graph: Graph, allow_float: frozenset[str]) -> Graph:
    """Puts QUANTIZE between a tensor whose scale is fixed and an op that joins it with others."""
    producers = graph.producers()
    ops: list[Op] = []
    tensors: list[Tensor] = []
    for op in graph.ops:
        inputs = list(op.inputs)
        if info(op).shared_scale == "all" and op.kind in INT8_KINDS and op.kind not in allow_float:
            scales = [_settled_scale(graph, producers, name, allow_float) for name in inputs]
            for index, name in enumerate(inputs):
                if scales[index] is not None and len(set(scales)) > 1:
                    fresh = f"{name}/requantized_for/{op.outputs[0]}"
                    tensors.append(replace(graph.tensors[str(name)], name=fresh))
                    ops.append(Op("QUANTIZE", (name,), (fresh,)))
                    inputs[index] = fresh
        ops.append(replace(op, inputs=tuple(inputs)))
    return graph.replaced(tensors=tensors, ops=ops)


def _settled_scale(
    graph: Graph, producers: Mapping[str, Op], name: str | None, allow_float: frozenset[str]
) -> str | tuple[float, int] | None:
    """The graph input whose scale a tensor has, or the scale that the op which made its values fixes; or None."""
    op = producers.get(str(name))
    while op is not None and op.kind not in allow_float and info(op).shared_scale != "all" and _sharing(op):
        name = _sharing(op)[0]
        op = producers.get(str(name))
    if name in graph.inputs:
        return name
    return None if op is None or op.kind in allow_float or _fixed_output(op) is None else info(op).fixed_scale


def _groups(
    graph: Graph, inputs: Mapping[str, Quantization], allow_float: frozenset[str], in_16: frozenset[str]
) -> tuple[dict[str, str], dict[str, Quantization]]:
    parent = {name: name for name in inputs}
    fixed = dict(inputs)
    int8_ops = [op for op in graph.ops if op.kind not in allow_float]
    for op in int8_ops:
        parent.update({name: name for name in activations_around(graph, op)})
        meant = _fixed_output_16(op) if op.outputs[0] in in_16 else _fixed_output(op)
        if meant is not None:
            fixed[op.outputs[0]] = meant

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in int8_ops:
        for name, made in product(_sharing(op), op.outputs):
            source, target = find(str(name)), find(made)
            if source != target:
                parent[target] = source
    return {name: find(name) for name in parent}, {find(name): value for name, value in fixed.items()}


def _fixed_output(op: Op) -> Quantization | None:
    """The quantization that int8 fixes for what an op makes."""
    meant = info(op).fixed_scale
    return None if meant is None or op.kind not in INT8_KINDS else Quantization.per_tensor(*meant)


def _fixed_output_16(op: Op) -> Quantization | None:
    """The quantization that int16 fixes for what an op makes."""
    meant = info(op).fixed_scale_16
    return None if meant is None else Quantization.per_tensor(meant, 0)


def _sharing(op: Op) -> list[str | None]:
    """The inputs that have the scale and zero point of an int8 op's output."""
    shared = info(op).shared_scale if op.kind in INT8_KINDS else ()
    return list(op.inputs) if shared == "all" else [op.inputs[index] for index in shared]


def _bounds(graph: Graph, group: Mapping[str, str]) -> dict[str, Interval]:
    producers, consumers = graph.producers(), graph.consumers()
    bounds: dict[str, Interval] = {}

    def read_by(name: str) -> Interval:
        readers = [
            read_by(op.outputs[0]) if op.kind == "QUANTIZE" else read_interval(graph, op, name, producers)
            for op in consumers[name]
        ]
        return INFINITE if name in graph.outputs or not readers else hull(readers)

    for name, representative in group.items():
        tensor = graph.tensors[name]
        if tensor.data is not None:
            values = tensor.real()
            interval = (float(values.min()), float(values.max()))
        elif name in producers and _sharing(producers[name]):
            continue  # its values are the group's
        else:
            made = made_interval(producers.get(_before_quantize(producers, name)))
            read = read_by(name)
            interval = (max(made[0], read[0]), min(made[1], read[1]))
        bounds[representative] = hull([bounds.get(representative, interval), interval])
    return {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in bounds.items()}


def _before_quantize(producers: Mapping[str, Op], name: str) -> str:
    """The tensor whose values a tensor has in other steps."""
    while name in producers and producers[name].kind == "QUANTIZE":
        name = str(producers[name].inputs[0])
    return name


def layers_of(graph: Graph, allow_float: frozenset[str] = frozenset()) -> tuple[Layer, ...]:
    """Returns the ops with constant weights, in order of execution, without the kinds that stay float."""
    layers = []
    for op in graph.ops:
        row = LAYERS.get(op.kind)
        if row is None or op.kind in allow_float:
            continue
        names = [str(op.inputs[index]) for index in (row.weights, row.bias, row.data)]
        if graph.tensors[names[0]].is_constant:
            layers.append(Layer(op, names[0], names[1], names[2], op.outputs[0], row.channel_axis))
    return tuple(layers)
