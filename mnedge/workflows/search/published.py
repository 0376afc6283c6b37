"""ImageNet top-1 of any variant: as printed in the published tables, or estimated from them.

Not every width and resolution was published. A regression on those that were fills the gaps:

    logit(top-1) = family + a log2(alpha) + b log2(alpha)^2 + c log2(resolution / 224)

It ranks variants before anything is trained, and its leave-one-out error stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.models import Variant, families
from mnedge.results.search import EstimateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Expected:
    """Top-1 on ImageNet, 0..1, and where it comes from."""

    top1: float
    source: Literal["published", "estimated"]


def expected_top1(variant: Variant) -> Expected:
    """The printed top-1 of a variant, or the estimate; its classes do not matter."""
    key = (variant.family, variant.alpha, variant.resolution)
    rows = _rows()
    if key in rows:
        return Expected(rows[key], "published")
    return Expected(_sigmoid(float(_features(*key) @ _fit(tuple(rows.items())))), "estimated")


@cache
def estimate_error() -> EstimateError:
    """The error of the estimate on rows that it was not fitted to; rows that are a family's only one are left out."""
    items = tuple(_rows().items())
    families = [key[0] for key, _ in items]
    misses = [
        abs(_sigmoid(float(_features(*key) @ _fit((*items[:place], *items[place + 1 :])))) - top1)
        for place, (key, top1) in enumerate(items)
        if families.count(key[0]) > 1
    ]
    return EstimateError(float(np.median(misses)), max(misses), len(misses))


@cache
def _rows() -> dict[tuple[str, float, int], float]:
    # Where two sources print one network, the first stands.
    found: dict[tuple[str, float, int], float] = {}
    for family in families.by_name().values():
        for row in family.published:
            if row.top1 is not None:
                found.setdefault((family.name, row.alpha, row.resolution), row.top1)
    return found


def _features(family: str, alpha: float, resolution: int) -> NDArray[np.float64]:
    width = np.log2(alpha)
    return np.array([*(float(family == name) for name in families.names()), width, width**2, np.log2(resolution / 224)])


@cache
def _fit(items: tuple[tuple[tuple[str, float, int], float], ...]) -> NDArray[np.float64]:
    top1 = np.array([value for _, value in items])
    design = np.stack([_features(*key) for key, _ in items])
    found: NDArray[np.float64] = np.linalg.lstsq(design, np.log(top1 / (1 - top1)), rcond=None)[0]
    return found


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
