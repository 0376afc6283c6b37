"""A data set from a list of picture files, and the dataset.yaml beside them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.data.depth import white_of
from mnedge.data.listing import Listing, listing_of
from mnedge.data.preprocess import FITS, INTERPOLATIONS, WHITE, Fit, Interpolation, Preprocessing, read_pixels
from mnedge.data.shots import grouping
from mnedge.data.splits import assign_splits, refuse_two_of_a_split
from mnedge.data.unpack import is_archive, unpacked
from mnedge.errors import InputError
from mnedge.foreign import Setting, is_file, is_there, open_regular, read_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.draw import Draw
    from mnedge.data.preprocess import Fit, Interpolation, Size
    from mnedge.results.findings import Finding

    # A picture, its class index, and its split; "" where none is given.
    Row = tuple[Path, int, str]

SETTINGS = "dataset.yaml"
_MOST_WHITE = 1e9
PREPROCESSING = ("crop_fraction", "interpolation", "fit", "white")


def look(path: Path, draw: Draw) -> Listing:
    """Looks what lies in a folder, beside a file or in an archive, before anything of it is read.

    A folder with nothing but one folder or one archive in it stands for that one, as archives have it.

    Raises:
        InputError: There is no such thing, the archive cannot be unpacked, or two of its folders are one split.
    """
    if not is_there(path):
        raise InputError(f"{path} does not exist; --data takes a folder, a labels.csv or another list, or a .zip")
    root = path
    if is_file(path) and is_archive(path):
        root = unpacked(path)
    found = listing_of(root, is_grouped=bool(draw.group_by))
    if found.is_folder and len(found.files) == 1 and is_archive(found.files[0]):
        return look(found.files[0], draw)
    while found.is_folder and len(top := {path.relative_to(found.root).parts[0] for path in found.files}) == 1:
        inner = found.root / next(iter(top))
        if not inner.is_dir():
            break
        deeper = listing_of(inner, is_grouped=bool(draw.group_by))
        # One class folder is no wrapper: that there is only one is what has to be said.
        if not any(inside.is_dir() for inside in inner.iterdir()) and not any(map(_is_list, deeper.files)):
            break
        found = deeper
    refuse_two_of_a_split(found)
    return found


def is_yolo_yaml(path: Path) -> bool:
    """Returns whether a YAML file lists classes and folders as YOLO's does, instead of preprocessing."""
    try:
        with open_regular(path) as stream:
            return re.search(rb"^names\s*:", stream.read(1 << 20), re.MULTILINE) is not None
    except OSError:
        return False


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".json", ".xml", ".yaml", ".txt", ".labels", ".tfrecord", ".record")


def dataset_of_files(
    name: str,
    root: Path,
    rows: Sequence[Row],
    classes: tuple[str, ...],
    *,
    draw: Draw,
    preprocessing: Preprocessing | None = None,
    truths: Callable[[int, int], Any] | None = None,
    masks: Sequence[Path] = (),
    boxes_sha256: str = "",
) -> Dataset:
    """Makes a data set of picture files.

    Args:
        name: Name in reports.
        root: The folder that messages name files relative to; a dataset.yaml may lie in it.
        rows: The pictures.
        classes: Class names by index.
        draw: Settings of the splits' draw, for data without its own.
        preprocessing: Preprocessing if there is no dataset.yaml.
        truths: See `Dataset.truths`.
        masks: Files that the truths come from, beside the pictures.
        boxes_sha256: Checksum of boxes that the truths are.
    """
    preprocessing = read_preprocessing(root, preprocessing or Preprocessing())
    notes: tuple[Finding, ...] = ()
    # A white level that dataset.yaml states is not searched for.
    if preprocessing.white == WHITE:
        white, notes = white_of([file for file, _, _ in rows])
        preprocessing = replace(preprocessing, white=white)
    # A table may name pictures elsewhere by their whole path.
    sources = tuple(
        (file.relative_to(root) if file.is_relative_to(root) else file).as_posix() for file, _, _ in rows
    )  # fmt: skip
    labels = np.array([index for _, index, _ in rows], np.int64)
    files = tuple(file for file, _, _ in rows)

    def read(number: int, size: Size) -> NDArray[np.uint8]:
        return read_pixels(files[number], size, preprocessing)

    content = Content((*files, *masks), boxes_sha256, str(root))
    given = [split for _, _, split in rows]
    found = assign_splits(given, labels, sources, draw, grouping(files, given, labels, sources, draw, str(root)))
    return Dataset(
        name=name,
        classes=classes,
        fixed_classes=False,
        labels=labels,
        splits=found.numbers,
        sources=sources,
        read=read,
        truths=truths,
        content=content,
        preprocessing=preprocessing,
        draw=draw if found.names else None,
        drawn=found.names,
        root=root,
        findings=notes,
    )


def read_preprocessing(root: Path, default: Preprocessing) -> Preprocessing:
    """Reads the preprocessing of a folder's dataset.yaml; `default` without one or where it is silent.

    Raises:
        InputError: Not YAML, an unknown key, or a value that is not allowed.
    """
    path = root / SETTINGS
    if not path.is_file():
        return default
    if is_yolo_yaml(path):
        # A list of YOLO's classes and folders may be called so, too.
        return default
    settings = read_mapping(path, "crop_fraction: 0.875", may_be_empty=True)
    for key, setting in settings.items():
        if key not in PREPROCESSING:
            raise InputError(f"{path} line {setting.line}: {InputError.unknown('key', key, PREPROCESSING)}")
    return preprocessing_of(path, settings, default)


def preprocessing_of(path: Path, settings: Mapping[str, Setting], default: Preprocessing) -> Preprocessing:
    """The preprocessing that some settings of a YAML file describe; `default` where they are silent.

    Raises:
        InputError: A value is not allowed.
    """
    given = {key: setting.value for key, setting in settings.items()}
    crop = given.get("crop_fraction", default.crop_fraction)
    if not isinstance(crop, (int, float)) or isinstance(crop, bool) or not 0 < crop <= 1:
        raise InputError(f"{path}: crop_fraction is {crop!r}; it is a number above 0 and at most 1")
    interpolation = given.get("interpolation", default.interpolation)
    if interpolation not in INTERPOLATIONS:
        raise InputError(f"{path}: {InputError.unknown('interpolation', str(interpolation), INTERPOLATIONS)}")
    fit = given.get("fit", default.fit)
    if fit not in FITS:
        raise InputError(f"{path}: {InputError.unknown('fit', str(fit), FITS)}")
    white = given.get("white", default.white)
    if not isinstance(white, (int, float)) or isinstance(white, bool) or not 0 < white <= _MOST_WHITE:
        raise InputError(
            f"{path}: white is {white!r}; it is the value that becomes white, above 0 and to {_MOST_WHITE:g}"
        )
    return Preprocessing(float(crop), cast("Interpolation", interpolation), cast("Fit", fit), float(white))
