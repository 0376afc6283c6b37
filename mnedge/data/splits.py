"""Which pictures are for training, calibration and evaluation: as given, or drawn so that they stay where they are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data._dataset import SPLITS
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "calib": "calibration",
    "eval": "eval",
    "val": "eval",
    "valid": "eval",
    "validation": "eval",
    "test": "eval",
}
_FRACTIONS = {"eval": 0.2, "calibration": 0.1}
_CALIBRATION_IMAGES = 256


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


def assign_splits(
    given: Sequence[str], labels: NDArray[np.int64], sources: Sequence[str], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Takes the splits as given; what is missing is drawn by the hash of seed and file name, class by class.

    A drawn split does not move when pictures are added. Calibration needs no labels of its own, so where only it
    is missing it is taken from train without taking those pictures away from there.
    """
    splits: dict[str, list[int]] = {name: [] for name in SPLITS}
    if any(given):
        for number, name in enumerate(given):
            splits[name or "train"].append(number)
    else:
        by_class: dict[int, list[int]] = {}
        for number in hash_order(range(len(sources)), sources, seed):
            by_class.setdefault(int(labels[number]), []).append(number)
        for numbers in by_class.values():
            held = max(1, round(_FRACTIONS["eval"] * len(numbers))) if len(numbers) > 1 else 0
            calibration = round(_FRACTIONS["calibration"] * len(numbers))
            splits["eval"] += numbers[:held]
            splits["calibration"] += numbers[held : held + calibration]
            splits["train"] += numbers[held + calibration :]
    if not splits["calibration"]:
        splits["calibration"] = hash_order(splits["train"], sources, seed)[:_CALIBRATION_IMAGES]
    return {name: np.array(sorted(numbers), np.int64) for name, numbers in splits.items()}


def hash_order(numbers: Iterable[int], sources: Sequence[str], seed: int) -> list[int]:
    """Picture numbers in an order that depends on each picture's name and the seed only."""
    salt = f"{seed}/" if seed else ""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{salt}{sources[number]}".encode()).digest())
