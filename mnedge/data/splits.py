"""Splits of pictures: training, calibration, validation and test, as given, or drawn by the hash of their names.

The validation split ("eval") chooses the epoch of a training; the test split is only reported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.dataset import SPLITS
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.draw import Draw
    from mnedge.data.listing import Listing

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "calib": "calibration",
    "eval": "eval",
    "val": "eval",
    "valid": "eval",
    "validation": "eval",
    "dev": "eval",
    "test": "test",
    "testing": "test",
}
# What people call them.
SPOKEN = {"train": "train", "calibration": "calibration", "eval": "val", "test": "test"}
_CALIBRATION_FRACTION = 0.1
_CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Drawn:
    """Splits, and how they came about.

    Attributes:
        numbers: Picture numbers by split, int64.
        names: The splits that were drawn; () where the data came with all that it needs.
    """

    numbers: Mapping[str, NDArray[np.int64]]
    names: tuple[str, ...] = field(default=())


def split_name(path: Path, line: int, name: str) -> str:
    """The split that a row of a CSV names, in the project's words; "" for none.

    Raises:
        InputError: No known name.
    """
    if not name:
        return ""
    if name.lower() not in SPLIT_NAMES:
        raise InputError(f"{path} line {line}: split {name!r} is not one of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name.lower()]


def split_of_words(words: Iterable[str]) -> str:
    """The split that one of some words names, with a year or not ("val2017"); "" for none."""
    plain = (word.lower().rstrip("0123456789") for word in words)
    return next((SPLIT_NAMES[word] for word in plain if word in SPLIT_NAMES), "")


def split_of(parts: Sequence[str]) -> str:
    """The split that the folders of a file name, the innermost first; "" for none."""
    return split_of_words(reversed(parts))


def refuse_two_of_a_split(listing: Listing) -> None:
    """Makes sure that no two folders beside each other are one split, such as val and valid: which one is meant?

    Raises:
        InputError: There are such.
    """
    known: dict[tuple[Path, str], Path] = {}
    for folder in listing.folders:
        split = SPLIT_NAMES.get(folder.name.lower(), "")
        other = known.setdefault((folder.parent, split), folder) if split else folder
        if other != folder:
            raise InputError(
                f"{listing.relative(other)}/ and {listing.relative(folder)}/ of {listing.given} are both "
                f"{SPOKEN[split]} pictures; move one of them away, or put the pictures of both into one"
            )


def read_split_lists(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """Splits by picture name, from the lists of ImageSets/FOLDER; {} where there are none.

    Raises:
        InputError: A list cannot be read, or a picture is in two splits.
    """
    for folder in (root / "ImageSets" / name for name in folders):
        found: dict[str, str] = {}
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            # trainval and the lists of single classes (cat_train.txt) say nothing more.
            if (split := SPLIT_NAMES.get(path.stem.lower())) is None:
                continue
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as exc:
                raise InputError(f"{path} cannot be read: {exc}; it is one picture's name a line") from exc
            for line in lines:
                if (name := line.strip()) and found.setdefault(name, split) != split:
                    raise InputError(f"{path}: {name} is in split {found[name]!r} already; a picture is in one split")
        if found:
            return found
    return {}


def assign_splits(
    given: Sequence[str],
    labels: NDArray[np.int64],
    sources: Sequence[str],
    draw: Draw,
    groups: Sequence[int] | None = None,
) -> Drawn:
    """Takes the splits as given; missing ones are drawn by the hash of seed and file name, class by class.

    A drawn split does not move when pictures are added. Calibration needs no labels of its own, so where only it
    is missing it is taken from train without taking those pictures away from there. A data set with a test split and
    no validation split keeps its test split, and validation pictures are drawn from the others.

    Args:
        given: Split of each picture; "" if none is given.
        labels: Class indices, int64, (pictures,).
        sources: Paths of the pictures.
        draw: Settings of the splits' draw.
        groups: A number of each picture; pictures of one number stay on one side. None for pictures on their own.
    """
    splits: dict[str, list[int]] = {name: [] for name in SPLITS}
    for number, name in enumerate(given):
        splits[name or "train"].append(number)
    is_split = any(given)
    wanted = {} if splits["eval"] else {"eval": draw.val_fraction}
    if not is_split:
        wanted |= {"test": draw.test_fraction} if draw.test_fraction else {}
        wanted["calibration"] = _CALIBRATION_FRACTION
    # A table that names only calibration pictures, or only those to be measured on, has nothing to draw from.
    if wanted and (not is_split or (splits["train"] and splits["test"])):
        splits |= _drawn(splits["train"], labels, sources, draw, wanted, groups)
        names = tuple(wanted)
    else:
        names = ()
    if not splits["calibration"]:
        splits["calibration"] = hash_order(splits["train"], sources, draw.seed)[:_CALIBRATION_IMAGES]
    # Most data has no test split; what has none says nothing of it.
    told = {name: numbers for name, numbers in splits.items() if numbers or name != "test"}
    return Drawn({name: np.array(sorted(numbers), np.int64) for name, numbers in told.items()}, names)


def _drawn(
    numbers: Sequence[int],
    labels: NDArray[np.int64],
    sources: Sequence[str],
    draw: Draw,
    wanted: Mapping[str, float],
    groups: Sequence[int] | None,
) -> dict[str, list[int]]:
    """Splits of some pictures, class by class; a group goes where its first picture goes."""
    whole: dict[object, list[int]] = {}
    for number in hash_order(numbers, sources, draw.seed):
        whole.setdefault(number if groups is None else groups[number], []).append(number)
    by_class: dict[int, list[list[int]]] = {}
    for members in whole.values():
        by_class.setdefault(int(labels[members[0]]), []).append(members)
    splits: dict[str, list[int]] = {"train": [], **{name: [] for name in wanted}}
    for waiting in by_class.values():
        count = sum(map(len, waiting))
        for name, fraction in wanted.items():
            least = 1 if name != "calibration" and len(waiting) > 1 else 0
            taken = _take(waiting, max(least, round(fraction * count)))
            splits[name] += [number for members in taken for number in members]
        splits["train"] += [number for members in waiting for number in members]
    return splits


def _take(waiting: list[list[int]], count: int) -> list[list[int]]:
    """Takes groups out of a list until there are as many pictures; the last group stays."""
    taken: list[list[int]] = []
    so_far = 0
    for members in list(waiting):
        if so_far >= count or len(waiting) <= 1:
            break
        # A large group too many, or none of it: whichever is nearer to the wanted number.
        if taken and so_far + len(members) - count >= count - so_far:
            continue
        if not taken and len(members) > 2 * count and min(map(len, waiting)) < len(members):
            continue
        waiting.remove(members)
        taken.append(members)
        so_far += len(members)
    return taken


def hash_order(numbers: Iterable[int], sources: Sequence[str], seed: int) -> list[int]:
    """Picture numbers in an order that depends on each picture's name and the seed only."""
    salt = f"{seed}/" if seed else ""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{salt}{sources[number]}".encode()).digest())
