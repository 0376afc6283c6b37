"""A data set from a list of picture files, and the dataset.yaml beside them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mnedge.data._dataset import Dataset
from mnedge.data.preprocess import FITS, INTERPOLATIONS, Preprocessing, read_pixels
from mnedge.data.splits import assign_splits
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.preprocess import Size

    # A picture, its class index, and its split; "" where none is given.
    Row = tuple[Path, int, str]

SETTINGS = "dataset.yaml"


def dataset_of_files(
    name: str,
    root: Path,
    rows: Sequence[Row],
    classes: tuple[str, ...],
    *,
    split_seed: int,
    preprocessing: Preprocessing | None = None,
    truths: Callable[[int, int], Any] | None = None,
    truth_fingerprint: str = "",
) -> Dataset:
    """Makes a data set of picture files.

    Args:
        name: How reports call it.
        root: The folder that messages name files relative to; a dataset.yaml may lie in it.
        rows: The pictures.
        classes: Class names by index.
        split_seed: Seed of a drawn split, where no row names one.
        preprocessing: What holds where there is no dataset.yaml.
        truths: See `Dataset.truths`.
        truth_fingerprint: Checksum of what the truths come from.
    """
    preprocessing = read_preprocessing(root, preprocessing or Preprocessing())
    is_split = any(split for _, _, split in rows)
    seed = 0 if is_split else split_seed
    # A table may name pictures elsewhere by their whole path.
    sources = tuple(
        (file.relative_to(root) if file.is_relative_to(root) else file).as_posix() for file, _, _ in rows
    )  # fmt: skip
    labels = np.array([index for _, index, _ in rows], np.int64)
    files = tuple(file for file, _, _ in rows)

    def read(number: int, size: Size) -> NDArray[np.uint8]:
        return read_pixels(files[number], size, preprocessing)

    return Dataset(
        name=name,
        classes=classes,
        fixed_classes=False,
        labels=labels,
        splits=assign_splits([split for _, _, split in rows], labels, sources, seed),
        sources=sources,
        read=read,
        truths=truths,
        fingerprint=_fingerprint(rows, sources, preprocessing, f"{seed}{truth_fingerprint}"),
        preprocessing=preprocessing,
        split_seed=None if is_split else split_seed,
        root=root,
    )


def read_preprocessing(root: Path, default: Preprocessing) -> Preprocessing:
    """What a dataset.yaml in a folder says of preprocessing; `default` where there is none or it is silent.

    Raises:
        InputError: Not YAML, an unknown key, or a value that is not allowed.
    """
    path = root / SETTINGS
    if not path.is_file():
        return default
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as exc:
        raise InputError(f"{path} is not YAML: {exc}") from exc
    known = {"crop_fraction", "interpolation", "fit"}
    for key in settings:
        if key not in known:
            raise InputError.unknown(f"key in {path}", str(key), known)
    crop = settings.get("crop_fraction", default.crop_fraction)
    if not isinstance(crop, (int, float)) or not 0 < crop <= 1:
        raise InputError(f"{path}: crop_fraction is {crop!r}; it is a number above 0 and at most 1")
    interpolation = settings.get("interpolation", default.interpolation)
    if interpolation not in INTERPOLATIONS:
        raise InputError.unknown("interpolation", str(interpolation), INTERPOLATIONS)
    fit = settings.get("fit", default.fit)
    if fit not in FITS:
        raise InputError.unknown("fit", str(fit), FITS)
    return Preprocessing(float(crop), interpolation, fit)


def _fingerprint(rows: Sequence[Row], sources: tuple[str, ...], preprocessing: Preprocessing, salt: str) -> str:
    settings = [preprocessing.crop_fraction, preprocessing.interpolation, preprocessing.fit, salt]
    # Size and time stand for the content: 50,000 pictures are not read to find that nothing changed.
    digest = hashlib.sha256(json.dumps(settings).encode())
    for (file, index, split), source in zip(rows, sources, strict=True):
        status = file.stat()
        digest.update(f"{source}\0{index}\0{split}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
