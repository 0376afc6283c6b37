"""Faults of a data set that make a training useless or its accuracy a lie."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.content import digests
from mnedge.data.preprocess import picture_size
from mnedge.data.splits import SPOKEN
from mnedge.data.twins import Twins, is_flat, thumbnails, twins
from mnedge.errors import InputError
from mnedge.results.findings import Findings, Shared, Tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset

# A class of one training picture is learned by heart, not learned.
_LEAST_TRAIN = 2
_SHOWN = 5


def check_layout(dataset: Dataset) -> None:
    """Makes sure, before any picture is read, that there is something to learn and to measure on.

    Raises:
        InputError: Too few pictures of a class, no validation pictures, or links that lead out of the folder.
    """
    _refuse_links_out(dataset)
    labels = dataset.labels
    train = np.bincount(labels[dataset.splits.get("train", [])], minlength=len(dataset.classes))
    few = [f"{dataset.classes[index]!r} has {train[index]}" for index in np.flatnonzero(train < _LEAST_TRAIN)]
    if few:
        raise InputError(
            f"{dataset.name} has {labels.size} pictures, too few to train on: {_listed(few)} in the train split, and "
            f"every class needs at least {_LEAST_TRAIN} there; add pictures, or take the class out"
        )
    dataset.split("eval")


def check_marked(dataset: Dataset) -> None:
    """Makes sure, before any picture is read, that pictures with boxes or masks can be learned and measured on.

    Raises:
        InputError: Too few pictures, no validation pictures, or links that lead out of the folder.
    """
    _refuse_links_out(dataset)
    count = dataset.split("train").size
    if count < _LEAST_TRAIN:
        raise InputError(
            f"{dataset.name} has {count} picture in the train split, too few to train on; add some, {_LEAST_TRAIN} at "
            "least"
        )
    dataset.split("eval")


def check_left(dataset: Dataset, numbers: NDArray[np.int64]) -> None:
    """Makes sure that every class still has pictures to learn from, after all that was left out.

    Args:
        dataset: Data set of the pictures.
        numbers: Picture numbers that training learns from, int64.

    Raises:
        InputError: A class has none, or there are no pictures at all.
    """
    if numbers.size == 0:
        raise InputError(
            f"{dataset.name}: every training picture is in the val or test split too, so nothing is left to learn "
            "from; give other pictures to measure on, or --keep-shared to learn from them, which makes the figure a lie"
        )
    if dataset.truths is not None:
        return
    left = np.bincount(dataset.labels[numbers], minlength=len(dataset.classes))
    if lacking := [repr(dataset.classes[index]) for index in np.flatnonzero(left == 0)]:
        raise InputError(
            f"{dataset.name}: no training picture is left of {_listed(lacking)}: those that there were are broken, or "
            "in the val or test split too; add pictures, take the class out, or give --group-by or other splits"
        )


def check_pictures(
    dataset: Dataset, resolution: int, parts: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]
) -> tuple[Findings, NDArray[np.bool_]]:
    """Looks through the pictures of all splits.

    Args:
        dataset: Data set of the pictures.
        resolution: Resolution of the network's input, pixels.
        parts: Pixels, uint8 (n, side, side, 3), and picture numbers, int64 (n,), of "train", "eval" and, where there
            is one, "test"; the sides may differ.

    Returns:
        The findings, and which training pictures no other split has: bool, (n,).
    """
    thumbs = {split: thumbnails(pixels) for split, (pixels, _) in parts.items()}
    numbers = {split: places for split, (_, places) in parts.items()}
    fresh = np.ones(len(numbers["train"]), bool)
    copies = _copies(dataset, numbers)
    found: list[tuple[str, str, Twins]] = []
    for one, other in itertools.combinations(parts, 2):
        pairs = {(pair.first, pair.second): pair for pair in twins(thumbs[one], thumbs[other])}
        flat = is_flat(thumbs[one])
        for first, second in copies(one, other):
            if not flat[first]:
                pairs.setdefault((first, second), Twins(first, second, 1.0, is_mirrored=False))
        found += [(one, other, pairs[place]) for place in sorted(pairs)]
    fresh[[pair.first for one, _, pair in found if one == "train"]] = False
    sources, classes, labels = dataset.sources, dataset.classes, dataset.labels
    # An annotation in a picture is not its class.
    has_class = dataset.truths is None
    shared = tuple(
        Shared(
            sources[first],
            sources[second],
            round(pair.correlation, 3),
            pair.is_mirrored,
            (classes[labels[first]], classes[labels[second]]) if has_class else ("", ""),
            (SPOKEN[one], SPOKEN[other]),
        )
        for one, other, pair in found
        for first, second in [(numbers[one][pair.first], numbers[other][pair.second])]
    )
    asked = np.concatenate([dataset.split(split) for split in parts])
    read = np.concatenate([*numbers.values()])
    seen = np.bincount(labels[numbers["eval"]], minlength=len(classes))
    findings = Findings(
        broken=tuple(sources[number] for number in np.setdiff1d(asked, read)),
        tiny=_tiny(dataset, read, resolution),
        blank=tuple(sources[number] for split, small in thumbs.items() for number in numbers[split][is_flat(small)]),
        shared=shared,
        without_validation=tuple(classes[index] for index in np.flatnonzero(seen == 0) if has_class),
        annotations=dataset.findings,
    )
    return findings, fresh


def _copies(dataset: Dataset, numbers: Mapping[str, NDArray[np.int64]]) -> Callable[[str, str], list[tuple[int, int]]]:
    """Finds files of the same bytes in two splits: their places in either."""
    content = dataset.content
    told = digests(content.files, content.root, is_trusted=content.is_trusted)
    places: dict[str, dict[str, list[int]]] = {split: {} for split in numbers}
    for split, own in numbers.items():
        for place, number in enumerate(own.tolist() if told else ()):
            places[split].setdefault(told[number], []).append(place)

    def pairs(one: str, other: str) -> list[tuple[int, int]]:
        return [
            (first, second)
            for digest in places[one].keys() & places[other].keys()
            for first in places[one][digest]
            for second in places[other][digest]
        ]

    return pairs


def _tiny(dataset: Dataset, numbers: NDArray[np.int64], resolution: int) -> tuple[Tiny, ...]:
    if dataset.root is None:
        return ()
    found = []
    for number in numbers.tolist():
        width, height = picture_size(dataset.root / dataset.sources[number])
        if 2 * min(width, height) < resolution:
            found.append(Tiny(dataset.sources[number], width, height))
    return tuple(found)


def _refuse_links_out(dataset: Dataset) -> None:
    if dataset.root is None:
        return
    top = dataset.root.resolve()
    out = [f"{source} -> {place}" for source in dataset.sources if (place := _outside(top, source)) is not None]
    if out:
        raise InputError(
            f"{dataset.name} has {len(out)} links that lead out of it ({_listed(out)}); copy those pictures into it, "
            "or give --data the folder that they are in"
        )


def _outside(top: Path, source: str) -> Path | None:
    """Returns the real place of a picture, if a link leads out of the folder."""
    place, named = (top / source).resolve(), Path(os.path.normpath(top / source))
    # A labels.csv may name pictures elsewhere openly; a link does it in secret.
    return None if place.is_relative_to(top) or place == named else place


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
