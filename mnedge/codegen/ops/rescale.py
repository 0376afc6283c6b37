"""Rescale: from the accumulators of a layer to its int8 outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.arithmetic import clamp, multiply, multiply_once

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rescale:
    """From the accumulator of each output channel to int8, with the input's zero point already in the bias.

    Attributes:
        bias: int64 that fits int32, shape (channels,).
        multiplier: 0 or [2^30, 2^31), shape (channels,).
        shift: TFLite's sign: above 0 to the left; shape (channels,).
        zero_point: Zero point of the output.
        low: Smallest output step.
        high: Largest output step.
        table: None, or the 256 steps that replace the steps -128 … 127 when they are stored.
        round_once: Whether the multiplication and the shift round together, as in LiteRT's FULLY_CONNECTED.
    """

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    zero_point: int
    low: int
    high: int
    table: NDArray[np.int64] | None = None
    round_once: bool = False

    def steps(self, sums: NDArray[np.int64]) -> NDArray[np.int64]:
        """Output steps of sums without the bias, the channels in the last axis."""
        rounded = (multiply_once if self.round_once else multiply)(sums + self.bias, self.multiplier, self.shift)
        steps = clamp(rounded + self.zero_point, self.low, self.high)
        return steps if self.table is None else self.table[steps + 128]

    def meets_ties(self) -> NDArray[np.bool_]:
        """The channels that may meet a tie below the zero point where they round once.

        A sum times the multiplier is an odd number of half steps there, so that the odd part of the multiplier divides
        that number: as scales in powers of two have it.
        """
        if not self.round_once or self.low >= self.zero_point:
            return np.zeros(self.bias.shape, np.bool_)
        odd = self.multiplier // np.maximum(self.multiplier & -self.multiplier, 1)
        ties: NDArray[np.bool_] = (odd > 0) & (odd <= 2 * (self.high - self.low) + 1)
        return ties


def settled(weights: NDArray[np.int64], channel_axis: int, rescale: Rescale) -> Rescale:
    """Gives channels without a nonzero weight a bias that cannot overflow and makes the same constant.

    Training leaves dead channels with scales near 0, and biases near 2^31 in steps of them.
    """
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    dead = ~weights.any(axis=others)
    constant = replace(rescale, table=None).steps(np.zeros(dead.shape, np.int64))
    # 4 k * 2^30 / 2^31 is 2 k, halved k: exact in every kernel set.
    return replace(
        rescale,
        bias=np.where(dead, 4 * (constant - rescale.zero_point), rescale.bias),
        multiplier=np.where(dead, 1 << 30, rescale.multiplier),
        shift=np.where(dead, -1, rescale.shift),
    )
