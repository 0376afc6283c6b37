"""Cost of a network: parameters and multiply-adds by layer, beside standard convolutions and published tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from mnedge.models import families
from mnedge.models.variant import CLASSIFIER, Variant, family_of, trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.models.families import Published
    from mnedge.models.network import Layer

MACS_TOLERANCE = 0.03
PARAMETERS_TOLERANCE = 0.025
_FLOAT_BYTES = 4

Verdict = Literal["agrees", "rounded", "differs"]


@dataclass(frozen=True)
class Cost:
    """Layers of a network, input first; a layer's `parameters` and `macs` are its own."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Numbers that the network stores, as Keras' `count_params` counts them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one picture."""
        return sum(layer.macs for layer in self.layers)


@dataclass(frozen=True)
class Comparison:
    """A published row beside the counts of the architecture.

    Attributes:
        published: The row.
        cost: Counts of the architecture.
        macs: Whether the multiply-adds agree.
        parameters: Whether the parameters agree.
        remark: Remark on a figure that differs; "" if all agree.
    """

    published: Published
    cost: Cost
    macs: Verdict
    parameters: Verdict
    remark: str


def cost(variant: Variant) -> Cost:
    """Counts a network from its architecture; nothing is built.

    Convolutions and matrix products count; batch norm folds away, and pooling, additions and activations are left out,
    as in the published tables.
    """
    return Cost(trace(variant))


def least_bytes(variant: Variant) -> int:
    """Bytes that the float model of a variant takes at least."""
    # Other heads leave out the classifier's last layers, which can be a third of it.
    parameters = cost(replace(variant, head=CLASSIFIER, output_stride=None)).parameters
    return _FLOAT_BYTES * (parameters if variant.head == CLASSIFIER else parameters // 2)


def standard_convolution(variant: Variant) -> Cost:
    """Counts the same network with standard convolutions instead of depthwise separable ones.

    A depthwise convolution of k x k and the pointwise one that closes it become one convolution of k x k between the
    same channels (https://arxiv.org/abs/1704.04861, section 3.1 and table 4). Expansions and shortcuts stay, and a
    squeeze-and-excite between the two weighs what goes into the convolution.
    """
    layers: list[Layer] = []
    depthwise: Layer | None = None
    for layer in trace(variant):
        if layer.kind == "depthwise":
            depthwise = layer
        elif depthwise is not None and layer.kind == "pointwise":
            merged = replace(depthwise, kind="conv", output_shape=layer.output_shape)
            layers.append(replace(merged, name=f"{depthwise.name} + {layer.name}"))
            depthwise = None
        else:
            layers.append(layer)
    return Cost(tuple(layers))


def published_comparisons(family: str | None = None) -> Iterator[Comparison]:
    """Counts every row of the published tables, or those of one family.

    Yields:
        Comparisons in the order of the tables.
    """
    for name in families.names() if family is None else (family,):
        for alpha, resolution in dict.fromkeys((row.alpha, row.resolution) for row in families.get(name).published):
            yield from compare(Variant(name, alpha, resolution))


def compare(variant: Variant) -> list[Comparison]:
    """Holds a network against the published rows of its width and resolution, which are of 1000 classes; maybe none."""
    counted = cost(replace(variant, classes=1000))
    rows = [
        row
        for row in family_of(variant).published
        if (row.alpha, row.resolution) == (variant.alpha, variant.resolution)
    ]
    return [_compare(row, counted, [other for other in rows if other is not row]) for row in rows]


def _compare(row: Published, counted: Cost, others: list[Published]) -> Comparison:
    macs = verdict(row.macs_millions, counted.macs / 1e6, MACS_TOLERANCE, row.macs_unit_millions)
    parameters = verdict(row.parameters_millions, counted.parameters / 1e6, PARAMETERS_TOLERANCE)
    remarks = []
    for what, found, printed, counts in (
        ("MACs", macs, row.macs_millions, counted.macs / 1e6),
        ("parameters", parameters, row.parameters_millions, counted.parameters / 1e6),
    ):
        if found != "agrees":
            reason = (
                "printed rounded or cut"
                if found == "rounded"
                else row.difference or "the architecture does not have what is printed"
            )
            remarks.append(f"{what}: {printed} M printed, {counts:.2f} M counted, {reason}")
    remarks += [
        f"MACs: {other.macs_millions} M in {other.source}"
        for other in others
        if abs(other.macs_millions - row.macs_millions) > 1
    ]
    return Comparison(row, counted, macs, parameters, "; ".join(remarks))


def verdict(printed: float, counted: float, tolerance: float, unit: float | None = None) -> Verdict:
    """Returns whether a printed figure is the counted one, within a tolerance or rounded or cut to its digits.

    Args:
        printed: The printed figure.
        counted: The counted one.
        tolerance: Largest relative difference that still agrees.
        unit: Value of one step of the last printed digit; None for that of `printed`.
    """
    if abs(counted - printed) <= tolerance * printed:
        return "agrees"
    if unit is None:
        exponent = Decimal(str(printed)).as_tuple().exponent
        assert isinstance(exponent, int)
        unit = 10.0**exponent
    steps = round(printed / unit)
    return "rounded" if steps in (round(counted / unit), math.floor(counted / unit)) else "differs"
