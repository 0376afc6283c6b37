"""Methods that most kernels share, by how their output depends on their inputs; see `Kernel` for each method."""

from __future__ import annotations

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
