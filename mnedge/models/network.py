"""The layers of a network as plain values, and the tracer that the families' tables write them with.

No framework is loaded: what a network costs is arithmetic on its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["conv", "depthwise", "pointwise", "squeeze_excite", "fully_connected", "scale", "pool", "add"]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """A layer with its batch norm and activation, as a folded graph has it.

    Attributes:
        name: Name of the Keras layer.
        kind: Kind of the layer; only the first five kinds hold weights and multiply-adds.
        input_shape: Height, width, channels.
        output_shape: Height, width, channels.
        kernel: Side of the square kernel.
        stride: Step of the kernel in both directions.
        bias: Whether it adds a bias of its own.
        batch_norm: Whether a batch norm follows it.
    """

    name: str
    kind: Kind
    input_shape: Shape
    output_shape: Shape
    kernel: int = 1
    stride: int = 1
    bias: bool = False
    batch_norm: bool = False

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of the kernel in Keras' layout: HWIO, HWC1 for depthwise, (in, out) for fully connected."""
        channels_in, channels_out = self.input_shape[2], self.output_shape[2]
        if self.kind in ("conv", "pointwise", "squeeze_excite"):
            return (self.kernel, self.kernel, channels_in, channels_out)
        if self.kind == "depthwise":
            return (self.kernel, self.kernel, channels_in, 1)
        if self.kind == "fully_connected":
            return (channels_in, channels_out)
        return ()

    @property
    def parameters(self) -> int:
        """Numbers that it stores, as Keras counts them: kernel, bias, and four per channel of a batch norm."""
        return self._kernel_size + self.output_shape[2] * (self.bias + 4 * self.batch_norm)

    @property
    def macs(self) -> int:
        """Multiply-adds of the kernel for one picture; bias, batch norm and activation fold away."""
        return self._kernel_size * self.output_shape[0] * self.output_shape[1]

    @property
    def _kernel_size(self) -> int:
        size = 1 if self.kernel_shape else 0
        for extent in self.kernel_shape:
            size *= extent
        return size


@dataclass
class Network:
    """Layers written down one after the other.

    Attributes:
        shape: Height, width and channels of the next layer's input.
        layers: Layers so far.
    """

    shape: Shape
    layers: list[Layer] = field(default_factory=list)

    def conv(self, name: str, channels: int, kernel: int, stride: int = 1) -> None:
        """A standard convolution, "same" padding, with batch norm."""
        height, width, _ = self.shape
        shape = (-(-height // stride), -(-width // stride), channels)
        self._write(Layer(name, "conv", self.shape, shape, kernel, stride, batch_norm=True))

    def depthwise(self, name: str, kernel: int, stride: int = 1, *, round_up: bool = True) -> None:
        """A depthwise convolution with batch norm.

        Args:
            name: Name of the Keras layer.
            kernel: Side of the kernel.
            stride: Step of the kernel.
            round_up: Whether an odd side is halved upwards; V1 always pads the far side only and halves down.
        """
        height, width, channels = self.shape
        if round_up:
            height, width = height + stride - 1, width + stride - 1
        shape = (height // stride, width // stride, channels)
        self._write(Layer(name, "depthwise", self.shape, shape, kernel, stride, batch_norm=True))

    def pointwise(self, name: str, channels: int, *, bias: bool = False, batch_norm: bool = True) -> None:
        """A convolution of 1 x 1."""
        shape = (*self.shape[:2], channels)
        self._write(Layer(name, "pointwise", self.shape, shape, bias=bias, batch_norm=batch_norm))

    def squeeze_excite(self, prefix: str, channels: int) -> None:
        """Weighs the channels by a two-layer network on their means (https://arxiv.org/abs/1709.01507, eq. 3).

        Args:
            prefix: Beginning of the Keras names.
            channels: Width between the two layers.
        """
        means, narrow = (1, 1, self.shape[2]), (1, 1, channels)
        self.layers += [
            Layer(f"{prefix}avg_pool", "pool", self.shape, means),
            Layer(f"{prefix}conv", "squeeze_excite", means, narrow, bias=True),
            Layer(f"{prefix}conv_1", "squeeze_excite", narrow, means, bias=True),
            Layer(f"{prefix}mul", "scale", self.shape, self.shape),
        ]

    def pool(self, name: str) -> None:
        """The mean of each channel."""
        self._write(Layer(name, "pool", self.shape, (1, 1, self.shape[2])))

    def fully_connected(self, name: str, channels: int) -> None:
        """A matrix product with bias."""
        self._write(Layer(name, "fully_connected", self.shape, (1, 1, channels), bias=True))

    def add(self, name: str) -> None:
        """The shortcut of a residual block."""
        self._write(Layer(name, "add", self.shape, self.shape))

    def _write(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.output_shape


def round_to_eight(channels: float) -> int:
    """Rounds a width to a multiple of 8, at least 8 and never more than 10 % down, as the reference code does."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
