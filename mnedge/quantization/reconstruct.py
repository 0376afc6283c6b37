"""Weights, roundings and biases chosen layer by layer against the float output, in closed form."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mnedge.quantization.parameters import largest_weight_scale
from mnedge.quantization.pixels import in_layout, mean_products, outputs_of
from mnedge.quantization.walk import Settled, settle_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.quantization.parameters import Parameters
    from mnedge.quantization.pixels import Problem
    from mnedge.quantization.scheme import Layer, Scheme

# Ridge that holds weights at their float values, in the inputs' mean power, and what it grows by with taps per row.
# Chosen on pictures of the train split, not on those that were fitted: pixels of one picture say much the same, and
# what they say of a wide layer is the more chance.
_RIDGE, _SCARCE_RIDGE = 0.1, 100.0
# Keeps the errors of rounding from gathering in taps that hardly ever carry anything in the pictures at hand.
_DAMPING = 0.1
_ROUNDS = 2
_OUTPUTS_AT_ONCE = 128
# Taps whose errors are passed on one by one; to those further on they go together.
_TAPS_AT_ONCE = 64
# Layers with so many taps for each output try several grids for it, up to a third coarser.
_FEW_TAPS = 32
_GRIDS = np.linspace(1.0, 1.3, 31)
# Grids of 4 bits are so coarse that cutting off the largest weights may pay.
_GRIDS_OF_4_BITS = np.linspace(0.5, 1.0, 11)


def reconstruct(
    scheme: Scheme,
    parameters: Parameters,
    images: Samples,
    *,
    seed: int = 0,
    refit: float = 1.0,
    rows: int = 16_000,
    progress: Callable[[float], None] | None = None,
) -> Parameters:
    """Goes through the layers in order; each is fitted to the float output from the inputs that int8 gives it.

    Three things per layer, each the solution of the same least squares over calibration pixels: weights that undo
    what the layers before lost (Hubara et al. 2021, AdaQuant, eq. 2, arXiv:2006.10518), rounding in which each
    weight takes up the error of those before (Frantar et al. 2023, GPTQ, algorithm 1, arXiv:2210.17323), on the
    best of several grids where there are few taps, and the bias that takes back the rest of the mean (Nagel et al.
    2019, section 4.2, arXiv:1906.04721). Outputs that the
    activation clips anyway are left out.

    Args:
        scheme: Quantization scheme of the graph.
        parameters: Ranges, weights and biases so far.
        images: float32 (N, H, W, C), or a `Batch`.
        seed: Seed of the choice of pixels.
        refit: Factor on the ridge that holds weights at their float values; inf leaves the weights and only rounds.
        rows: Pixels that a layer is fitted on; a quarter of them for each channel of a depthwise one.
        progress: Called with the share of the layers that is done.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return settle_layers(
            scheme,
            parameters,
            images,
            lambda layer, problem, _: _fit(scheme, layer, problem, refit, pool),
            rows=rows,
            seed=seed,
            progress=progress,
        )


def _fit(scheme: Scheme, layer: Layer, problem: Problem, refit: float, pool: ThreadPoolExecutor) -> Settled:
    """Weights on their grid, and the bias and the weight scales that go with them."""
    parts = _parts(problem)
    blocks = [at[0] for at in (parts if len(problem.bias) > 1 else parts[:1])]
    hessian = np.concatenate(list(pool.map(lambda part: _covariance(problem.inputs[part]), blocks)))
    # Fewer pixels than unknowns say little about the weights: their correlations are mostly chance.
    scarcity = hessian.shape[1] / problem.inputs.shape[1]
    hessian = _shrunk(hessian, scarcity / (1 + scarcity))
    power = np.maximum(np.trace(hessian, axis1=1, axis2=2) / hessian.shape[1], 1e-12)[:, None, None]
    fitted, bias = problem.weights, problem.bias
    if np.isfinite(refit):
        ridge = refit * (_RIDGE + _SCARCE_RIDGE * scarcity) * power
        inverse = np.linalg.inv(_raised(hessian, ridge))
        found = pool.map(lambda at: _refitted(problem.part(*at), inverse[at[0]], ridge[at[0]]), parts)
        fitted, bias = _joined(found, problem)
    shaped = in_layout(layer, fitted, scheme.graph.tensors[layer.weights].shape)
    scales = largest_weight_scale(scheme, layer, shaped)
    per_output = np.broadcast_to(scales, (scales.size if scales.size > 1 else shaped.shape[layer.axis],))
    step = per_output.reshape(problem.bias.shape).astype(np.float64)
    damped = _raised(hessian, _DAMPING * power)
    most, grids = scheme.most_steps(layer), None
    if layer.output in scheme.int4:
        grids = _GRIDS_OF_4_BITS
    elif hessian.shape[1] <= _FEW_TAPS:
        grids = _GRIDS
    if scales.size > 1 and grids is not None:
        tried = grids
        best = pool.map(lambda at: best_step(fitted[at], step[at], damped[at[0]], hessian[at[0]], tried, most), parts)
        # As the file holds them.
        scales = np.concatenate([part.ravel() for part in best]).astype(np.float32)
        step = scales.astype(np.float64).reshape(step.shape)

    def rounded(at: tuple[slice, slice]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        part, weights = problem.part(*at), round_with_feedback(fitted[at], step[at], damped[at[0]], most)
        rest = _residual(part, outputs_of(part, weights), bias[at])
        return weights, bias[at] + rest.mean(axis=1, dtype=np.float64)

    fitted, bias = _joined(pool.map(rounded, parts), problem)
    values = in_layout(layer, fitted, scheme.graph.tensors[layer.weights].shape)
    return Settled(values, scales, bias.reshape(-1).astype(np.float32))


def _parts(problem: Problem) -> list[tuple[slice, slice]]:
    """Blocks and outputs, a share at a time, whatever the number of cores: the bits must not depend on it."""
    blocks, outputs = problem.bias.shape
    if blocks > 1:
        return [(slice(first, first + _OUTPUTS_AT_ONCE), slice(None)) for first in range(0, blocks, _OUTPUTS_AT_ONCE)]
    return [(slice(None), slice(first, first + _OUTPUTS_AT_ONCE)) for first in range(0, outputs, _OUTPUTS_AT_ONCE)]


def _joined(
    found: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]], problem: Problem
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = 0 if len(problem.bias) > 1 else 1
    weights, biases = zip(*found, strict=True)
    return np.concatenate(weights, axis), np.concatenate(biases, axis)


def _covariance(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """(blocks, taps, taps) mean products of inputs (blocks, rows, taps) without their mean."""
    centred = inputs - inputs.mean(axis=1, keepdims=True)
    return mean_products(centred, centred)


def _shrunk(hessian: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Moves a share of the way to the diagonal. Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4."""
    return _raised((1 - share) * hessian, share * np.einsum("btt->bt", hessian)[:, :, None])


def _raised(hessian: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """(blocks, taps, taps) with something added to the diagonals: by (blocks, taps or 1, 1)."""
    raised = hessian.copy()
    np.einsum("btt->bt", raised)[...] += by[:, :, 0]
    return raised


def _refitted(
    problem: Problem, inverse: NDArray[np.float64], ridge: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and bias whose clipped outputs come close to the targets: Gauss-Newton steps on the ridge problem.

    Args:
        problem: The layer's.
        inverse: (blocks, taps, taps) of the mean products of the inputs, the ridge added.
        ridge: (blocks, 1, 1) what holds weights at their float values.
    """
    fitted, bias = problem.weights, problem.bias
    for number in range(_ROUNDS):
        made = outputs_of(problem, fitted)
        if number > 0:
            bias = bias + _residual(problem, made, bias).mean(axis=1, dtype=np.float64)
        residual = _residual(problem, made, bias)
        residual -= residual.mean(axis=1, keepdims=True)
        # Residuals without their mean have the same products with inputs as with inputs without theirs.
        slope = mean_products(residual, problem.inputs)
        fitted = fitted + (slope + (problem.weights - fitted) * ridge) @ inverse
    return fitted, bias


def _residual(problem: Problem, made: NDArray[np.float32], bias: NDArray[np.float64]) -> NDArray[np.float32]:
    """(blocks, rows, outputs) target minus output; 0 where both are clipped at the same end.

    Args:
        problem: The layer's.
        made: See `outputs_of`.
        bias: (blocks, outputs), not in `made`.
    """
    clipped = made + bias[:, None, :].astype(np.float32)
    np.clip(clipped, *problem.interval, out=clipped)
    return np.subtract(problem.targets, clipped, out=clipped)


def best_step(
    weights: NDArray[np.float64],
    step: NDArray[np.float64],
    damped: NDArray[np.float64],
    hessian: NDArray[np.float64],
    grids: NDArray[np.float64] = _GRIDS,
    most: int = 127,
) -> NDArray[np.float64]:
    """Chooses the scale of each output whose grid lies best for its weights, among slightly different ones.

    With nine taps the error of rounding is a matter of luck, and a filter whose taps nearly cancel turns it into a
    share of its input's level: among grids that differ by a little one is much luckier than the others, and where the
    weights come from a grid, it is theirs. With hundreds of taps all grids of one step are alike.

    Args:
        weights: (blocks, outputs, taps).
        step: (blocks, outputs) scales that reach exactly to the largest weight.
        damped: (blocks, taps, taps) see `round_with_feedback`.
        hessian: (blocks, taps, taps) mean products of the inputs.
        grids: Factors on the scales, one after the other.
        most: The largest weight in steps.

    Returns:
        (blocks, outputs) scales.
    """
    count = weights.shape[1]
    steps = (step[:, None, :] * grids[:, None]).reshape(len(step), -1)
    wanted = np.tile(weights, (1, len(grids), 1))
    missed = round_with_feedback(wanted, steps, damped, most) - wanted
    error = np.einsum("bot,bot->bo", missed @ hessian, missed).reshape(len(step), len(grids), count)
    return np.asarray(step * grids[error.argmin(axis=1)])


def round_with_feedback(
    weights: NDArray[np.float64], step: NDArray[np.float64], hessian: NDArray[np.float64], most: int = 127
) -> NDArray[np.float64]:
    """Rounds weights one tap after the other; the taps that follow take up the error.

    Frantar et al. 2023 (GPTQ), algorithm 1, arXiv:2210.17323, taps in order of falling input power. Their factor of
    the inverse is not needed: with H = R R' and R upper triangular, the squared error of the outputs is that of
    R' e, e = w - q, whose row i holds the errors up to e_i only, and e_i takes up the others where
    q_i = round(w_i + sum over j < i of e_j R_ji / R_ii). This is Babai's nearest plane.

    Args:
        weights: (blocks, outputs, taps).
        step: (blocks, outputs) weight scales.
        hessian: (blocks, taps, taps) mean products of the inputs, positive definite.
        most: The largest weight in steps.

    Returns:
        Weights on the grid of -most..most steps.
    """
    order = np.argsort(-np.einsum("btt->bt", hessian), axis=1, kind="stable")[:, None, :]
    exact = np.take_along_axis(weights, order, axis=2)
    rows = np.take_along_axis(hessian, order.transpose(0, 2, 1), axis=1)
    backward = np.take_along_axis(rows, order, axis=2)[:, ::-1, ::-1]
    factor = np.linalg.cholesky(backward)[:, ::-1, ::-1]
    factor = factor / np.einsum("btt->bt", factor)[:, None, :]
    wanted, made = exact.copy(), np.zeros_like(exact)
    for first in range(0, exact.shape[2], _TAPS_AT_ONCE):
        taps = slice(first, first + _TAPS_AT_ONCE)
        wanted[:, :, taps] += (exact[:, :, :first] - made[:, :, :first]) @ factor[:, :first, taps]
        for tap in range(first, min(first + _TAPS_AT_ONCE, exact.shape[2])):
            error = exact[:, :, first:tap] - made[:, :, first:tap]
            value = wanted[:, :, tap] + np.einsum("bot,bt->bo", error, factor[:, first:tap, tap])
            made[:, :, tap] = np.clip(np.round(value / step), -most, most) * step
    rounded = np.empty_like(weights)
    np.put_along_axis(rounded, order, made, axis=2)
    return rounded
