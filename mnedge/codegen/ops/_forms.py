"""Methods that most kernels share, by how their output depends on their inputs; see `Kernel` for each method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mnedge.codegen.program import KernelSet

# More than any value has.
ALL_ROWS = 1 << 30


class Plain:
    """A kernel without scratch memory, multiply-adds and constants."""

    in_place: bool = False

    def takes_whole(self, index: int) -> bool:
        """See `Kernel`."""
        del index
        return False

    def reads_twice(self, kernels: KernelSet) -> bool:
        """See `Kernel`."""
        del kernels
        return False

    def scratch_bytes(self, kernels: KernelSet) -> int:
        """See `Kernel`."""
        del kernels
        return 0

    def macs(self) -> int:
        """See `Kernel`."""
        return 0

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del symbol, kernels
        return ""


class Windowed(Plain):
    """An output row needs a window of input rows; which, the kernel says."""

    form: Literal["window", "pixels", "whole"] = "window"


class PixelByPixel(Plain):
    """An output row needs the same row of the input, and its elements may take the input's place."""

    form: Literal["window", "pixels", "whole"] = "pixels"
    in_place: bool = True

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        del index
        return row, row + 1


class Whole(Plain):
    """Any output element may need any input element."""

    form: Literal["window", "pixels", "whole"] = "whole"

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        del row, index
        return 0, ALL_ROWS

    def takes_whole(self, index: int) -> bool:
        """See `Kernel`."""
        del index
        return True


class InPasses(Plain, ABC):
    """Passes over the output, row by row where `by_pixel` says so; the output lies apart from the inputs."""

    @property
    @abstractmethod
    def by_pixel(self) -> bool:
        """Whether an output pixel needs the same pixel of each input alone."""

    @property
    def form(self) -> Literal["window", "pixels", "whole"]:
        """See `Kernel`."""
        return "pixels" if self.by_pixel else "whole"

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        del index
        return (row, row + 1) if self.by_pixel else (0, ALL_ROWS)

    def takes_whole(self, index: int) -> bool:
        """See `Kernel`."""
        del index
        return not self.by_pixel

    def reads_twice(self, kernels: KernelSet) -> bool:
        """See `Kernel`."""
        del kernels
        return True
