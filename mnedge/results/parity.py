"""Parity: how far two artifacts, or two devices, say the same of the same pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from mnedge.results.stored import ABSENT


@dataclass(frozen=True)
class ParityRow:
    """Two artifacts on the same pictures.

    Attributes:
        reference: Name of the one.
        artifact: Name of the other.
        images: Number of pictures.
        top1_agreement: Share of pictures (pixels, objects) of which both say the same, 0..1; None for numbers.
        snr_db: Signal-to-noise ratio of the other's output against the reference's; None where they are equal.
        max_abs_lsb: Largest difference in steps of the coarser output; None where neither has steps.
        max_abs_error: The same in real units; None where outputs are class indices.
        differs: Pictures whose class changes, for one artifact on two devices.
    """

    reference: str
    artifact: str
    images: int
    top1_agreement: float | None
    max_abs_lsb: float | None
    max_abs_error: float | None = None
    snr_db: float | None = field(default=None, metadata=ABSENT)
    differs: tuple[str, ...] | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class DeviceFailure:
    """A device that could not be had or failed, and its error."""

    device: str
    error: str
