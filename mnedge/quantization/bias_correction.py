"""Biases that take back the shift of the mean that rounding caused, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.quantization.parameters import activation_quantizations, layer_tensors
from mnedge.quantization.pixels import in_blocks, outputs_of
from mnedge.quantization.walk import Settled, settle_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.quantization.parameters import Parameters
    from mnedge.quantization.pixels import Problem
    from mnedge.quantization.scheme import Layer, Scheme

_MOST_IMAGES = 128
_ROWS = 8_000
_LEAST_ACTIVE_FRACTION = 0.1


def correct_biases(scheme: Scheme, parameters: Parameters, images: Samples, seed: int = 0) -> Parameters:
    """Adds to every bias the float channel mean minus the int8 one, after the fused activation, in order.

    The mean is taken before the layer's own output is rounded: a channel that has few steps swings around its mean
    by more than the bias can set right, and the next layer's correction sees that rounding anyway. Values that do
    not matter to what reads them (those below -3 for a hard-swish) do not count. Each layer is corrected with all
    layers before it quantized and corrected: the empirical bias correction of Nagel et al. 2019, section 4.2 and
    appendix D, arXiv:1906.04721. The difference of the means is divided by the share of values that the activation
    lets through, since only these move with the bias.

    Args:
        scheme: Quantization scheme of the graph.
        parameters: Ranges, weights and biases so far.
        images: float32 (N, H, W, C), or a `Batch`; the first 128 are used.
        seed: Seed of the choice of pixels.
    """

    def corrected(layer: Layer, problem: Problem, now: Settled) -> Settled:
        data, output = (float(scales[scheme.group[name]].scale[0]) for name in (layer.data, layer.output))
        weights, _ = layer_tensors(scheme, layer, parameters, (data, output))
        bias = now.bias.reshape(problem.bias.shape)[:, None, :]
        made = outputs_of(problem, in_blocks(layer, weights.real())) + bias
        return now._replace(bias=now.bias + _shift(problem, np.clip(made, *problem.interval)))

    scales = activation_quantizations(scheme, parameters)
    settled = settle_layers(scheme, parameters, images[:_MOST_IMAGES], corrected, rows=_ROWS, seed=seed)
    return replace(parameters, biases=settled.biases)


def _shift(problem: Problem, made: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels,) for clipped outputs (blocks, rows, outputs)."""
    active = np.mean((made > made.min()) & (made < made.max()), axis=1)
    shift = (problem.targets - made).mean(axis=1, dtype=np.float64)
    return np.asarray(shift / np.maximum(active, _LEAST_ACTIVE_FRACTION), np.float32).reshape(-1)
