"""Latency of every variant from measurements of a few.

The time of a picture is taken as a sum of what its layers do, with weights that cannot be negative:

    ms = a + b * dense multiply-adds + c * depthwise multiply-adds + d * activations written + e * layers

fitted so that relative errors are small. A depthwise multiply-add costs several times a dense one on every machine,
which is why a count of multiply-adds alone misleads. The error that is stated is that of measurements left out in turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.models.variant import trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.models import Variant

TERMS = ("constant", "dense_macs", "depthwise_macs", "activations", "layers")
FEWEST = 3


@dataclass(frozen=True)
class LatencyModel:
    """A fit.

    Attributes:
        weights: Milliseconds per unit of each of `TERMS`.
        measured: Number of measurements that it was fitted to.
        median_error: Median relative error of measurements that were left out in turn, as a share; None where there
            were too few to leave one out.
        worst_error: The largest of these errors.
    """

    weights: tuple[float, ...]
    measured: int
    median_error: float | None
    worst_error: float | None

    def predict_ms(self, variant: Variant) -> float:
        """Latency of a variant, ms."""
        return float(np.dot(features(variant), self.weights))


def features(variant: Variant) -> NDArray[np.float64]:
    """The figures of a network that its time depends on, in the order of `TERMS`, float64, (5,)."""
    layers = trace(variant)
    depthwise = sum(layer.macs for layer in layers if layer.kind == "depthwise")
    dense = sum(layer.macs for layer in layers) - depthwise
    written = sum(math.prod(layer.output_shape) for layer in layers)
    return np.array([1.0, dense, depthwise, written, len(layers)], np.float64)


def fit(measured_ms: Mapping[Variant, float]) -> LatencyModel:
    """Fits the model to measurements.

    Args:
        measured_ms: Latency of some variants, at least one, each above 0.
    """
    design = np.stack([features(variant) for variant in measured_ms])
    times = np.array(list(measured_ms.values()), np.float64)
    weights = _non_negative(design, times)
    errors = []
    if len(times) > FEWEST:
        for place in range(len(times)):
            kept = np.arange(len(times)) != place
            predicted = design[place] @ _non_negative(design[kept], times[kept])
            errors.append(abs(float(predicted / times[place]) - 1.0))
    return LatencyModel(
        tuple(weights.tolist()),
        len(times),
        float(np.median(errors)) if errors else None,
        max(errors) if errors else None,
    )


def _non_negative(design: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares of the relative error without negative weights: terms that would get one are left out in turn."""
    scaled = design / times[:, None]
    # Columns of one magnitude: counts of multiply-adds and of layers differ by 1e6.
    size = np.linalg.norm(scaled, axis=0)
    kept = list(range(design.shape[1]))
    while True:
        found = np.linalg.lstsq(scaled[:, kept] / size[kept], np.ones(len(times)), rcond=None)[0]
        if len(kept) == 1 or found.min() >= 0:
            break
        del kept[int(np.argmin(found))]
    weights = np.zeros(design.shape[1])
    weights[kept] = np.maximum(found, 0.0) / size[kept]
    return weights


def spread(variants: Sequence[Variant], count: int) -> list[Variant]:
    """The variants to measure: each as far as possible from those before it, in the logarithm of the features.

    Gonzalez 1985, "Clustering to minimize the maximum intercluster distance": the first is the smallest network.
    """
    unique = list(dict.fromkeys(variants))
    if not unique:
        return []
    places = np.log(np.stack([features(variant) for variant in unique])[:, 1:])
    chosen = [int(np.argmin(places.sum(axis=1)))]
    distances = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < min(count, len(unique)):
        chosen.append(int(np.argmax(distances)))
        distances = np.minimum(distances, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return [unique[place] for place in chosen]
