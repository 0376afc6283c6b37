"""Variant: which network, by family, width and resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.models import heads
from mnedge.models._network import Layer, Network
from mnedge.models.mobilenet_v1 import V1
from mnedge.models.mobilenet_v2 import V2
from mnedge.models.mobilenet_v3 import V3_LARGE, V3_LARGE_MINIMALISTIC, V3_SMALL, V3_SMALL_MINIMALISTIC

if TYPE_CHECKING:
    from mnedge.models._family import Family

FAMILIES = {
    family.name: family for family in (V1, V2, V3_SMALL, V3_LARGE, V3_SMALL_MINIMALISTIC, V3_LARGE_MINIMALISTIC)
}

# Five halvings must leave one pixel.
MIN_RESOLUTION = 32

CLASSIFIER = "classifier"

# A .tflite is a flatbuffer, which ends at 2 GiB; the same goes for a tensor of it.
_MAX_FLOATS = 2**31 // 4


@dataclass(frozen=True)
class Variant:
    """A network that can be built.

    Attributes:
        family: Token of the command line: v1, v2, v3-small, v3-large or one of the two minimalistic ones.
        alpha: Width multiplier.
        resolution: Side of the square input in pixels.
        classes: Number of outputs; of a head of another task, what it tells apart.
        head: "classifier", or one of `mnedge.models.heads`.
        output_stride: Of the backbone's last map: 32 under a classifier; None for the head's own choice.

    Raises:
        InputError: No such family or head, or the family has no network of this width, resolution or class count.
    """

    family: str
    alpha: float = 1.0
    resolution: int = 224
    classes: int = 1000
    head: str = CLASSIFIER
    output_stride: int | None = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError.unknown("variant", self.family, FAMILIES)
        object.__setattr__(self, "alpha", float(self.alpha))
        strides = (32,) if self.head == CLASSIFIER else heads.get(self.head).output_strides
        object.__setattr__(self, "output_stride", strides[0] if self.output_stride is None else self.output_stride)
        if self.output_stride not in strides:
            raise InputError(
                f"output stride {self.output_stride} is none that {self.head} can stand on; it takes "
                f"{', '.join(str(stride) for stride in strides)}"
            )
        _check(self)

    @property
    def slug(self) -> str:
        """Name of its artifacts, e.g. mobilenet_v3_small_1.0_224 or lr_aspp_mobilenet_v2_0.35_224."""
        own = f"{family_of(self).slug}_{self.alpha}_{self.resolution}"
        return own if self.head == CLASSIFIER else f"{heads.get(self.head).slug}_{own}"


def family_of(variant: Variant) -> Family:
    """The table that the variant is a row of, or could be."""
    return FAMILIES[variant.family]


def classifier_of(variant: Variant) -> Variant:
    """The classifier on the backbone of a variant; where it finds one class only, of two."""
    return replace(variant, head=CLASSIFIER, output_stride=None, classes=max(2, variant.classes))


def trace(variant: Variant) -> tuple[Layer, ...]:
    """Writes down the layers of a classifier, input first, without building it."""
    network = Network((variant.resolution, variant.resolution, 3))
    family_of(variant).trace(network, variant.alpha, variant.classes)
    return tuple(network.layers)


def _check(variant: Variant) -> None:
    family = family_of(variant)
    widths = ", ".join(f"{alpha}" for alpha in family.alphas)
    if not (math.isfinite(variant.alpha) and variant.alpha > 0):
        raise InputError(f"alpha {variant.alpha} is not a width; {variant.family} is published with {widths}")
    if variant.family == "v1" and int(32 * variant.alpha) < 1:
        raise InputError(
            f"alpha {variant.alpha} leaves v1's first layer, of 32 channels, without any; "
            f"the smallest is {1 / 32}, published are {widths}"
        )
    if variant.resolution < MIN_RESOLUTION:
        sizes = ", ".join(f"{resolution}" for resolution in family.resolutions)
        raise InputError(
            f"resolution {variant.resolution} is too small: {variant.family} halves its input five times, so the "
            f"smallest is {MIN_RESOLUTION}; published are {sizes}"
        )
    least = 2 if variant.head == CLASSIFIER else heads.get(variant.head).least_classes
    if variant.classes < least:
        raise InputError(f"{variant.classes} classes cannot be told apart; give {least} or more")
    layers = trace(variant)
    if sum(layer.parameters for layer in layers) > _MAX_FLOATS:
        raise InputError(
            f"{variant.family} with alpha {variant.alpha} and {variant.classes} classes has more weights than a model "
            f"file can hold (2 GiB); {variant.family} is published with alpha {widths}"
        )
    if max(math.prod(layer.output_shape) for layer in layers) > _MAX_FLOATS:
        raise InputError(
            f"resolution {variant.resolution} needs a tensor of more than 2 GiB; published are "
            f"{', '.join(f'{resolution}' for resolution in family.resolutions)}"
        )
