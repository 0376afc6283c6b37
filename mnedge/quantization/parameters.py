"""Parameters: all that quantization chooses, as one value; and the integer Graph that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.graph.ops import operands
from mnedge.quantization.scheme import range_quantization, symmetric_quantization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mnedge.quantization.intervals import Interval
    from mnedge.quantization.scheme import Layer, Scheme, Steps

# XNNPACK refuses input_scale * weight_scale / output_scale >= 256, and for ADD ratios below 2^-10.
_LARGEST_RATIO = 255.0
_SMALLEST_ADD_RATIO = 2.0**-9
# A bias of 2^30 steps leaves the int32 accumulator room for the products.
_LARGEST_BIAS_STEPS = 2.0**30
# XNNPACK's kernels of 4-bit weights sum sixteenfold, and wrap around from 2^27 on.
_LARGEST_BIAS_STEPS_OF_4_BITS = 2.0**26
_SMALLEST_SCALE = 1e-10
# A 16x8 layer whose sums surely stay below this takes an int32 bias: LiteRT sums in 64 bits many times slower. Its
# depthwise kernel knows no other way.
_INT32_SUMS = 2.0**31 - 1
_NARROW_KINDS = ("CONV_2D", "FULLY_CONNECTED")
# int16 kernels scale a sum within 32 bits before they clip it.
_LARGEST_SCALED = 2.0**30
_ELEMENTWISE = ("ADD", "SUB", "MUL", "MEAN", "QUANTIZE", "RELU", "RELU6")


@dataclass(frozen=True)
class Parameters:
    """Ranges, weights and biases of a quantized network.

    Attributes:
        ranges: (low, high) of every free group, real values.
        weights: Real weights of every layer by tensor name; the int8 graph rounds them to the nearest step, so
            weights that lie on the grid of `weight_scales` are shipped as they are.
        weight_scales: float32 scales by weight name, one a channel or (1,).
        biases: Real biases by tensor name.
    """

    ranges: Mapping[str, Interval]
    weights: Mapping[str, NDArray[np.float32]]
    weight_scales: Mapping[str, NDArray[np.float32]]
    biases: Mapping[str, NDArray[np.float32]]


def initial_parameters(scheme: Scheme, ranges: Mapping[str, Interval]) -> Parameters:
    """Float weights and biases, and weight scales that reach exactly to the largest weight of a channel."""
    weights = {layer.weights: scheme.graph.tensors[layer.weights].real() for layer in scheme.layers}
    biases = {layer.bias: scheme.graph.tensors[layer.bias].real() for layer in scheme.layers}
    scales = {layer.weights: largest_weight_scale(scheme, layer, weights[layer.weights]) for layer in scheme.layers}
    return Parameters(ranges, weights, scales, biases)


def largest_weight_scale(scheme: Scheme, layer: Layer, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Symmetric scales that reach to the largest weight: max |w| / 127, or 7 of 4 bits, (channels,) or (1,).

    A channel without weights gets a thousandth of the layer's largest scale, so that its bias still fits int32.
    """
    axes = tuple(axis for axis in range(weights.ndim) if axis != layer.axis)
    largest = np.abs(weights).max(axis=axes if scheme.granularity == "per-channel" else None)
    scales = np.atleast_1d(largest).astype(np.float64) / scheme.most_steps(layer)
    floor = max(float(scales.max()) * 1e-3, _SMALLEST_SCALE)
    return np.maximum(scales, floor).astype(np.float32)


def weight_quantization(layer: Layer, scales: NDArray[np.float32]) -> Quantization:
    """The symmetric quantization of a layer's weights."""
    if scales.size == 1:
        return Quantization(scales.astype(np.float32), np.zeros(1, np.int64))
    return Quantization.per_channel(scales, layer.axis)


def activation_quantizations(scheme: Scheme, parameters: Parameters) -> dict[str, Quantization]:
    """Quantization of every group, with scales raised to what runtimes take.

    A tensor that is all but zero would get a scale so small that the layer before it breaks XNNPACK's limit on
    input_scale * weight_scale / output_scale; its scale is raised, which costs nothing: steps below the
    accumulator's own say nothing.
    """
    scales: dict[str, Quantization] = dict(scheme.fixed)
    for name in scheme.free_groups:
        quantization = symmetric_quantization if name in scheme.wide else range_quantization
        scales[name] = quantization(*parameters.ranges[name])

    # Raising one scale may call for raising the next; every pass only raises, and ratios bound how far.
    raised = True
    while raised:
        raised = False
        for name, floor in _scale_floors(scheme, parameters, scales):
            group = scheme.group[name]
            found = scales[group]
            if group not in scheme.fixed and float(found.scale[0]) < floor:
                scales[group] = Quantization.per_tensor(floor * 1.001, int(found.zero_point[0]))
                raised = True
    return scales


def _scale_floors(
    scheme: Scheme, parameters: Parameters, scales: Mapping[str, Quantization]
) -> Iterator[tuple[str, float]]:
    """The least scale that runtimes take for a tensor, given the scales around it as they are now."""

    def scale(name: str) -> float:
        return float(scales[scheme.group[name]].scale[0])

    for layer in scheme.layers:
        if layer.output in scheme.int4:
            # There a channel's largest weights are cut off instead, see `bounded_weight_scale`.
            continue
        yield layer.output, scale(layer.data) * float(parameters.weight_scales[layer.weights].max()) / _LARGEST_RATIO
        if scheme.dtype(layer.output) == "int16":
            yield layer.output, _reach(layer, parameters, scale(layer.data)) / _LARGEST_SCALED
    for op in scheme.graph.ops:
        if scheme.is_float(op) or op.kind not in _ELEMENTWISE:
            continue
        sources = [name for name in op.inputs if name is not None and name in scheme.group]
        found = [scale(name) for name in sources]
        yield op.outputs[0], (float(np.prod(found)) if op.kind == "MUL" else max(found)) / _LARGEST_RATIO
        if op.kind in ("ADD", "SUB"):
            for name in sources:
                yield name, scale(op.outputs[0]) * _SMALLEST_ADD_RATIO


def _reach(layer: Layer, parameters: Parameters, data_scale: float) -> float:
    """The largest real number that a layer can make of int16 data."""
    weights = parameters.weights[layer.weights]
    taps = tuple(axis for axis in range(weights.ndim) if axis != layer.axis)
    products = np.abs(weights).sum(axis=taps) * 2.0**15 * data_scale
    return float((products + np.abs(parameters.biases[layer.bias])).max())


def legal_weight_scale(
    layer: Layer, parameters: Parameters, data_scale: float, most_steps: float = _LARGEST_BIAS_STEPS
) -> NDArray[np.float32]:
    """A layer's weight scales, raised where its bias would leave `most_steps`, or round to nothing in 64 bits."""
    scales = parameters.weight_scales[layer.weights].astype(np.float64)
    floor = np.abs(parameters.biases[layer.bias].astype(np.float64)) / (most_steps * data_scale)
    return np.maximum(scales, floor if scales.size > 1 else floor.max()).astype(np.float32)


def bounded_weight_scale(scales: NDArray[np.float32], data_scale: float, made_scale: float) -> NDArray[np.float32]:
    """Weight scales at which one step of the weights is at most what runtimes take, 255 steps of the output.

    Steps of 4 bits are so large that a channel may come to it where all others do not: raising the output's range
    would take their steps. Weights and a bias cut off there still bring the output from end to end.
    """
    return np.minimum(scales, np.float32(_LARGEST_RATIO * made_scale / data_scale))


def to_int8(scheme: Scheme, parameters: Parameters) -> Graph:
    """Builds the int8 Graph: TFLite's int8 scheme, int8 in and out, tensor names kept.

    Weights are symmetric in -127..127, or -7..7 of 4 bits, biases int32 with scale input_scale * weight_scale and zero
    point 0, activations asymmetric int8. Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342.
    Where the scheme has int16, activations are symmetric, and biases int64 unless sums surely fit 32 bits.
    """
    scales = activation_quantizations(scheme, parameters)
    tensors: dict[str, Tensor] = {}
    for name, group in scheme.group.items():
        tensors[name] = _activation(scheme.graph.tensors[name], scales[group], scheme.dtype(name))
    for layer in scheme.layers:
        data, output = (float(scales[scheme.group[name]].scale[0]) for name in (layer.data, layer.output))
        made = layer_tensors(scheme, layer, parameters, (data, output))
        tensors.update({tensor.name: tensor for tensor in made})
    return _with_float_islands(scheme, tensors)


def layer_tensors(
    scheme: Scheme, layer: Layer, parameters: Parameters, ends: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """The int8 weights and the bias of a layer: int32, or int64 where int16 needs it.

    Args:
        scheme: Quantization scheme of the graph.
        layer: The layer.
        parameters: Its weights, weight scales and bias among others.
        ends: Scales of its data and of its output.
    """
    is_int4, data_scale = layer.output in scheme.int4, ends[0]
    bias_steps = _LARGEST_BIAS_STEPS_OF_4_BITS if is_int4 else _LARGEST_BIAS_STEPS
    channel = legal_weight_scale(layer, parameters, data_scale, bias_steps)
    if is_int4:
        channel = bounded_weight_scale(channel, *ends)
    quantization = weight_quantization(layer, channel)
    most = scheme.most_steps(layer)
    steps = np.clip(quantization.quantize(parameters.weights[layer.weights], "int8"), -most, most)
    weights = Tensor(layer.weights, steps.shape, "int8", quantization, steps, is_int4=is_int4)
    bias = _bias(layer.bias, parameters.biases[layer.bias], np.float32(data_scale) * channel)
    if is_int4:
        assert bias.data is not None
        bias = replace(bias, data=np.clip(bias.data, -bias_steps, bias_steps).astype(np.int64))
    is_wide = scheme.dtype(layer.data) == "int16"
    is_narrow = not is_wide or (layer.op.kind in _NARROW_KINDS and _largest_sum(layer, steps, bias) <= _INT32_SUMS)
    assert bias.data is not None
    return weights, replace(bias, dtype="int32", data=bias.data.astype(np.int32)) if is_narrow else bias


def _largest_sum(layer: Layer, steps: NDArray[np.int8], bias: Tensor) -> float:
    """The largest sum that int16 inputs can make in any channel."""
    assert bias.data is not None
    taps = tuple(axis for axis in range(steps.ndim) if axis != layer.axis)
    return float((np.abs(bias.data) + 2**15 * np.abs(steps.astype(np.int64)).sum(axis=taps)).max())


def _activation(tensor: Tensor, quantization: Quantization, dtype: Steps) -> Tensor:
    data = None if tensor.data is None else quantization.quantize(tensor.real(), dtype)
    return replace(tensor, dtype=dtype, quantization=quantization, data=data)


def _bias(name: str, bias: NDArray[np.float32], scales: NDArray[np.float32]) -> Tensor:
    """An int64 bias."""
    quantization = Quantization(
        scales.astype(np.float32), np.zeros(scales.shape, np.int64), 0 if scales.size > 1 else None
    )
    return Tensor(name, bias.shape, "int64", quantization, quantization.quantize(bias, "int64"))


def _with_float_islands(scheme: Scheme, tensors: Mapping[str, Tensor]) -> Graph:
    """Puts DEQUANTIZE and QUANTIZE around ops that were allowed to stay float."""
    ops: list[Op] = []
    added: dict[str, Tensor] = {}
    for op in scheme.graph.ops:
        if not scheme.is_float(op):
            ops.append(op)
            continue
        inputs = list(op.inputs)
        real_inputs = operands(op)
        for index, name in enumerate(inputs):
            if name in tensors and name in real_inputs:
                inputs[index] = f"{name}/float"
                if inputs[index] not in added:
                    added[f"{name}/float"] = replace(scheme.graph.tensors[name], name=f"{name}/float")
                    if not scheme.graph.tensors[name].is_constant:
                        ops.append(Op("DEQUANTIZE", (name,), (f"{name}/float",)))
        outputs = [f"{name}/real" if name in tensors else name for name in op.outputs]
        ops.append(replace(op, inputs=tuple(inputs), outputs=tuple(outputs)))
        for name, real in zip(op.outputs, outputs, strict=True):
            if name != real:
                added[real] = replace(scheme.graph.tensors[name], name=real)
                ops.append(Op("QUANTIZE", (real,), (name,)))
    return scheme.graph.replaced(tensors=[*tensors.values(), *added.values()], ops=ops)
