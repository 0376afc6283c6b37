"""Layers of other papers' networks beyond a MobileNet's: other padding, branches, a limit to the stride."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.models import families
from mnedge.models.network import Layer, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Padding = Literal["same", "valid", "ceil"]


@dataclass
class Tracer(Network):
    """Layers written down one after the other, for any convolutional network.

    Attributes:
        bias: Whether convolutions add a bias.
        batch_norm: Whether a batch norm follows each of them.
        output_stride: Input pixels per output pixel that are not exceeded: beyond it a stride becomes a dilation
            (atrous convolution, https://arxiv.org/abs/1606.00915, section 3.1); 0 for no limit.
        stride: Input pixels per pixel, so far.
    """

    bias: bool = True
    batch_norm: bool = False
    output_stride: int = 0
    stride: int = 1

    def convolve(
        self,
        name: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: Padding = "same",
        plain: bool = False,
    ) -> None:
        """A standard convolution.

        Args:
            name: Its name in the paper.
            channels: Channels of its output.
            kernel: Side of the kernel.
            stride: Step of the kernel, before the limit of `output_stride`.
            padding: "same", or "valid" for none.
            plain: Whether it has a bias and no batch norm, whatever the other layers have.
        """
        stride = self._limited(stride)
        shape = (*self._sides(kernel, stride, padding), channels)
        bias, batch_norm = (True, False) if plain else (self.bias, self.batch_norm)
        self._write(Layer(name, "conv", self.shape, shape, kernel, stride, bias=bias, batch_norm=batch_norm))

    def separable(self, name: str, channels: int, kernel: int = 3, stride: int = 1, *, plain: bool = False) -> None:
        """A depthwise convolution and the pointwise one that closes it; `plain` as for `convolve`."""
        self.depthwise(f"{name}_depthwise", kernel, stride)
        self.convolve(name, channels, plain=plain)

    def conv(self, name: str, channels: int, kernel: int, stride: int = 1) -> None:
        """A MobileNet's standard convolution, within the limit of the stride."""
        super().conv(name, channels, kernel, self._limited(stride))

    def depthwise(self, name: str, kernel: int, stride: int = 1, *, round_up: bool = True) -> None:
        """A MobileNet's depthwise convolution, within the limit of the stride.

        An odd side is always halved upwards: only Keras' V1 does otherwise, not the one that the papers measured.
        """
        del round_up
        super().depthwise(name, kernel, self._limited(stride))

    def halves(self, name: str, channels: int, kernel: int) -> None:
        """Two convolutions, each from one half of the channels to one half (AlexNet's two GPUs)."""
        height, width, channels_in = self.shape
        for half in ("upper", "lower"):
            self.shape = (height, width, channels_in // 2)
            self.convolve(f"{name}_{half}", channels // 2, kernel)
        self.shape = (*self.shape[:2], channels)

    def max_pool(self, name: str, kernel: int, stride: int, padding: Padding = "same") -> None:
        """The largest value in each window; "ceil" lets a last window reach over the edge, as Caffe does."""
        stride = self._limited(stride)
        shape = (*self._sides(kernel, stride, padding), self.shape[2])
        self._write(Layer(name, "pool", self.shape, shape, kernel, stride))

    def branches(self, *branches: Callable[[], None]) -> None:
        """Adds branches that start from the present map, and joins their channels."""
        start, stride, channels = self.shape, self.stride, 0
        for branch in branches:
            self.shape, self.stride = start, stride
            branch()
            channels += self.shape[2]
        self.shape = (*self.shape[:2], channels)

    def flatten(self) -> None:
        """Flattens the values into one row, for a fully connected layer."""
        self.shape = (1, 1, math.prod(self.shape))

    def take(self, layers: Iterable[Layer]) -> None:
        """Goes on after layers that another tracer wrote."""
        for layer in layers:
            self._write(layer)

    def _limited(self, stride: int) -> int:
        if self.output_stride and self.stride * stride > self.output_stride:
            return 1
        self.stride *= stride
        return stride

    def _sides(self, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
        height, width, _ = self.shape
        return _side(height, kernel, stride, padding), _side(width, kernel, stride, padding)


def backbone(family: str, alpha: float, resolution: int, last: str, *, output_stride: int = 0) -> list[Layer]:
    """The layers of a MobileNet up to the one named `last`."""
    net = Tracer((resolution, resolution, 3), output_stride=output_stride)
    families.get(family).trace(net, alpha, 1000)
    names = [layer.name for layer in net.layers]
    return net.layers[: names.index(last) + 1]


def _side(side: int, kernel: int, stride: int, padding: Padding) -> int:
    if padding == "same":
        return -(-side // stride)
    if padding == "valid":
        return (side - kernel) // stride + 1
    return -(-(side - kernel) // stride) + 1
