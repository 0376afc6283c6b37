"""Pictures with any number of labels each, in any format of `formats/` that has them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.check import check_marked
from mnedge.data.dataset import Found
from mnedge.data.draw import Draw
from mnedge.data.listed import dataset_of_files, look
from mnedge.data.summary import announced
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset

# One picture with a label, or one without it, is learned by heart.
_LEAST_TRAIN = 2


def open_tags(path: Path, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    """Opens pictures with any number of labels each.

    `Dataset.truths` gives the labels of a picture, bool, (classes,), whatever the resolution is; `Dataset.labels` is 0
    throughout: a picture has no one class.

    Args:
        path: A folder, file or .zip of any format that has such labels.
        skip_broken: Leave broken pictures out instead of stopping.
        draw: Settings of the splits' draw, for data without its own.

    Raises:
        InputError: No such data, or something in it cannot be used; the message says what and where.
    """
    draw = draw or Draw()
    listing = look(path, draw)
    entry, evidence = formats.choose(listing, "labels")
    assert entry.labels is not None, entry.title
    found = entry.labels(listing)
    holds = np.zeros((len(found.rows), len(found.classes)), bool)
    for row, (_, indices, _) in enumerate(found.rows):
        holds[row, list(indices)] = True
    counts = holds.sum(axis=0)
    # Splits are drawn by the rarest label of each picture, so that no split lacks it.
    rarest = np.where(holds, counts, counts.max(initial=0) + 1).argmin(axis=1)
    strata = np.where(holds.any(axis=1), rarest, len(found.classes))
    dataset = dataset_of_files(
        str(path),
        found.root,
        [(picture, int(stratum), split) for (picture, _, split), stratum in zip(found.rows, strata, strict=True)],
        found.classes,
        draw=draw,
        truths=lambda number, _resolution: holds[number],
        boxes_sha256=hashlib.sha256(np.packbits(holds).tobytes()).hexdigest(),
    )
    return announced(
        replace(
            dataset,
            labels=np.zeros(len(found.rows), np.int64),
            fixed_classes=True,
            skip_broken=skip_broken,
            findings=(*found.notes, *dataset.findings),
            found=Found(entry.title, evidence, tuple(counts.tolist())),
        )
    )


def tags_of(dataset: Dataset, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each label holds of each of some pictures, bool, (pictures, labels)."""
    assert dataset.truths is not None, dataset.name
    return np.array([dataset.truths(number, 0) for number in numbers.tolist()], bool).reshape(
        numbers.size, len(dataset.classes)
    )


def check_tags(dataset: Dataset) -> None:
    """Makes sure, before any picture is read, that every label can be learned.

    Raises:
        InputError: Too few training pictures have a label or lack it, or there are no validation pictures.
    """
    check_marked(dataset)
    check_learnable(dataset, dataset.split("train"))


def check_learnable(dataset: Dataset, numbers: NDArray[np.int64]) -> None:
    """Makes sure that training pictures show every label, and pictures without it.

    Args:
        dataset: Data set of the pictures.
        numbers: Picture numbers that training learns from, int64.

    Raises:
        InputError: Fewer than two have a label, or fewer than two lack it.
    """
    shown = tags_of(dataset, numbers).sum(axis=0)
    for have, counts in (("have", shown), ("lack", numbers.size - shown)):
        if few := [f"{dataset.classes[place]!r} ({counts[place]})" for place in np.flatnonzero(counts < _LEAST_TRAIN)]:
            raise InputError(
                f"{dataset.name}: too few of {numbers.size} training pictures {have} {', '.join(few)}, and a label is "
                f"told by {_LEAST_TRAIN} pictures at least that have it and {_LEAST_TRAIN} that lack it; add pictures, "
                "or take its column out"
            )
