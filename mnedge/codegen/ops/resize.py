"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR on int8 and int16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import Whole
from mnedge.codegen.ops._one_scale import values_of_one_scale
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor

if TYPE_CHECKING:
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Resize(Whole):
    """Bilinear interpolation with 10 fractional bits, or the nearest pixel by index tables.

    Attributes:
        row_scale: Input rows an output row, times 1024.
        column_scale: Input columns an output column, times 1024.
        half_pixel: Whether pixel centres lie at halves.
        nearest: None, or the input row and column of each output row and column.
        input: The value it reads.
        output: The value it makes.
    """

    row_scale: int
    column_scale: int
    half_pixel: bool
    nearest: tuple[str, str] | None
    input: Value
    output: Value

    def macs(self) -> int:
        """See `Kernel`."""
        return 0 if self.nearest else 4 * self.output.size

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("resize_nearest",) if self.nearest else ("resize_bilinear",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        fields: dict[str, object] = {
            "input_rows": self.input.rows,
            "input_columns": self.input.columns,
            "output_rows": self.output.rows,
            "output_columns": self.output.columns,
            "channels": self.output.channels * (self.output.item_bytes if self.nearest else 1),
        }
        if self.nearest is None:
            fields |= {
                "row_scale": self.row_scale,
                "column_scale": self.column_scale,
                "half_pixel": int(self.half_pixel),
            }
            return descriptor("resize_bilinear", symbol, fields)
        rows, columns = self.nearest
        arrays = (
            f"static const int16_t {symbol}_rows[] = {{{rows}}};\n"
            f"static const int16_t {symbol}_columns[] = {{{columns}}};\n"
        )
        fields |= {"rows": f"{symbol}_rows", "columns": f"{symbol}_columns"}
        return arrays + descriptor("resize_nearest", symbol, fields)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        function = "resize_nearest" if self.nearest else f"resize_bilinear_{8 * self.output.item_bytes}"
        return f"{function}(&{site.symbol}, {site.inputs[0]}, {site.output});"


def lower_resize(source: Source, op: Op) -> Resize:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.

    Raises:
        UnsupportedError: The scale changes, which TFLite does not do either.
    """
    x, y = values_of_one_scale(source, op, "TFLite resizes within one scale")
    corners, half = bool(op.options.get("align_corners")), bool(op.options.get("half_pixel_centers"))
    extents = ((x.rows, y.rows), (x.columns, y.columns))
    scales = []
    for before, after in extents:
        if corners and after > 1:
            scales.append(((before - 1) * 1024 + (after - 1) // 2) // (after - 1))
        else:
            scales.append((before * 1024 + after // 2) // after)
    nearest = None
    if op.kind == "RESIZE_NEAREST_NEIGHBOR":
        tables = [_nearest(before, after, corners=corners, half=half) for before, after in extents]
        nearest = (tables[0], tables[1])
    return Resize(scales[0], scales[1], half, nearest, x, y)


def _nearest(before: int, after: int, *, corners: bool, half: bool) -> str:
    """The input index of each output index, as the runtime finds it in float32."""
    one = np.float32(1)
    scale = (
        np.float32(before - 1) / np.float32(after - 1)
        if corners and after > 1
        else np.float32(before) / np.float32(after)
    )
    positions = (np.arange(after, dtype=np.float32) + (np.float32(0.5) if half else np.float32(0))) * scale * one
    rounded = np.floor(positions + np.float32(0.5)) if corners else np.floor(positions)
    indices = np.clip(rounded, 0, before - 1).astype(int)
    return ", ".join(str(index) for index in indices)
