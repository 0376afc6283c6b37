"""Family: what the networks of one name have in common, as data. One file per generation beside this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnedge.models._network import Network


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        alpha: Width multiplier.
        resolution: Side of the input in pixels.
        macs_millions: Multiply-adds as printed.
        parameters_millions: Parameters as printed.
        top1: ImageNet top-1 of the float network as printed, 0..1.
        source: Who printed it.
    """

    alpha: float
    resolution: int
    macs_millions: float
    parameters_millions: float
    top1: float
    source: str


@dataclass(frozen=True)
class Family:
    """One family token of the command line.

    Attributes:
        name: The token, e.g. "v3-small".
        slug: How its artifacts are called, e.g. "mobilenet_v3_small".
        trace: Writes the layers of (network, alpha, classes) down; the network holds the input's shape.
        published: Rows of the published tables, widest and largest first.
        keras_name: Its builder in keras.applications.
        keras_arguments: What the builder needs besides alpha, classes and input.
        imagenet_file: Name of the file that Keras downloads, of (alpha, resolution).
    """

    name: str
    slug: str
    trace: Callable[[Network, float, int], None]
    published: tuple[Published, ...]
    keras_name: str
    imagenet_file: Callable[[float, int], str]
    keras_arguments: Mapping[str, bool] = field(default_factory=dict)

    @property
    def alphas(self) -> tuple[float, ...]:
        """The published widths, ascending."""
        return tuple(sorted({row.alpha for row in self.published}))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The published resolutions in pixels, ascending."""
        return tuple(sorted({row.resolution for row in self.published}))
