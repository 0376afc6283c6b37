"""Parcels: what a worker needs, named by the checksum of its content, so that no machine is sent it twice.

A parcel is a ZIP without compression and without times: the same files make the same bytes. On a machine it is unpacked
into the cache, which all workers of that machine share, and which outlives them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import yaml

from mnedge import cache
from mnedge.data._dataset import Dataset
from mnedge.data.content import Content
from mnedge.data.preprocess import Preprocessing, read_pixels
from mnedge.errors import InputError
from mnedge.files import sha256, write_text
from mnedge.results.stored import read as read_noun
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from mnedge.data.preprocess import Size

_EPOCH = (1980, 1, 1, 0, 0, 0)
_VALUE = "value.json"
Noun = TypeVar("Noun")
_LABELS, _CLASSES, _SETTINGS = "labels.csv", "labels.txt", "dataset.yaml"


@dataclass(frozen=True)
class _Address:
    """Address of a parcel that was packed before."""

    sha256: str


@dataclass(frozen=True, eq=False)
class Parcel:
    """A value or a file that a worker needs.

    Attributes:
        read: Gives its bytes, which are only put together if a machine lacks them.
        key: JSON values that stand for the content; the address of a parcel that was packed before is known by them.
    """

    read: Callable[[], bytes]
    key: Mapping[str, object]

    @cached_property
    def address(self) -> str:
        """SHA-256 of its bytes; reads them where it is not known."""
        known = self.peek()
        if known is None:
            known = _address(self.read())
            _remember("sweep-address", self.key, _Address(known))
        return known

    def peek(self) -> str | None:
        """Its address where that is known without reading all of it."""
        if "address" in self.__dict__:
            return self.address
        known = _recall("sweep-address", self.key, _Address)
        if known is None:
            return None
        self.__dict__["address"] = known.sha256
        return known.sha256


def of_file(path: Path) -> Parcel:
    """The parcel of one file, under its own name."""

    def read() -> bytes:
        return pack({path.name: path.read_bytes()})

    return Parcel(read, {"name": path.name, "sha256": sha256(path)})


def of_pictures(dataset: Dataset, numbers: Mapping[str, NDArray[np.int64]]) -> Parcel:
    """The parcel of some pictures of a data set on disk: the files themselves, labels, splits, preprocessing.

    Args:
        dataset: A folder or a labels.csv.
        numbers: Picture numbers by the split that they count as.
    """

    def read() -> bytes:
        return pack(_picture_files(dataset, numbers))

    # The data set's fingerprint stands for its files: what was packed once need not be read again.
    chosen = {name: places.tolist() for name, places in numbers.items()}
    return Parcel(read, {"data": dataset.fingerprint, "numbers": chosen})


def _picture_files(dataset: Dataset, numbers: Mapping[str, NDArray[np.int64]]) -> dict[str, bytes]:
    named = Path(dataset.name)
    root = named if named.is_dir() else named.parent
    rows, files = [["filename", "class_index", "split"]], {}
    for split, chosen in numbers.items():
        for number in chosen.tolist():
            source = root / dataset.sources[number]
            name = f"{number}{source.suffix}"
            files[name] = source.read_bytes()
            rows.append([name, str(int(dataset.labels[number])), split])
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    files[_LABELS] = table.getvalue().encode()
    files[_CLASSES] = "".join(f"{name}\n" for name in dataset.classes).encode()
    settings = {
        "crop_fraction": dataset.preprocessing.crop_fraction,
        "interpolation": dataset.preprocessing.interpolation,
        "fit": dataset.preprocessing.fit,
        "white": dataset.preprocessing.white,
    }
    files[_SETTINGS] = yaml.safe_dump(settings).encode()
    return files


def open_pictures(folder: Path) -> Dataset:
    """Opens an unpacked parcel of pictures; unlike a user's labels.csv, a shard may show one class only."""
    with (folder / _LABELS).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    preprocessing = Preprocessing(**yaml.safe_load((folder / _SETTINGS).read_text()))
    places = range(len(rows))
    splits = {
        name: np.array([place for place in places if rows[place]["split"] == name], np.int64)
        for name in {row["split"] for row in rows}
    }

    def read(number: int, size: Size) -> NDArray[np.uint8]:
        return read_pixels(folder / rows[number]["filename"], size, preprocessing)

    return Dataset(
        name=str(folder),
        classes=tuple((folder / _CLASSES).read_text(encoding="utf-8").splitlines()),
        fixed_classes=False,
        labels=np.array([int(row["class_index"]) for row in rows], np.int64),
        splits=splits,
        sources=tuple(row["filename"] for row in rows),
        read=read,
        content=Content(other=folder.name),
        preprocessing=preprocessing,
    )


def labels_csv(folder: Path) -> Path:
    """The labels.csv of an unpacked parcel of pictures, as --data takes it."""
    return folder / _LABELS


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files as a ZIP whose bytes depend on their names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name])
    return buffer.getvalue()


def _address(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keep(address: str, data: bytes) -> Path:
    """Unpacks a parcel into this machine's cache.

    Returns:
        Its folder.

    Raises:
        InputError: The bytes are not those of the address.
    """
    if _address(data) != address:
        raise InputError(f"parcel {address[:12]} was damaged on its way: its checksum is {_address(data)[:12]}")

    def make(folder: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)

    return cache.stage("sweep-parcel", {"sha256": address}, make)


class _AbsentError(Exception):
    """This machine does not have it."""


def find(address: str) -> Path | None:
    """The folder of a parcel on this machine; None where it was never kept."""

    def make(_folder: Path) -> None:
        raise _AbsentError

    try:
        return cache.stage("sweep-parcel", {"sha256": address}, make)
    except _AbsentError:
        return None


def held(addresses: Iterable[str]) -> list[str]:
    """Returns the parcels that this machine has."""
    return [address for address in addresses if find(address) is not None]


def recall(key: Mapping[str, object], kind: type[Noun]) -> Noun | None:
    """Returns the answer of an earlier sweep to a unit with this key; None if there is none."""
    return _recall("sweep-answer", key, kind)


def remember(key: Mapping[str, object], answer: object) -> None:
    """Keeps the answer to a unit."""
    _remember("sweep-answer", key, answer)


def _recall(stage: str, key: Mapping[str, object], kind: type[Noun]) -> Noun | None:
    def make(_folder: Path) -> None:
        raise _AbsentError

    try:
        return read_noun(cache.stage(stage, key, make) / _VALUE, kind)
    except _AbsentError:
        return None


def _remember(stage: str, key: Mapping[str, object], value: object) -> None:
    cache.stage(stage, key, lambda folder: write_text(folder / _VALUE, to_json(value)))
