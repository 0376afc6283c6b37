"""Result of `validate`."""

from __future__ import annotations

from dataclasses import dataclass, field

from mnedge.results import shown
from mnedge.results.accuracy import AccuracyRow
from mnedge.results.outputs import OutputRow
from mnedge.results.parity import DeviceFailure, ParityRow
from mnedge.results.stored import ABSENT


@dataclass(frozen=True)
class Validation:
    """Accuracy and parity of artifacts on devices.

    Attributes:
        accuracy: Accuracy of each artifact on each device.
        parity: Each artifact against the first one, and each further device against this machine or the first one.
        outputs: Each output of each artifact, where they have several or the data is of arrays.
        failed: Devices that could not be had or failed; the artifacts that they had finished have their rows.
        pictures: Pictures that were measured, for people: "9 of 45 pictures, as drawn for training".
        warnings: Notes on the figures.
    """

    accuracy: tuple[AccuracyRow, ...]
    parity: tuple[ParityRow, ...]
    failed: tuple[DeviceFailure, ...] = ()
    outputs: tuple[OutputRow, ...] = ()
    pictures: str | None = field(default=None, metadata=ABSENT)
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        metrics = list(dict.fromkeys(name for row in self.accuracy for name in row.figures.metrics))
        rows = (
            (row.artifact, row.device, row.dataset, row.images, *(row.metric(name) for name in metrics))
            for row in self.accuracy
        )
        pairs = ((row.artifact, row.reference, row.images, row.top1_agreement) for row in self.parity)
        tables = [
            shown.table("Accuracy", ("artifact", "device", "data set", "pictures", *metrics), rows),
            shown.table("Parity", ("artifact", "agrees with", "pictures", "same"), pairs),
            shown.table("Failed", ("device", "error"), ((row.device, row.error) for row in self.failed)),
        ]
        return "".join(tables)
