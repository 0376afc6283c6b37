"""The frame of convolutions: where they read, how many multiply-adds they take, and in which runs they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from mnedge.codegen.ops._forms import Plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnedge.codegen.ops.window import Window
    from mnedge.codegen.program import Value


class Requantization(Protocol):
    """From the sums of a layer to steps of its output."""

    @property
    def bias(self) -> NDArray[np.int64]:
        """Bias of each output channel, int64, (channels,)."""
        ...


@dataclass(frozen=True, eq=False)
class Windowed(Plain):
    """A dense or depthwise convolution; a fully connected layer is one over rows of its input.

    Attributes:
        depthwise: Whether each output channel reads one input channel.
        weights: int8 as int64; dense OHWI, depthwise HWC with C = input channels * multiplier.
        window: Access pattern.
        rescale: From sums to steps.
        input: The value it reads.
        output: The value it makes.
        input_channels: Input channels; of a fully connected layer the length of a row of weights.
        is_flat: Whether it is a fully connected layer, computed in one call.
    """

    depthwise: bool
    weights: NDArray[np.int64]
    window: Window
    rescale: Requantization
    input: Value
    output: Value
    input_channels: int
    is_flat: bool = False

    @property
    def form(self) -> Literal["window", "pixels", "whole"]:
        """A dense pointwise convolution takes any run of pixels."""
        if self.is_flat:
            return "whole"
        return "pixels" if self.is_pointwise and not self.depthwise else "window"

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel reads the one input pixel at its own place, and each has one."""
        seen, made = self.input, self.output
        return self.window.is_pointwise and (self.is_flat or (seen.rows, seen.columns) == (made.rows, made.columns))

    @property
    def output_channels(self) -> int:
        """Output channels."""
        return int(self.rescale.bias.size)

    @property
    def pixels(self) -> int:
        """Output pixels."""
        return self.output.size // self.output_channels

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        del index
        return self.window.input_rows(row)

    def takes_whole(self, index: int) -> bool:
        """See `Kernel`."""
        del index
        return self.is_flat

    def macs(self) -> int:
        """Multiply-adds of the whole layer."""
        taps = self.window.rows * self.window.columns * (1 if self.depthwise else self.input_channels)
        return self.output.size * taps
