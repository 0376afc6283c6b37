"""Pictures with one class each, in any format of `formats/` that has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.dataset import Found
from mnedge.data.draw import Draw
from mnedge.data.listed import dataset_of_files, look
from mnedge.data.summary import announced

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.dataset import Dataset


def open_classes(path: Path, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    """Opens pictures with one class each.

    Args:
        path: A folder, file or .zip of any format that has classes.
        skip_broken: Leave broken pictures out instead of stopping.
        draw: Settings of the splits' draw, for data without its own.

    Raises:
        InputError: No such data, or something in it cannot be used; the message says what and where.
    """
    draw = draw or Draw()
    listing = look(path, draw)
    entry, evidence = formats.choose(listing, "classes")
    assert entry.classes is not None, entry.title
    found = entry.classes(listing)
    dataset = dataset_of_files(str(path), found.root, found.rows, found.classes, draw=draw)
    return announced(
        replace(
            dataset,
            fixed_classes=found.is_fixed,
            skip_broken=skip_broken,
            findings=(*found.notes, *dataset.findings),
            found=Found(
                entry.title, evidence, tuple(np.bincount(dataset.labels, minlength=len(found.classes)).tolist())
            ),
        )
    )
