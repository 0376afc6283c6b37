"""Weights, roundings and biases chosen layer by layer against the float output, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute, simulate
from mnedge.quantize.parameters import Parameters, largest_weight_scale, to_int8

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.quantize.scheme import Interval, Layer, Scheme

_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Problem:
    """Least squares of one layer; a full convolution has one block, a depthwise one a block for each channel.

    Attributes:
        inputs: (blocks, rows, taps) what the quantized network gives the layer.
        targets: (blocks, rows, outputs) what the float layer makes before its activation.
        weights: (blocks, outputs, taps) the float weights.
        bias: (blocks, outputs).
        interval: Targets outside do not matter: the activation, or what reads it, clips there.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    interval: Interval


def reconstruct(
    scheme: Scheme,
    parameters: Parameters,
    images: NDArray[np.float32],
    *,
    seed: int = 0,
    refit: float = 0.3,
    rows: int = 16_000,
    told: Callable[[float], None] | None = None,
) -> Parameters:
    """Goes through the layers in order; each is fitted to the float output from the inputs that int8 gives it.

    Three things per layer, each the solution of the same least squares over calibration pixels: weights that undo
    what the layers before lost (Hubara et al. 2021, AdaQuant, eq. 2, arXiv:2006.10518), rounding in which each
    weight takes up the error of those before (Frantar et al. 2023, GPTQ, algorithm 1, arXiv:2210.17323), and the bias
    that takes back the rest of the mean (Nagel et al. 2019, section 4.2, arXiv:1906.04721). Outputs that the
    activation clips anyway are left out.

    Args:
        scheme: What is quantized.
        parameters: Ranges, weights and biases so far.
        images: float32 (N, H, W, C).
        seed: Of the choice of pixels.
        refit: Ridge that holds weights at their float values, as a share of the inputs' mean power; inf leaves the
            weights and only rounds.
        rows: Pixels that a layer is fitted on; a quarter of them for each channel of a depthwise one.
        told: Called with the share of the layers that is done.
    """
    import tensorflow as tf

    graph = scheme.graph
    int8 = to_int8(scheme, parameters)
    rounded = simulate(int8)
    random = np.random.default_rng(seed)
    layer_of = {layer.output: layer for layer in scheme.layers}
    last_use = {name: number for number, op in enumerate(graph.ops) for name in (*op.inputs, *op.outputs) if name}
    weights, scales, biases = (dict(part) for part in (parameters.weights, parameters.weight_scales, parameters.biases))
    exact: dict[str, Any] = {name: tf.constant(images) for name in graph.inputs}
    steps = {name: rounded(name, value) for name, value in exact.items()}
    for number, op in enumerate(graph.ops):
        layer = layer_of.get(op.outputs[0])
        values: dict[str, Any] = {}
        if layer is not None and layer.op.kind != "TRANSPOSE_CONV":
            problem = _problem(scheme, layer, exact[layer.data], steps[layer.data], rows, random)
            fitted, bias, scale = _fit(scheme, layer, problem, refit)
            weights[layer.weights], biases[layer.bias], scales[layer.weights] = fitted, bias, scale
            values = {layer.weights: tf.constant(fitted), layer.bias: tf.constant(bias)}
        exact.update(_one(graph, op, exact))
        made = _one(int8, op, steps, values)
        if layer is not None:
            # Few pixels were fitted; the mean is taken over all of them, and before the layer's own rounding: a
            # channel of few steps would swing around its mean, and the next layer sees that rounding anyway.
            correction = _mean_shift(scheme, layer, exact[layer.output], made[layer.output])
            biases[layer.bias] = biases[layer.bias] + correction
            made = _one(int8, op, steps, {**values, layer.bias: tf.constant(biases[layer.bias])})
        steps.update({name: rounded(name, value) for name, value in made.items()})
        for name in [name for name in exact if last_use.get(name, -1) == number]:
            exact.pop(name)
            steps.pop(name)
        if told is not None:
            told((number + 1) / len(graph.ops))
    return replace(parameters, weights=weights, weight_scales=scales, biases=biases)


def _one(graph: Graph, op: Op, env: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    feeds = {name: env[name] for name in op.inputs if name is not None and name in env}
    made = execute(graph, feeds, ops=[op], values=values)
    return {name: made[name] for name in op.outputs}


def _mean_shift(scheme: Scheme, layer: Layer, exact: Any, made: Any) -> NDArray[np.float32]:  # noqa: ANN401 - tensors
    import tensorflow as tf

    low, high = scheme.bounds[scheme.group[layer.output]]
    axes = list(range(len(made.shape) - 1))
    shift = tf.reduce_mean(tf.clip_by_value(exact, low, high) - tf.clip_by_value(made, low, high), axes)
    return np.asarray(shift.numpy(), np.float32)


def _problem(scheme: Scheme, layer: Layer, exact: Any, steps: Any, rows: int, random: np.random.Generator) -> Problem:  # noqa: ANN401
    weights = scheme.graph.tensors[layer.weights].real().astype(np.float64)
    bias = scheme.graph.tensors[layer.bias].real().astype(np.float64)
    taps_of = _depthwise_taps if layer.op.kind == "DEPTHWISE_CONV_2D" else _taps
    rows = rows // 4 if layer.op.kind == "DEPTHWISE_CONV_2D" else rows
    seeds = int(random.integers(1 << 31))
    inputs = taps_of(layer, weights.shape, steps, rows, seeds)
    float_inputs = taps_of(layer, weights.shape, exact, rows, seeds)
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        blocks = weights.reshape(-1, weights.shape[3]).T[:, None, :]
        offset = bias[:, None]
    else:
        blocks = np.moveaxis(weights, layer.axis, 0).reshape(1, weights.shape[layer.axis], -1)
        offset = bias[None, :]
    targets = float_inputs @ blocks.transpose(0, 2, 1).astype(np.float32) + offset[:, None, :].astype(np.float32)
    return Problem(inputs, targets, blocks, offset, scheme.bounds[scheme.group[layer.output]])


def _taps(layer: Layer, shape: tuple[int, ...], data: Any, rows: int, seed: int) -> NDArray[np.float32]:  # noqa: ANN401
    """(1, rows, taps): what a full convolution reads for some of its output pixels."""
    if layer.op.kind == "FULLY_CONNECTED":
        flat = data.numpy().reshape(-1, shape[1])
    else:
        flat = _patches(layer, shape, data)
        flat = flat.reshape(-1, flat.shape[-1])
    return np.asarray(_some(flat, rows, seed)[None], np.float32)


def _depthwise_taps(
    layer: Layer,
    shape: tuple[int, ...],
    data: Any,  # noqa: ANN401 - a tensor
    rows: int,
    seed: int,
) -> NDArray[np.float32]:
    """(channels, rows, taps): what each channel of a depthwise convolution reads."""
    taps = shape[1] * shape[2]
    picked = []
    # Picture by picture: the patches of all of them at once would be taps times the activation.
    share = max(1, rows // int(data.shape[0]))
    for number in range(int(data.shape[0])):
        patches = _patches(layer, shape, data[number : number + 1])
        picked.append(_some(patches.reshape(-1, patches.shape[-1]), share, seed + number))
    flat = np.concatenate(picked)
    depth = int(data.shape[3])
    split = flat.reshape(len(flat), taps, depth).transpose(2, 0, 1)
    return np.ascontiguousarray(np.repeat(split, shape[3] // depth, axis=0), np.float32)


def _patches(layer: Layer, shape: tuple[int, ...], data: Any) -> NDArray[np.float32]:  # noqa: ANN401 - a tensor
    import tensorflow as tf

    options = layer.op.options
    if shape[1:3] == (1, 1) and options["stride_h"] == options["stride_w"] == 1:
        return np.asarray(data.numpy())
    patches = tf.image.extract_patches(
        data,
        sizes=[1, shape[1], shape[2], 1],
        strides=[1, options["stride_h"], options["stride_w"], 1],
        rates=[1, options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1), 1],
        padding=options["padding"],
    )
    return np.asarray(patches.numpy())


def _some(flat: NDArray[np.float32], rows: int, seed: int) -> NDArray[np.float32]:
    if len(flat) <= rows:
        return flat
    return flat[np.sort(np.random.default_rng(seed).choice(len(flat), rows, replace=False))]


def _fit(
    scheme: Scheme, layer: Layer, problem: Problem, refit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Weights on their grid in the layer's layout, bias, and weight scales."""
    inputs = problem.inputs
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    hessian = (centred.transpose(0, 2, 1) @ centred).astype(np.float64) / inputs.shape[1]
    # Fewer pixels than unknowns say little about the weights: their correlations are mostly chance.
    scarcity = hessian.shape[1] / inputs.shape[1]
    hessian = _shrunk(hessian, scarcity / (1 + scarcity))
    power = np.maximum(np.trace(hessian, axis1=1, axis2=2) / hessian.shape[1], 1e-12)[:, None, None]
    identity = np.eye(hessian.shape[1])[None]
    ridge = refit * (1 + 100 * scarcity)
    fitted, bias = problem.weights.copy(), problem.bias.copy()
    for _ in range(_ROUNDS if np.isfinite(refit) else 0):
        change = _solve(problem, inputs, centred, fitted, bias, hessian, ridge * power * identity)
        fitted = fitted + change
        bias = bias + _residual_mean(problem, inputs, fitted, bias)
    shaped = _to_layout(layer, problem, fitted, scheme.graph.tensors[layer.weights].shape)
    scales = largest_weight_scale(scheme, layer, shaped)
    per_output = np.broadcast_to(scales, (scales.size if scales.size > 1 else shaped.shape[layer.axis],))
    step = per_output.reshape(problem.bias.shape).astype(np.float64)
    rounded = round_with_feedback(fitted, step, hessian + 0.01 * power * identity)
    bias = bias + _residual_mean(problem, inputs, rounded, bias)
    values = _to_layout(layer, problem, rounded, scheme.graph.tensors[layer.weights].shape)
    return values, bias.reshape(-1).astype(np.float32), scales


def _shrunk(hessian: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Moves a share of the way to the diagonal. Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4."""
    diagonal = np.einsum("btt->bt", hessian)[:, :, None] * np.eye(hessian.shape[1])[None]
    return np.asarray((1 - share) * hessian + share * diagonal)


def _solve(
    problem: Problem,
    inputs: NDArray[np.float32],
    centred: NDArray[np.float32],
    fitted: NDArray[np.float64],
    bias: NDArray[np.float64],
    hessian: NDArray[np.float64],
    ridge: NDArray[np.float64],
) -> NDArray[np.float64]:
    residual = _residual(problem, inputs, fitted, bias)
    residual = residual - residual.mean(axis=1, keepdims=True)
    slope = (residual.transpose(0, 2, 1) @ centred).astype(np.float64) / inputs.shape[1]
    slope = slope + (problem.weights - fitted) @ ridge
    return np.asarray(np.linalg.solve(hessian + ridge, slope.transpose(0, 2, 1)).transpose(0, 2, 1))


def _residual(
    problem: Problem, inputs: NDArray[np.float32], weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Target minus output, 0 where both are clipped at the same end."""
    made = inputs @ weights.transpose(0, 2, 1).astype(np.float32) + bias[:, None, :].astype(np.float32)
    low, high = problem.interval
    idle = ((made <= low) & (problem.targets <= low)) | ((made >= high) & (problem.targets >= high))
    difference = np.clip(problem.targets, low, high) - np.clip(made, low, high)
    return np.where(idle, np.float32(0), difference).astype(np.float32, copy=False)


def _residual_mean(
    problem: Problem, inputs: NDArray[np.float32], weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(_residual(problem, inputs, weights, bias).mean(axis=1, dtype=np.float64))


def _to_layout(
    layer: Layer, problem: Problem, weights: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        return np.ascontiguousarray(weights[:, 0, :].T.reshape(shape), np.float32)
    del problem
    first = (shape[layer.axis], *(extent for axis, extent in enumerate(shape) if axis != layer.axis))
    return np.ascontiguousarray(np.moveaxis(weights[0].reshape(first), 0, layer.axis), np.float32)


def round_with_feedback(
    weights: NDArray[np.float64], step: NDArray[np.float64], hessian: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rounds weights one tap after the other; the taps that follow take up the error.

    Frantar et al. 2023 (GPTQ), eq. 2 and algorithm 1, arXiv:2210.17323, taps in order of falling input power.

    Args:
        weights: (blocks, outputs, taps).
        step: (blocks, outputs) weight scales.
        hessian: (blocks, taps, taps) mean products of the inputs, positive definite.

    Returns:
        Weights on the grid of -127..127 steps.
    """
    rounded = np.empty_like(weights)
    for block in range(len(weights)):
        order = np.argsort(-np.diag(hessian[block]), kind="stable")
        inverse = np.linalg.inv(hessian[block][np.ix_(order, order)])
        factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
        left = weights[block][:, order].copy()
        for tap in range(left.shape[1]):
            value = np.clip(np.round(left[:, tap] / step[block]), -127, 127) * step[block]
            error = (left[:, tap] - value) / factor[tap, tap]
            left[:, tap + 1 :] -= error[:, None] * factor[tap, tap + 1 :]
            rounded[block][:, order[tap]] = value
    return rounded
