"""Dataset: labelled pictures in splits, read lazily."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data.preprocess import Preprocessing
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.content import Content
    from mnedge.data.draw import Draw
    from mnedge.data.preprocess import Size
    from mnedge.results.findings import Finding

_NONE = np.zeros(0, np.int64)
# The validation split ("eval") chooses the epoch of a training, the test split is only reported.
SPLITS = ("train", "calibration", "eval", "test")


@dataclass(frozen=True)
class Found:
    """Format that a data set was found in.

    Attributes:
        format: Name of the format for people.
        evidence: The file or folders that show it.
        counts: Number of pictures or boxes of each class; () for masks.
        boxes: Whether `counts` are of boxes.
        background: Pictures without boxes.
    """

    format: str
    evidence: str
    counts: tuple[int, ...] = ()
    boxes: bool = False
    background: int = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures.

    Attributes:
        name: Name in reports: "demo", or the folder's or CSV's path as given.
        classes: Class names by index.
        fixed_classes: Whether `classes` is the whole list (folders, demo); a CSV may show only some indices.
        labels: int64, (pictures,); class index of each picture.
        splits: Picture numbers of "train", "calibration", "eval" (validation) and "test".
        sources: Name of each picture in messages (its path below the data set).
        read: Gives one picture: (number, side of a square or height and width) -> uint8 (height, width, 3), RGB.
        truths: Gives what is marked in one picture: (number, resolution) -> a mask or boxes, as the task has it; a mask
            of resolution 0 has the picture's own size. None where a class index is all.
        content: The files, for `fingerprint`.
        preprocessing: Preprocessing of the pictures.
        default_resolution: Resolution of a build that names none.
        skip_broken: Leave broken pictures out instead of stopping.
        draw: Draw of the splits; None where the data came with all that it needs.
        drawn: Names of the splits that were drawn.
        root: The folder that the sources are relative to; None where there are no files.
        findings: Findings of the reader.
        found: The format that it was found in; None for data that does not come from files.
    """

    name: str
    classes: tuple[str, ...]
    fixed_classes: bool
    labels: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    sources: tuple[str, ...]
    read: Callable[[int, Size], NDArray[np.uint8]]
    content: Content
    truths: Callable[[int, int], Any] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    default_resolution: int = 224
    skip_broken: bool = False
    draw: Draw | None = None
    drawn: tuple[str, ...] = ()
    root: Path | None = None
    findings: tuple[Finding, ...] = ()
    found: Found | None = None

    @property
    def measured(self) -> str:
        """The split of the figures: the test split, or the validation split ("eval") if there is none."""
        return "test" if self.splits.get("test", _NONE).size else "eval"

    @property
    def is_divided(self) -> bool:
        """Returns whether the data has a test or a validation split of its own."""
        return any(self.splits.get(name, _NONE).size and name not in self.drawn for name in ("test", "eval"))

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the pictures' and masks' bytes, boxes, labels, class names, splits and preprocessing.

        Raises:
            InputError: A file cannot be read.
        """
        digest = hashlib.sha256(self.content.sha256().encode())
        named = [self.classes, self.fixed_classes, self.sources, astuple(self.preprocessing)]
        digest.update(json.dumps(named).encode())
        digest.update(self.labels.astype(np.int64).tobytes())
        for name, numbers in sorted(self.splits.items()):
            digest.update(f"\0{name}\0{numbers.size}\0".encode())
            digest.update(numbers.astype(np.int64).tobytes())
        return digest.hexdigest()

    def read_again(self) -> Dataset:
        """Returns the data set with a fingerprint that reads every file again (`--check-data`)."""
        return replace(self, content=self.content.read_again())

    def class_index(self, name: str) -> int:
        """Index of a class.

        Raises:
            InputError: There is no class of that name; the message names those there are.
        """
        if name not in self.classes:
            raise InputError.unknown("class", name, self.classes)
        return self.classes.index(name)

    def split(self, name: str, limit: int | None = None) -> NDArray[np.int64]:
        """Picture numbers of a split, at most `limit` of them, evenly spread over the split.

        Raises:
            InputError: The split is empty.
        """
        numbers = self.splits.get(name, np.zeros(0, np.int64))
        if numbers.size == 0 and name in self.drawn:
            raise InputError(
                f"{self.name}: no pictures are left for the {name} split, since those of each class are one group: the "
                "same scene, or what --group-by joins; add pictures of other scenes, or give splits of your own"
            )
        if numbers.size == 0:
            raise InputError(
                f"{self.name} has no pictures in its {name} split; add some, or another data set with --data"
            )
        if limit is not None and numbers.size > limit:
            numbers = numbers[np.linspace(0, numbers.size - 1, limit).astype(int)]
        return numbers

    def stream(self, numbers: NDArray[np.int64], size: Size) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
        """Reads pictures in parallel, a few ahead of the caller, in order.

        Yields:
            Picture number and its pixels: uint8, (height, width, 3).

        Raises:
            InputError: A picture is broken, unless `skip_broken`; or all of them are.
        """
        given = 0
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[tuple[int, Future[NDArray[np.uint8]]]] = deque()
            waiting = iter(numbers.tolist())
            try:
                while True:
                    while len(ahead) < 4 * workers and (number := next(waiting, None)) is not None:
                        ahead.append((number, pool.submit(self.read, number, size)))
                    if not ahead:
                        break
                    number, future = ahead.popleft()
                    try:
                        pixels = future.result()
                    except InputError:
                        if not self.skip_broken:
                            raise
                        continue
                    given += 1
                    yield number, pixels
            finally:
                for _, future in ahead:
                    future.cancel()
        if given == 0 and numbers.size:
            raise InputError(f"{self.name}: none of the {numbers.size} pictures can be read")

    def pixels(self, numbers: NDArray[np.int64], size: Size) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Reads pictures at once.

        Returns:
            Pixels, uint8, (n, height, width, 3), and labels, int64, (n,).
        """
        read = list(self.stream(numbers, size))
        kept = np.array([number for number, _ in read], np.int64)
        return np.stack([pixels for _, pixels in read]), self.labels[kept]
