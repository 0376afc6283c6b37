"""Content of a data set, in one line, before any work begins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mnedge.data.splits import SPOKEN

if TYPE_CHECKING:
    from mnedge.data.dataset import Dataset

_LOG = logging.getLogger(__name__)
_MOST_CLASSES = 12


def announced(dataset: Dataset) -> Dataset:
    """Logs what a data set is, then what is unusual in it, and returns it."""
    _LOG.info("%s", summary(dataset))
    for finding in dataset.findings:
        _LOG.warning("%s: %s", dataset.name, finding.sentence())
    return dataset


def summary(dataset: Dataset) -> str:
    """Describes a data set in a line: format, classes with their numbers, splits, boxes, and pictures without any."""
    found = dataset.found
    parts = []
    counts = found.counts if found is not None else ()
    named = [f"{name} {count:,}" for name, count in zip(dataset.classes, counts, strict=False)] or [*dataset.classes]
    shown = ", ".join(named[:_MOST_CLASSES]) + (", …" if len(named) > _MOST_CLASSES else "")
    parts.append(f"classes {len(dataset.classes)}: {shown}")
    sizes = {name: numbers.size for name, numbers in dataset.splits.items()}
    splits = [f"{SPOKEN[name]} {sizes.get(name, 0):,}" for name in ("train", "eval", "test")]
    # Calibration pictures that are training pictures, too, are no split of their own.
    if sizes.get("calibration") and not set(dataset.splits["calibration"].tolist()) <= set(
        dataset.splits["train"].tolist()
    ):
        splits.append(f"calibration {sizes['calibration']:,}")
    drawn = [SPOKEN[name] for name in dataset.drawn if name != "calibration"]
    parts.append(", ".join(splits) + (f" ({' and '.join(drawn)} drawn)" if drawn else ""))
    if found is not None and found.boxes:
        parts.append(f"boxes {sum(found.counts):,}")
        if found.background:
            parts.append(f"{found.background:,} background pictures")
    kind = "" if found is None else f"{found.format} ({found.evidence}); "
    return f"{dataset.name}: {kind}{'; '.join(parts)}"
