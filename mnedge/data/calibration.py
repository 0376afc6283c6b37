"""Calibration sets: the pictures that show a quantizer the ranges of a network, as one value for all that need them.

A set is `calibration/NAME.yaml`, a YAML file of the user's, a folder of pictures without labels, a .npy file, or the
calibration split of the data set that a network is built for.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import open_dataset
from mnedge.data._dataset import SPLITS
from mnedge.data.arrays import Arrays, is_arrays, open_arrays
from mnedge.data.content import digests
from mnedge.data.draw import Draw
from mnedge.data.listed import PREPROCESSING, SETTINGS, dataset_of_files, preprocessing_of
from mnedge.data.preprocess import SUFFIXES, WHITE, read_pixels
from mnedge.errors import InputError
from mnedge.foreign import Setting, is_file, is_folder, read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.batch import Batch, Input
    from mnedge.data._dataset import Dataset
    from mnedge.data.preprocess import Size

IMAGES = 200
MOST_IMAGES = 256
_TEXTS = ("data", "split", "sha256", "source", "licence")
_NUMBERS = {"images": (1, MOST_IMAGES), "seed": (0, 2**32 - 1)}
_SPLITS = ("all", *SPLITS)


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """The pictures that quantization sees.

    Attributes:
        name: Name in manifests and reports.
        dataset: Data set of the pictures; None for arrays.
        numbers: Their picture numbers in the data set, int64, (n,).
        arrays: Inputs as the network takes them; None for pictures.
        sha256: Checksum of the files, or of the arrays.
        source: Source of the pictures; "" if nobody states it.
        licence: Licence of the pictures; "" if nobody states it.
    """

    name: str
    dataset: Dataset | None
    numbers: NDArray[np.int64]
    arrays: Arrays | None
    sha256: str
    source: str = ""
    licence: str = ""

    def __len__(self) -> int:
        """The number of pictures."""
        return self.numbers.size if self.arrays is None else min(self.arrays.count, MOST_IMAGES)

    def row(self) -> dict[str, str | int]:
        """The row of manifest.json: {name, images, source, licence}; the checksum stands beside it."""
        return {
            "name": self.name,
            "images": len(self),
            "source": self.source,
            "licence": self.licence,
        }

    def batch(self, inputs: Sequence[Input], arguments: Mapping[str, str] | None = None) -> Batch:
        """The arrays for the inputs of a network; see `Arrays.batch`.

        Raises:
            InputError: The arrays do not fit the inputs.
        """
        assert self.arrays is not None, self.name
        return self.arrays.batch(inputs, arguments)[:MOST_IMAGES]

    def pixels(self, resolution: Size) -> NDArray[np.uint8]:
        """The pictures: uint8, (n, height, width, 3), RGB; `resolution` is a side, or height and width.

        Raises:
            InputError: A picture is broken, or the set is of arrays.
        """
        if self.dataset is None:
            raise InputError(f"{self.name} holds arrays, not pictures; give pictures, or a model that takes the arrays")
        return self.dataset.pixels(self.numbers, resolution)[0]


@dataclass(frozen=True)
class _Description:
    """Content of a set's YAML file."""

    data: str
    split: str
    images: int
    seed: int
    sha256: str
    source: str
    licence: str
    preprocessing: Mapping[str, Setting]


def names() -> list[str]:
    """Names of the calibration sets that come with mnedge."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def folder() -> Path:
    """The folder of the calibration sets: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "calibration"
    return installed if installed.is_dir() else package.parent / "calibration"


def describe(name: str) -> dict[str, str | int]:
    """Content of the YAML of a set that comes with mnedge: {data, split, images, source, licence, sha256}."""
    description = _read(folder() / f"{name}.yaml")
    return {
        "data": description.data,
        "split": description.split,
        "images": description.images,
        "source": description.source,
        "licence": description.licence,
        "sha256": description.sha256,
    }


def calibration_of(dataset: Dataset, images: int = IMAGES) -> CalibrationSet:
    """The calibration split of a data set, at most `images` pictures, evenly spread.

    Raises:
        InputError: The split is empty.
    """
    return _of_pictures(dataset.name, dataset, dataset.split("calibration", images))


def open_calibration(spec: str, *, skip_broken: bool = False) -> CalibrationSet:
    """Opens what `--calibration` takes.

    Args:
        spec: Name of a set that comes with mnedge, a .yaml, a folder of pictures, a labels.csv, or a .npy of inputs.
        skip_broken: Leave broken pictures out instead of stopping.

    Raises:
        InputError: No such thing, a wrong key or value, or pictures with another checksum than the YAML has.
    """
    path = Path(spec)
    if spec in names():
        return _described(folder() / f"{spec}.yaml", spec, skip_broken=skip_broken)
    if path.suffix in (".yaml", ".yml") and is_file(path):
        return _described(path, spec, skip_broken=skip_broken)
    if is_arrays(spec) and is_file(path):
        return calibration_of_arrays(open_arrays(path))
    if is_folder(path) or is_file(path):
        found = _opened(spec, skip_broken=skip_broken)
        # All of a set that somebody has put together; a part of a data set that is larger than any such set.
        images = MOST_IMAGES if len(found.sources) <= MOST_IMAGES else IMAGES
        return _of_pictures(spec, found, _numbers(found, "all", images))
    raise InputError(
        f"{InputError.unknown('calibration set', spec, names())}; a .yaml, a folder, a labels.csv or a .npy serves too"
    )


def _described(path: Path, name: str, *, skip_broken: bool) -> CalibrationSet:
    description = _read(path)
    data = os.path.expandvars(description.data)
    if "$" in data:
        raise InputError(
            f"{path}: data is {description.data}; set that environment variable to your copy of: {description.source}"
        )
    place = data if data == "demo" or Path(data).is_absolute() else str(path.parent / data)
    dataset = _opened(place, description.seed, skip_broken=skip_broken)
    if description.preprocessing:
        dataset = _preprocessed(dataset, path, description.preprocessing)
    found = _of_pictures(name, dataset, _numbers(dataset, description.split, description.images))
    if description.sha256 and found.sha256 != description.sha256:
        raise InputError(
            f"{path}: the pictures of {data} have the checksum {found.sha256}, not {description.sha256}; get the right "
            "ones, or write the new checksum down"
        )
    return replace(found, source=description.source, licence=description.licence)


def _read(path: Path) -> _Description:
    settings = read_mapping(path, "data: photos")
    known = (*_TEXTS, *_NUMBERS, *PREPROCESSING)
    for key, setting in settings.items():
        value, where = setting.value, f"{path} line {setting.line}"
        if key not in known:
            raise InputError(f"{where}: {InputError.unknown('key', key, known)}")
        if key in _TEXTS and not isinstance(value, str):
            raise InputError(f"{where}: {key} is {value!r}; it is text")
        if key in _NUMBERS:
            least, most = _NUMBERS[key]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InputError(f"{where}: {key} is {value!r}; it is a whole number from {least} to {most}")
        if key == "split" and value not in _SPLITS:
            raise InputError(f"{where}: {InputError.unknown('split', str(value), _SPLITS)}")
    if "data" not in settings:
        raise InputError(f"{path}: no data; name a folder, a labels.csv or demo, e.g. `data: photos`")

    def text(key: str, default: str = "") -> str:
        return str(settings[key].value) if key in settings else default

    def number(key: str, default: int) -> int:
        return int(str(settings[key].value)) if key in settings else default

    return _Description(
        data=text("data"),
        split=text("split", "calibration"),
        images=number("images", IMAGES),
        seed=number("seed", 0),
        sha256=text("sha256"),
        source=text("source"),
        licence=text("licence"),
        preprocessing={key: settings[key] for key in PREPROCESSING if key in settings},
    )


def _opened(spec: str, seed: int = 0, *, skip_broken: bool) -> Dataset:
    """The data set of a spec; a folder without class folders is one of pictures without labels."""
    root = Path(spec)
    if not is_folder(root) or any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir()):
        return open_dataset(spec, skip_broken=skip_broken, draw=Draw(seed))
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{spec} holds no pictures; it takes {', '.join(SUFFIXES)}")
    unlabelled = dataset_of_files(spec, root, [(file, 0, "calibration") for file in files], ("",), draw=Draw(seed))
    return replace(unlabelled, skip_broken=skip_broken)


def _preprocessed(dataset: Dataset, path: Path, settings: Mapping[str, Setting]) -> Dataset:
    """The data set with the preprocessing that a set's YAML asks for."""
    if dataset.root is None:
        raise InputError(f"{path}: {dataset.name} has its own preprocessing; take {', '.join(settings)} out")
    if (dataset.root / SETTINGS).is_file():
        raise InputError(f"{path} and {dataset.root / SETTINGS} both say how pictures become pixels; keep one of them")
    wanted = preprocessing_of(path, settings, dataset.preprocessing)
    files = dataset.content.files
    return replace(
        dataset,
        preprocessing=wanted,
        read=lambda number, resolution: read_pixels(files[number], resolution, wanted),
    )


def _numbers(dataset: Dataset, split: str, images: int) -> NDArray[np.int64]:
    if split != "all":
        return dataset.split(split, images)
    numbers = np.arange(len(dataset.sources))
    return numbers if numbers.size <= images else numbers[np.linspace(0, numbers.size - 1, images).astype(int)]


def _of_pictures(name: str, dataset: Dataset, numbers: NDArray[np.int64]) -> CalibrationSet:
    files = dataset.content.files
    digest = hashlib.sha256(repr(dataset.preprocessing).encode())
    if dataset.preprocessing.white != WHITE:
        digest.update(f"\0white {dataset.preprocessing.white}".encode())
    if files:
        taken = [files[number] for number in numbers.tolist()]
        for own in digests(taken, dataset.content.root, is_trusted=dataset.content.is_trusted):
            digest.update(f"\0{own}".encode())
    else:
        digest.update(f"\0{dataset.content.other}\0{numbers.tolist()}".encode())
    return CalibrationSet(name, dataset, numbers, None, digest.hexdigest())


def calibration_of_arrays(arrays: Arrays) -> CalibrationSet:
    """Makes a calibration set of arrays: all samples, at most 256."""
    return CalibrationSet(arrays.name, None, np.zeros(0, np.int64), arrays, arrays.sha256)
