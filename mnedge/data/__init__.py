"""Data sets, preprocessing and calibration sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.foreign import is_file, is_folder

if TYPE_CHECKING:
    from mnedge.data._dataset import Dataset


def open_dataset(spec: str, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens `demo`, a folder with one folder per class, or a labels.csv.

    Args:
        spec: "demo", or the folder or file.
        skip_broken: Leave broken pictures out instead of stopping.
        split_seed: Another one draws another split, where the data has none of its own.

    Raises:
        InputError: No such thing, or it cannot be used; the message says why.
    """
    if spec == "demo":
        from mnedge.data.demo import open_demo

        return open_demo()
    from mnedge.data.files import open_csv, open_folder

    path = Path(spec)
    if is_folder(path):
        return open_folder(path, skip_broken=skip_broken, split_seed=split_seed)
    if is_file(path):
        return open_csv(path, skip_broken=skip_broken, split_seed=split_seed)
    raise InputError(f"{spec} is neither `demo`, nor a folder, nor a labels.csv that exists")
