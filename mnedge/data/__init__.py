"""Data sets, preprocessing and calibration sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.data.dataset import Dataset
    from mnedge.data.draw import Draw


def open_dataset(spec: str, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    """Opens `demo`, or pictures with one class each in any format of `formats/`: a folder, a list or a .zip.

    Args:
        spec: "demo", or the folder or file.
        skip_broken: Leave broken pictures out instead of stopping.
        draw: Settings of the splits' draw, for data without its own.

    Raises:
        InputError: No such thing, or it cannot be used; the message says why.
    """
    if spec == "demo":
        from mnedge.data.demo import open_demo

        return open_demo()
    from mnedge.data.classes import open_classes

    return open_classes(Path(spec), skip_broken=skip_broken, draw=draw)
