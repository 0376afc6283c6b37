"""Outputs: what each output of an artifact says, by its kind, and how far it agrees with the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class OutputRow:
    """An output of one artifact.

    Attributes:
        artifact: File name.
        output: Name of the output, as programs call it where the file says so.
        kind: Kind of its values: softmax, logits, sigmoid, multi-label, numbers or map.
        device: URI of the device.
        dataset: Name of the data.
        images: Number of samples.
        figures: Figures against the right answers by key, as its kind has them (top1, roc_auc, map, mae, snr_db, …);
            empty where no answers are known.
        reference: The artifact that it is held against; None for that one itself.
        agreement: Share of the answers that are the reference's, 0..1; None for numbers and maps.
        agreement_snr_db: Signal-to-noise ratio against the reference; None where they are equal.
        max_abs_error: Largest difference from the reference, in real units.
    """

    artifact: str
    output: str
    kind: str
    device: str
    dataset: str
    images: int
    figures: Mapping[str, float] = field(default_factory=dict)
    reference: str | None = None
    agreement: float | None = None
    agreement_snr_db: float | None = None
    max_abs_error: float | None = None
