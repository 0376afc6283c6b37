"""Family: what the networks of one name have in common: rows, layers, Keras builder, published weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras
    import numpy as np
    from numpy.typing import NDArray

    from mnedge.models.families._pytorch import PyTorch
    from mnedge.models.network import Network


@dataclass(frozen=True)
class Published:
    """A row of a published table.

    Attributes:
        alpha: Width multiplier.
        resolution: Side of the input in pixels.
        macs_millions: Multiply-adds as printed.
        parameters_millions: Parameters as printed.
        top1: ImageNet top-1 of the float network as printed, 0..1; None if there are no weights.
        source: Source of the figures.
        macs_unit_millions: Value of the last printed digit of the multiply-adds, e.g. 10 for 0.19 G; None for
            the last digit of `macs_millions`.
        difference: Reason why the source's figures differ from the architecture, for remarks; "" if no reason is known.
    """

    alpha: float
    resolution: int
    macs_millions: float
    parameters_millions: float
    top1: float | None
    source: str
    macs_unit_millions: float | None = None
    difference: str = ""


class Build(Protocol):
    """Builds the layers of a family in Keras."""

    def __call__(self, image: keras.KerasTensor, alpha: float, classes: int | None) -> keras.KerasTensor:
        """Puts a network on an image.

        Args:
            image: Keras tensor, float32 (1, H, W, 3), in [-1, 1].
            alpha: Width multiplier.
            classes: Number of classes; None for the network without its classifier.

        Returns:
            A Keras tensor: the softmax of the classes, float32 (1, classes), or the last feature map, float32
            (1, H / stride, W / stride, channels). Layers have fixed names, the same with and without the classifier.
        """


@dataclass(frozen=True)
class Imagenet:
    """Published ImageNet weights of a family: one file for each row of its table.

    Attributes:
        file: Name of the file of (alpha, resolution, whether with the classifier).
        load: Arrays of a file, in the order of the built network's weights; takes the name of the file and what `file`
            takes. Raises InputError if the file cannot be had; the message says where to put it.
    """

    file: Callable[[float, int, bool], str]
    load: Callable[[str, float, int, bool], list[NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class Family:
    """A family token of the command line.

    Attributes:
        name: The token, e.g. "v3-small".
        title: The name in tables and plots, e.g. "MobileNet V3-Small".
        slug: The start of its artifacts' names, e.g. "mobilenet_v3_small".
        published: Rows of the published tables, widest and largest first; at least one.
        trace: Writes down the layers of (network, alpha, classes), named and shaped as the Keras layers; the network
            holds the shape of the input.
        build: The Keras builder.
        imagenet: Published ImageNet weights; None if there are none.
        stride: Stride of the last feature map, a power of two; also the smallest side of an input, in pixels.
        least_alpha: The smallest width at which every layer has a channel; 0 if the widths are rounded up.
        pytorch: Libraries of PyTorch whose weights of this family are read, and how they name its layers.
        ops_without_c: Kinds of its ops that generated C has no kernel for.
        demos: Packaged demo checkpoints, names of files beside `mnedge/models/build.py`, by (alpha, resolution).
    """

    name: str
    title: str
    slug: str
    published: tuple[Published, ...]
    trace: Callable[[Network, float, int], None]
    build: Build
    imagenet: Imagenet | None = None
    stride: int = 32
    least_alpha: float = 0.0
    pytorch: tuple[PyTorch, ...] = ()
    ops_without_c: tuple[str, ...] = ()
    demos: Mapping[tuple[float, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.published:
            raise ValueError(f"family {self.name} has no row; its widths and resolutions come from its rows")

    @property
    def alphas(self) -> tuple[float, ...]:
        """The published widths, ascending."""
        return tuple(sorted({row.alpha for row in self.published}))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The published resolutions in pixels, ascending."""
        return tuple(sorted({row.resolution for row in self.published}))

    @property
    def imagenet_alphas(self) -> tuple[float, ...]:
        """The widths with published ImageNet weights, ascending."""
        return () if self.imagenet is None else self.alphas
