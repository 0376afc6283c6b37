"""Weights in the order in which the fast kernels read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.program import int_array
from mnedge.graph.arithmetic import clamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.codegen.ops.rescale import Rescale
    from mnedge.codegen.program import KernelSet

# An output pixel more saves so much that weights are worth twice the flash.
_WIDE_PIXELS = 32
# Bytes of a Helium register: so many input channels the kernel takes that keeps four pixels there.
MOST_SHALLOW = 16
DEPTHWISE_LANES = {"portable": 1, "dsp": 4, "mve": 8}
_DSP_ORDER = (0, 2, 1, 3)
_DSP_DEPTHS = (12, 28)
# The zero point, shifted to the left by so much, and a product of 2^30 fit 32 bits.
_MOST_SHIFT_UP = 22


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def fours(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Dense weights OHWI, flattened: of each four output channels side by side, those of the rest behind them."""
    matrix = weights.reshape(weights.shape[0], -1)
    whole = matrix.shape[0] // 4 * 4
    side_by_side = matrix[:whole].reshape(-1, 4, matrix.shape[1]).transpose(0, 2, 1)
    return np.concatenate([side_by_side.ravel(), matrix[whole:].ravel()])


def pointwise_scratch_bytes(kernels: KernelSet, depth: int, channels: int, *, patches: bool, round_once: bool) -> int:
    """Scratch of a fast pointwise kernel over `depth` input channels, or over patches of `depth` bytes."""
    if kernels == "mve":
        # Two patches, and two pixels of channels that do not come in fours.
        return (_up(2 * depth, 8) if patches else 0) + (2 * _up(channels, 4) if channels % 4 else 0)
    # Patches, pixels widened to 16 bits, and pixels of odd channels, each as many as are computed at a time.
    pixels = 1 if round_once else 3
    filled = _dsp_depth(depth, round_once=round_once)
    per_pixel = (filled if patches else 0) + 2 * filled + (channels + 1 if channels % 2 else 0)
    return pixels * per_pixel


def table_of(rescale: Rescale, symbol: str) -> tuple[str, str]:
    """The array of a layer's table, and the expression that points at it; "" and "NULL" where it needs none.

    Limits other than -128 and 127 become a table, so that kernels only ever saturate.
    """
    steps = np.arange(-128, 128)
    limited = clamp(steps, rescale.low, rescale.high)
    table = limited if rescale.table is None else rescale.table[limited + 128]
    if (table == steps).all():
        return "", "NULL"
    return int_array("int8_t", f"{symbol}_table", table), f"{symbol}_table"


def right_shifts(rescale: Rescale) -> NDArray[np.int64]:
    """Shifts to the right, 1 to 31; a multiplier of 0 has none of its own, and keeps its 0 under any."""
    return np.where(rescale.multiplier == 0, 1, -rescale.shift)


def rounds_up(rescale: Rescale) -> bool:
    """Whether ties may go up, not away from zero: they differ below the zero point alone, which limits cut off."""
    return rescale.low >= rescale.zero_point


def pointwise(
    weights: NDArray[np.int64],
    rescale: Rescale,
    kernels: KernelSet,
    symbol: str,
    pixels: int = 1,
    *,
    is_int4: bool = False,
) -> tuple[str, dict[str, object]]:
    """Arrays and descriptor fields of a dense kernel.

    Args:
        weights: OHWI.
        rescale: From sums to steps; of 4-bit weights one that rounds once.
        kernels: "dsp" or "mve".
        symbol: Name of the descriptor.
        pixels: Output pixels; of many, weights are packed for speed.
        is_int4: Whether two weights are packed into a byte.
    """
    if kernels == "mve":
        return _mve_pointwise(weights, rescale, symbol, is_int4=is_int4)
    channels = weights.shape[0]
    matrix = weights.reshape(channels, -1)
    depth, even = _dsp_depth(matrix.shape[1], round_once=rescale.round_once), _up(channels, 2)
    padded = np.zeros((even, depth), np.int64)
    padded[:channels, : matrix.shape[1]] = matrix
    extra = (0, even - channels)
    fours = padded.reshape(even // 2, 2, depth // 4, 4)
    is_wide = pixels >= _WIDE_PIXELS and not rescale.round_once
    shifts = right_shifts(rescale)
    up = rounds_up(rescale) and int(shifts.max()) <= _MOST_SHIFT_UP and not rescale.round_once
    # As int16 pairs of input channels 1 3 of either channel, then 0 2.
    lanes = fours[..., ((1, 3), (0, 2))].transpose(0, 2, 3, 1, 4) if is_wide else fours.transpose(0, 2, 1, 3)
    records = [
        np.pad(2 * rescale.bias, extra).reshape(-1, 2),
        words(2 * lanes.reshape(even // 2, -1), 16)
        if is_wide
        else _weight_words(lanes.reshape(even // 2, -1), 1, is_int4),
        np.pad(rescale.multiplier, extra).reshape(-1, 2),
        *([np.pad(_halves(rescale, shifts), extra).reshape(-1, 2)] if up else []),
        np.pad(shifts, extra, constant_values=1).reshape(-1, 2),
    ]
    wide, rounding = "_wide" if is_wide else "", "_up" if up else ""
    turn = depth // 4 if depth in _DSP_DEPTHS else 8 if depth % 32 == 0 else 4 if depth % 16 == 0 else 2
    form = wide + (f"_{turn}" if turn != 2 else "") + rounding
    one = "_once" if rescale.round_once else wide + ("_odd" if depth % 8 else "") + rounding
    shape: dict[str, object] = {
        "three_pixels": f"dsp_three_pixels{form}",
        "one_pixel": f"dsp_one_pixel{one}",
        "depth": depth,
        "input_channels": matrix.shape[1],
        "output_channels": channels,
    }
    arrays, fields = _dense_arrays(records, rescale, symbol, shape)
    return arrays, {**fields, "round_once": int(rescale.round_once), "times": 1 if is_wide else 2}


def _dsp_depth(depth: int, *, round_once: bool) -> int:
    """Input channels as the kernels take them: in eights, or those of a window of 3 x 3 over 1 or 3 channels."""
    return _up(depth, 4) if _up(depth, 4) in _DSP_DEPTHS and not round_once else _up(depth, 8)


def depthwise(
    weights: NDArray[np.int64], rescale: Rescale, kernels: KernelSet, symbol: str
) -> tuple[str, dict[str, object]]:
    """Arrays and descriptor fields of a depthwise kernel; weights HWC."""
    if kernels == "mve":
        return _mve_depthwise(weights, rescale, symbol)
    blocks = _blocks(weights.shape[2], 4)
    taps = 2 * weights.reshape(-1, weights.shape[2])[:, blocks].transpose(1, 0, 2)
    count = taps.shape[1]
    pairs = taps[:, : count // 2 * 2].reshape(len(blocks), count // 2, 2, 4).transpose(0, 1, 3, 2)
    last = taps[:, count // 2 * 2 :][:, :, _DSP_ORDER]
    form = "odd_taps" if count % 2 else "even_taps"
    form += "_nine" if count == 9 else "_eights" if count % 8 == 1 else ""
    shifts = right_shifts(rescale)
    up = rounds_up(rescale) and int(shifts.max()) <= _MOST_SHIFT_UP
    records = [
        2 * rescale.bias[blocks],
        words(pairs.reshape(len(blocks), -1), 16),
        words(last.reshape(len(blocks), -1), 16),
        rescale.multiplier[blocks],
        *([_halves(rescale, shifts)[blocks], shifts[blocks]] if up else [words(shifts[blocks], 8)]),
    ]
    packed = np.concatenate(records, axis=1)
    table, pointer = table_of(rescale, symbol)
    fields: dict[str, object] = {
        "packed": f"{symbol}_packed",
        "channels": f"dsp_{form}{'_up' if up else ''}",
        "table": pointer,
        "zero_point": rescale.zero_point,
        "words": packed.shape[1],
    }
    return table + word_array(f"{symbol}_packed", packed), fields


def _halves(rescale: Rescale, shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(zero_point + 1/2) * 2^shift: what makes a shift to the right round and add the zero point."""
    halves: NDArray[np.int64] = (2 * rescale.zero_point + 1) << (shifts - 1)
    return halves


def _blocks(channels: int, lanes: int) -> NDArray[np.int64]:
    """The channels of each block, shape (blocks, lanes); the last block ends at the last channel, and may overlap."""
    firsts = np.minimum(np.arange(0, channels, lanes), channels - lanes)
    return firsts[:, None] + np.arange(lanes)


def _mve_pointwise(
    weights: NDArray[np.int64], rescale: Rescale, symbol: str, *, is_int4: bool
) -> tuple[str, dict[str, object]]:
    channels = weights.shape[0]
    matrix = weights.reshape(channels, -1)
    depth, whole = matrix.shape[1], _up(channels, 4)
    extra = (0, whole - channels)
    filled = _up(depth, 16)
    fours = np.pad(matrix, (extra, (0, filled - depth))).reshape(whole // 4, 4, filled // 16, 16)
    lanes = fours.transpose(0, 2, 1, 3).reshape(whole // 4, -1)
    records = [
        np.pad(rescale.bias, extra).reshape(-1, 4),
        _weight_words(lanes, 4, is_int4),
        np.pad(rescale.multiplier, extra).reshape(-1, 4),
        words(-np.pad(right_shifts(rescale), extra, constant_values=1).reshape(-1, 4), 8),
    ]
    tiles = "_once" if rescale.round_once else "_up" if rounds_up(rescale) else ""
    tiles += ("_16" if depth % 16 == 0 else "_rest" if depth < 16 else "") + (
        "_table" if table_of(rescale, symbol)[0] else ""
    )
    shape = {"tiles": f"mve_tiles{tiles}", "input_channels": depth, "output_channels": channels}
    return _dense_arrays(records, rescale, symbol, shape)


def shallow(weights: NDArray[np.int64], rescale: Rescale, symbol: str) -> tuple[str, dict[str, object]]:
    """Arrays and descriptor fields of the dense Helium kernel of at most 16 input channels; weights OHWI."""
    channels = weights.shape[0]
    matrix = weights.reshape(channels, -1)
    lanes = np.pad(matrix, ((0, 0), (0, MOST_SHALLOW - matrix.shape[1]))).reshape(channels // 2, -1)
    records = [
        words(lanes, 8),
        rescale.bias.reshape(-1, 2),
        rescale.multiplier.reshape(-1, 2),
        -right_shifts(rescale).reshape(-1, 2),
    ]
    table, pointer = table_of(rescale, symbol)
    form = ("_table" if table else "") + ("_up" if rounds_up(rescale) else "")
    fields: dict[str, object] = {
        "packed": f"{symbol}_packed",
        "four": f"mve_shallow_pixels{form}",
        "table": pointer,
        "input_channels": matrix.shape[1],
        "output_channels": channels,
        "zero_point": rescale.zero_point,
    }
    return table + word_array(f"{symbol}_packed", np.concatenate(records, axis=1)), fields


# Widening 16 to 32 bits takes even and odd lanes apart.
_MVE_ORDERS = {8: (0, 2, 4, 6, 1, 3, 5, 7), 16: (0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15)}


def _mve_depthwise(weights: NDArray[np.int64], rescale: Rescale, symbol: str) -> tuple[str, dict[str, object]]:
    flat = weights.reshape(-1, weights.shape[2])
    parts, records, size = [], [], 0
    for first, lanes, count in _mve_parts(weights.shape[2]):
        blocks = first + np.arange(lanes * count).reshape(count, lanes)
        ordered = blocks[:, _MVE_ORDERS[lanes]]
        packed = np.concatenate(
            [
                rescale.bias[ordered],
                words(flat[:, blocks].transpose(1, 0, 2).reshape(count, -1), 8),
                rescale.multiplier[ordered],
                words(-right_shifts(rescale)[ordered], 8),
            ],
            axis=1,
        )
        form = ("_16" if lanes == 16 else "") + ("_up" if rounds_up(rescale) else "")
        functions = f"mve_nine_taps{form}, mve_any_taps{form}"
        parts.append(f"{{{functions}, {symbol}_packed + {size}, {first}, {count}, {lanes}}}")
        records.append(packed.ravel())
        size += packed.size
    parts += ["{NULL, NULL, NULL, 0, 0, 0}"] * (2 - len(parts))
    table, pointer = table_of(rescale, symbol)
    fields: dict[str, object] = {
        "parts": "{" + ", ".join(parts) + "}", "table": pointer, "zero_point": rescale.zero_point
    }  # fmt: skip
    return table + word_array(f"{symbol}_packed", np.concatenate(records)), fields


def _mve_parts(channels: int) -> list[tuple[int, int, int]]:
    """The first channel, the lanes of a block and the blocks of at most two parts, which may overlap at their ends."""
    lanes = 16 if channels >= 16 else 8
    rest = channels % lanes
    whole = [(0, lanes, channels // lanes)]
    if not rest:
        return whole
    last = 8 if rest <= 8 else 16
    return [*whole, (channels - last, last, 1)]


def _dense_arrays(
    records: Sequence[NDArray[np.int64]], rescale: Rescale, symbol: str, shape: Mapping[str, object]
) -> tuple[str, dict[str, object]]:
    """Arrays and descriptor fields of a dense kernel, `shape` among them; a row of the records a block of channels."""
    packed = np.concatenate(records, axis=1)
    table, pointer = table_of(rescale, symbol)
    fields = {
        "packed": f"{symbol}_packed",
        "packed_end": f"{symbol}_packed + {packed.size}",
        **{name: value for name, value in shape.items() if isinstance(value, str)},
        "table": pointer,
        **{name: value for name, value in shape.items() if not isinstance(value, str)},
        "zero_point": rescale.zero_point,
    }
    return table + word_array(f"{symbol}_packed", packed), fields


def words(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Packs signed values of 8 or 16 bits into 32-bit words along the last axis, the first one in the low bits."""
    lanes = 32 // bits
    grouped = (values & ((1 << bits) - 1)).reshape(*values.shape[:-1], -1, lanes)
    packed: NDArray[np.int64] = (grouped << (np.arange(lanes) * bits)).sum(axis=-1)
    return packed


def _weight_words(weights: NDArray[np.int64], group: int, is_int4: bool) -> NDArray[np.int64]:
    """Weights as words of bytes; or plus 8 in their halves, those of a group of words low, those of the next high."""
    if not is_int4:
        return words(weights, 8)
    pairs = words(weights + 8, 8).reshape(len(weights), -1, 2, group)
    packed: NDArray[np.int64] = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(len(weights), -1)
    return packed


def int4_fours(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Dense weights OHWI plus 8, two in a byte: of each four output channels side by side, filled up with zeros."""
    matrix = weights.reshape(weights.shape[0], -1)
    padded = np.pad(matrix, ((0, -len(matrix) % 4), (0, 0))) + 8
    pairs = padded.reshape(-1, 2, 2, matrix.shape[1])
    packed: NDArray[np.int64] = (pairs[:, :, 0] | pairs[:, :, 1] << 4).transpose(0, 2, 1)
    return packed


def word_array(symbol: str, values: NDArray[np.int64]) -> str:
    """A const array of 32-bit words in C."""
    flat = [f"0x{int(value) & 0xFFFFFFFF:08X}" for value in values.ravel()]
    lines = [", ".join(flat[start : start + 8]) for start in range(0, len(flat), 8)]
    body = ",\n    ".join(lines)
    return f"static const uint32_t {symbol}[{len(flat)}] = {{\n    {body}\n}};\n"
