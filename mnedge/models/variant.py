"""Variant: which network, by family, width and resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mnedge.errors import InputError, UnsupportedError
from mnedge.models import families, heads
from mnedge.models.network import Layer, Network

if TYPE_CHECKING:
    from mnedge.models.families import Family

CLASSIFIER = "classifier"

# A .tflite is a flatbuffer, which ends at 2 GiB; the same goes for a tensor of it.
_MAX_FLOATS = 2**31 // 4


@dataclass(frozen=True)
class Variant:
    """A network that can be built.

    Attributes:
        family: Token of the command line, e.g. "v3-small"; `mnedge variants` lists them.
        alpha: Width multiplier.
        resolution: Side of the square input in pixels.
        classes: Number of outputs; of a head of another task, what it tells apart.
        head: "classifier", or one of `mnedge.models.heads`.
        output_stride: Stride of the backbone's last map: the family's under a classifier; None for the head's default.

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
        strides = _strides(self)
        object.__setattr__(self, "alpha", float(self.alpha))
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
    return families.get(variant.family)


def classifier_of(variant: Variant) -> Variant:
    """The classifier on the backbone of a variant; where it finds one class only, of two."""
    return replace(variant, head=CLASSIFIER, output_stride=None, classes=max(2, variant.classes))


def trace(variant: Variant) -> tuple[Layer, ...]:
    """Writes down the layers of a classifier, input first, without building it."""
    network = Network((variant.resolution, variant.resolution, 3))
    family_of(variant).trace(network, variant.alpha, variant.classes)
    return tuple(network.layers)


def sides_by_stride(variant: Variant) -> dict[int, tuple[int, int]]:
    """Height and width, in pixels, of the backbone's deepest map at each stride, at full depth."""
    sides, stride = {}, 1
    for layer in trace(variant):
        if layer.stride > 1 and not layer.is_aside:
            sides[stride] = layer.input_shape[:2]
            stride *= layer.stride
            sides[stride] = layer.output_shape[:2]
    return sides


def check_compiles(variant: Variant, target: str) -> None:
    """Makes sure that a target that C is generated for has kernels for every op of a network.

    Raises:
        UnsupportedError: It has not; nothing was built yet.
    """
    from mnedge import targets

    missing = family_of(variant).ops_without_c
    if missing and targets.get(target).kernels:
        able = ", ".join(name for name, family in families.by_name().items() if not family.ops_without_c)
        raise UnsupportedError(
            f"{variant.family} has {', '.join(missing)}, which no C kernel exists for, and {target} runs C; take "
            f"one of {able}, or the target cpu"
        )


def _strides(variant: Variant) -> tuple[int, ...]:
    """Strides of the last map that the variant's head can stand on, the default first."""
    own = family_of(variant).stride
    if variant.head == CLASSIFIER or not heads.get(variant.head).output_strides:
        return (own,)
    wanted = heads.get(variant.head).output_strides
    found = tuple(stride for stride in wanted if stride <= own)
    if not found:
        raise InputError(
            f"{variant.head} needs a last map with a stride of {min(wanted)}, and {variant.family} ends at {own}; "
            "take another family or head"
        )
    return found


def _check(variant: Variant) -> None:
    family = family_of(variant)
    widths = ", ".join(f"{alpha}" for alpha in family.alphas)
    if not (math.isfinite(variant.alpha) and variant.alpha > 0):
        raise InputError(f"alpha {variant.alpha} is not a width; {variant.family} is published with {widths}")
    if variant.alpha < family.least_alpha:
        raise InputError(
            f"alpha {variant.alpha} leaves a layer of {variant.family} without channels; "
            f"the smallest is {family.least_alpha}, published are {widths}"
        )
    if variant.resolution < family.stride:
        sizes = ", ".join(f"{resolution}" for resolution in family.resolutions)
        raise InputError(
            f"resolution {variant.resolution} is too small: the last map of {variant.family} has a stride of "
            f"{family.stride}, so the smallest is {family.stride}; published are {sizes}"
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
