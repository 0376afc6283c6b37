"""Head: what makes a task's outputs from a backbone's feature maps, as data and one builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from mnedge.models.features import Features


@dataclass(frozen=True)
class Head:
    """A head.

    Attributes:
        slug: Prefix of the artifacts' names.
        output_strides: Strides of the backbone's last map that it can stand on, the default first. Where the backbone
            would go further down it keeps the resolution and spreads its kernels (atrous convolution). () if it stands
            on the backbone's own last map, whatever its stride.
        build: Builds the outputs, Keras tensors with batch 1, by name, from (feature maps, classes, alpha).
        least_classes: Fewest classes that it can learn: to find one kind of object is enough, to tell apart takes two.
    """

    slug: str
    output_strides: tuple[int, ...]
    build: Callable[[Features, int, float], dict[str, keras.KerasTensor]]
    least_classes: int = 2
