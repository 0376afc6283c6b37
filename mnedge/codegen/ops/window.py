"""Windows of convolutions and pools: extents, strides, dilations and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.codegen.program import Value
    from mnedge.graph.graph import Op


@dataclass(frozen=True)
class Window:
    """Window of a kernel: extents, strides, dilations and the padding before the first row and column."""

    rows: int = 1
    columns: int = 1
    stride_rows: int = 1
    stride_columns: int = 1
    dilation_rows: int = 1
    dilation_columns: int = 1
    pad_top: int = 0
    pad_left: int = 0

    def input_rows(self, row: int) -> tuple[int, int]:
        """First input row and one past the last under output row `row`; may lie outside the input."""
        first = row * self.stride_rows - self.pad_top
        return first, first + (self.rows - 1) * self.dilation_rows + 1

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel reads the one input pixel at its own place."""
        return self == Window()


def window_of(op: Op, x: Value, rows: int, columns: int, padding: tuple[int, int] = (0, 0)) -> Window:
    """The window of an op over a value.

    Args:
        op: Has padding, strides and perhaps dilations.
        x: What it reads.
        rows: Taps in a column of the window.
        columns: Taps in a row of the window.
        padding: Rows above and columns left that a PAD in front adds.
    """
    geometry = []
    for letter, extent, taps, before in (("h", x.rows, rows, padding[0]), ("w", x.columns, columns, padding[1])):
        stride, dilation = int(op.options.get(f"stride_{letter}", 1)), _dilation(op, letter)
        added = 0
        if op.options.get("padding") == "SAME":
            wanted = (-(-extent // stride) - 1) * stride + (taps - 1) * dilation + 1 - extent
            added = max(wanted, 0) // 2
        geometry.append((stride, dilation, before + added))
    (stride_h, dilation_h, top), (stride_w, dilation_w, left) = geometry
    return Window(rows, columns, stride_h, stride_w, dilation_h, dilation_w, top, left)


def _dilation(op: Op, letter: str) -> int:
    """The dilation along "h" or "w", under either spelling of its option."""
    names = (f"dilation_{letter}_factor", f"dilation_{letter}Factor")
    return next((int(op.options[name]) for name in names if op.options.get(name)), 1)
