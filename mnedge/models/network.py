"""The layers of a network as plain values, and the tracer that the families' tables write them with.

No framework is loaded: what a network costs is arithmetic on its table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal[
    "conv", "depthwise", "pointwise", "squeeze_excite", "fully_connected", "norm", "product", "scale", "pool", "add"
]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """A layer with its batch norm and activation, as a folded graph has it.

    Attributes:
        name: Name of the Keras layer.
        kind: Kind of the layer; only the first five kinds have a kernel, "norm" is a batch norm that no kernel stands
            before, and "product" multiplies two activations, as attention does.
        input_shape: Height, width, channels.
        output_shape: Height, width, channels.
        kernel: Side of the square kernel.
        stride: Step of the kernel in both directions.
        bias: Whether it adds a bias of its own.
        batch_norm: Whether a batch norm follows it.
        length: Length of the sums of a product; 0 of all else.
        is_aside: Whether a shortcut around it keeps the map's side, whatever its stride.
    """

    name: str
    kind: Kind
    input_shape: Shape
    output_shape: Shape
    kernel: int = 1
    stride: int = 1
    bias: bool = False
    batch_norm: bool = False
    length: int = 0
    is_aside: bool = False

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
        """Multiply-adds for one picture; bias, batch norm behind a kernel and activation fold away."""
        if self.kind == "product":
            return math.prod(self.output_shape) * self.length
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

    def attention(self, name: str, heads: int, width: int, kernel: int, stride: int) -> None:
        """Multi-query attention (https://arxiv.org/abs/1911.02150, section 3) with a shortcut around it.

        Args:
            name: What the Keras names begin with.
            heads: Number of queries of a position; all heads share keys and values.
            width: Length of a query, a key and a value.
            kernel: Side of the depthwise kernel before keys and values.
            stride: Step of that kernel; there is none for 1.
        """
        whole = self.shape
        self._write(Layer(f"{name}_norm", "norm", whole, whole, batch_norm=True))
        self.pointwise(f"{name}_query", heads * width, batch_norm=False)
        queries, keys = self.shape, whole
        for part in ("key", "value"):
            self.shape = whole
            if stride > 1:
                self.depthwise(f"{name}_{part}_depthwise", kernel, stride)
                self.layers[-1] = replace(self.layers[-1], is_aside=True)
            self.pointwise(f"{name}_{part}", width, batch_norm=False)
            keys = self.shape
        scores = (*whole[:2], heads * keys[0] * keys[1])
        self.layers += [
            Layer(f"{name}_scores", "product", queries, scores, length=width),
            Layer(f"{name}_mix", "product", scores, queries, length=keys[0] * keys[1]),
        ]
        self.shape = queries
        self.pointwise(f"{name}_project", whole[2], batch_norm=False)
        self.add(f"{name}_add")

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
