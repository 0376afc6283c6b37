"""Pictures that a model is measured on, and the data set's class of each of its classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data._dataset import SPLITS
from mnedge.data.draw import Draw
from mnedge.data.origin import METADATA, origin_of_bytes
from mnedge.data.splits import SPLIT_NAMES
from mnedge.errors import InputError
from mnedge.foreign import is_there
from mnedge.formats.carried import carried, class_names
from mnedge.validation.class_map import ClassMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.data.origin import Origin

ALL = "all"
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Choice:
    """Pictures to measure on.

    Attributes:
        dataset: The data set, with its splits drawn as the model has them.
        numbers: Picture numbers, int64.
        words: Description of the pictures, for people: "9 of 45 pictures, as drawn for training".
    """

    dataset: Dataset
    numbers: NDArray[np.int64]
    words: str


def choose(
    artifacts: Sequence[Path], split: str | None, images: int | None, opened: Callable[[Draw | None], Dataset]
) -> Choice:
    """Chooses the pictures.

    Without a split asked for, they are the data's own test or validation split; of data without any, those that the
    model's training or build kept apart; or else all.

    Args:
        artifacts: The files to be measured.
        split: Split as given: a name, all, or None.
        images: At most so many, evenly spread; None for all of them.
        opened: Opens the data, with its missing splits drawn in a given way.

    Raises:
        InputError: The data cannot be opened, or has no such split.
    """
    known = _origins(artifacts)
    # Opened as the model has it, mostly for good: drawing looks at every picture.
    dataset = opened(known[0].draw if known else None)
    is_drawn = dataset.draw is not None and not dataset.is_divided
    origin = next((found for found in known if found.is_of(dataset)), None) if is_drawn else None
    wanted = Draw() if origin is None else origin.draw
    if dataset.draw not in (None, wanted):
        dataset = opened(wanted)
    count = len(dataset.sources)
    name = _named(split)
    if name is None:
        # Data that says nothing of splits is there to be measured on, unless the model has seen a part of it.
        whole = dataset.root is not None and not dataset.is_divided and origin is None and bool(dataset.drawn)
        name = ALL if whole else dataset.measured
    if name == ALL:
        numbers = np.arange(count)
        if images is not None and count > images:
            numbers = numbers[np.linspace(0, count - 1, images).astype(int)]
        words = f"all {count:,} pictures" if numbers.size == count else f"{numbers.size:,} of {count:,} pictures"
        return Choice(dataset, numbers, words)
    numbers = dataset.split(name, images)
    called = {"eval": "validation"}.get(name, name)
    if name in dataset.drawn:
        purpose = f"as drawn for {origin.purpose}" if origin is not None else f"drawn here as the {called} split"
        return Choice(dataset, numbers, f"{numbers.size:,} of {count:,} pictures, {purpose}")
    return Choice(dataset, numbers, f"{numbers.size:,} pictures of the {called} split")


def _named(split: str | None) -> str | None:
    if split is None or split == ALL:
        return split
    if split.lower() not in SPLIT_NAMES:
        raise InputError.unknown("split", split, (*SPLITS, "val", ALL))
    return SPLIT_NAMES[split.lower()]


def _origins(artifacts: Sequence[Path]) -> list[Origin]:
    """Origins of the data that models were made with, as their files state them, in their order."""
    contents = [(path, carried(path, METADATA)) for path in artifacts if is_there(path)]
    return [origin_of_bytes(content, str(path)) for path, content in contents if content is not None]


def named_map(path: Path, dataset: Dataset, outputs: int | None) -> tuple[tuple[str, ...], ClassMap | None]:
    """Finds by their names which class of the data each class of a model is.

    Args:
        path: The model's file.
        dataset: The data.
        outputs: Number of the model's classes; None where its outputs do not show it.

    Returns:
        The model's class names, () where it or the data has none, and the map; None where the classes are the same.

    Raises:
        InputError: A class of the data is none of the model's.
    """
    names, where = class_names(path, outputs)
    # Data without names numbers its classes as the model does.
    if not names or all(name == str(index) for index, name in enumerate(dataset.classes)):
        return (), None
    if names == dataset.classes:
        return names, None
    known = {_plain(name): index for index, name in reversed(list(enumerate(names)))}
    places = [known.get(_plain(name), -1) for name in dataset.classes]
    lacking = [name for name, place in zip(dataset.classes, places, strict=True) if place < 0]
    if lacking:
        raise InputError(
            f"{dataset.name} has classes that {path.name} does not know: {_some(lacking)}. The data's are "
            f"{_some(dataset.classes)}; the model's, in {where}, are {_some(names)}. Rename the folders or labels, or "
            "say which is which with --class-map (offset=0 takes them by their order)"
        )
    if places == list(range(len(dataset.classes))):
        return names, None
    return names, ClassMap({place: index for index, place in enumerate(places)})


def by_model(dataset: Dataset, names: Sequence[str], classes: ClassMap) -> tuple[Dataset, NDArray[np.int64]]:
    """A data set of one class a picture, with the classes and labels of a model; and the model's index of each."""
    table = np.zeros(len(dataset.classes), np.int64)
    for model, data in classes.named.items():
        table[data] = model
    return replace(dataset, classes=tuple(names), labels=table[dataset.labels]), table


def _plain(name: str) -> str:
    """A name as it is compared: case, separators and synonyms after a comma do not tell classes apart."""
    return " ".join(name.partition(",")[0].replace("_", " ").replace("-", " ").casefold().split())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")
