"""A build of somebody's own model: the network is read, its classes are held against the data, its pixels settled."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.arrays import is_arrays
from mnedge.data.names import read_names
from mnedge.errors import InputError
from mnedge.files import sha256
from mnedge.graph.heads import HEADS, answering_output
from mnedge.models.description import trained_draw
from mnedge.pixels import Pixels
from mnedge.sources import open_source, with_labels
from mnedge.workflows.build.own_arrays import open_samples
from mnedge.workflows.settle_pixels import check_takes_one, settle_pixels

if TYPE_CHECKING:
    from mnedge.data._dataset import Dataset
    from mnedge.data.arrays import Arrays
    from mnedge.graph.heads import Head
    from mnedge.progress import Progress
    from mnedge.recipe import Recipe
    from mnedge.sources import Float
    from mnedge.tasks import Task

_SHOWN = 8
_PICTURE_RANK = 4
_ANSWERS = ("softmax", "logits", "sigmoid")


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A network that was not built here.

    Attributes:
        path: Its file or folder.
        sha256: Checksum of the file or folder.
        network: Network of the model.
        pixels: Pixels of the model; None for one that takes arrays whose range is not stated.
        labels: Class names, one an output; () where outputs are no classes.
        is_labelled: Whether the data says what its outputs should be.
        notes: Notes for the user, a sentence each.
        arrays: Samples of its inputs instead of pictures; None for pictures.
        place: Place of the output that the labels are of.
    """

    path: Path
    sha256: str
    network: Float
    pixels: Pixels | None
    labels: tuple[str, ...]
    is_labelled: bool
    notes: tuple[str, ...]
    arrays: Arrays | None = None
    place: int = 0

    @property
    def slug(self) -> str:
        """Name of the artifacts: that of the file, of letters that file names have everywhere."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.name.removesuffix(self.path.suffix)).strip("._") or "model"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first input that is a picture, pixels; 0 and 0 where none is."""
        shapes = [self.network.graph.tensors[name].shape for name in self.network.graph.inputs]
        return next(((shape[1], shape[2]) for shape in shapes if len(shape) == _PICTURE_RANK), (0, 0))

    @property
    def values(self) -> int:
        """Values of the output that the labels are of; of a map its channels."""
        return self.network.outputs[self.place].shape[-1]


def resolve_model(recipe: Recipe, task: Task, progress: Progress, *, check_data: bool) -> tuple[OwnModel, Dataset]:
    """Reads a recipe's model and opens its data, with labels in the order of the model's classes.

    Raises:
        InputError: The model or the data cannot be read, do not fit each other, or the range of pixels is not known.
        UnsupportedError: The model holds what cannot be brought in.
    """
    assert recipe.model is not None
    path = Path(recipe.model)
    progress("read the model", 0.0)
    network = open_source(path, recipe.input_size, recipe.signature)
    progress("read the model", 1.0)
    told = None if recipe.pixels is None else Pixels.parse(recipe.pixels)
    if is_arrays(recipe.data):
        if recipe.labels is not None:
            names = read_names(Path(recipe.labels))
            network = with_labels(network, names, place=_place_of(network, len(names)))
        if recipe.head is not None:
            network = with_head(path, network, recipe.head)
        arrays, samples = open_samples(path, network, recipe)
        is_labelled = bool(arrays.truths)
        model = OwnModel(path, sha256(path), network, told, network.labels, is_labelled, network.notes, arrays)
        return model, samples
    check_takes_one(path, network.graph)
    dataset = task.open_dataset(
        recipe.data,
        skip_broken=recipe.skip_broken,
        # A model that was trained here is measured on the pictures that were held out then.
        draw=trained_draw(path),
    )
    if check_data:
        dataset = dataset.read_again()
    if recipe.head is not None:
        network = with_head(path, network, recipe.head)
    if recipe.labels is not None:
        names = read_names(Path(recipe.labels))
        network = with_labels(network, names, place=_place_of(network, len(names)))
    place = _answering(path, network, dataset, recipe)
    dataset, labels, is_labelled = _fitted(path, network, place, dataset, recipe)
    if labels and place == 0 and network.outputs[0].head == "numbers":
        network = with_labels(network, labels)
    notes = list(network.notes)
    pixels = settle_pixels(
        path,
        network,
        dataset,
        told,
        output=place,
        notice=notes.append,
        progress=progress,
    )
    model = OwnModel(path, sha256(path), network, pixels, labels, is_labelled, tuple(notes), place=place)
    return model, dataset


def _place_of(network: Float, count: int) -> int:
    """The place of the first output with a value for each of so many names; 0 where none has."""
    places = [place for place, output in enumerate(network.outputs) if output.shape[-1:] == (count,)]
    return places[0] if places else 0


def _answering(path: Path, network: Float, dataset: Dataset, recipe: Recipe) -> int:
    """The place of the output that tells the classes of the data apart; of several, the one with as many scores."""
    heads: list[tuple[Head, int]] = []
    for output in network.outputs:
        count = output.shape[-1] if output.shape else 1
        # A last linear layer gives logits or other numbers; as many as there are classes are logits.
        heads.append(("logits" if output.head == "numbers" and count > 1 else output.head, count))
    place = 0 if recipe.positive is not None else answering_output(heads, len(dataset.classes))
    if place and recipe.bundles:
        raise InputError(
            f"{path} tells classes apart in its output {network.outputs[place].name}, and apps of the bundle "
            f"{recipe.bundles[0]} read the first one, {network.outputs[0].name}; export the model with it first"
        )
    return place


def _fitted(
    path: Path, network: Float, place: int, dataset: Dataset, recipe: Recipe
) -> tuple[Dataset, tuple[str, ...], bool]:
    """The data with labels as the model numbers them, the names of the outputs, and whether the data says the truth."""
    output = network.outputs[place]
    values = output.shape[-1] if output.shape else 1
    if recipe.positive is not None:
        dataset = yes_or_no(dataset, recipe.positive)
    if output.head == "sigmoid":
        if len(dataset.classes) != 2:
            raise InputError(
                f"{path} has one output, yes or no, and {dataset.name} has {len(dataset.classes)} classes "
                f"({_some(dataset.classes)}); name the class that is the yes with --positive"
            )
        return dataset, (dataset.classes[1],), True
    are_numbers = output.head == "numbers" and (recipe.head == "numbers" or not _may_be_classes(values, dataset))
    if output.head == "map" or are_numbers:
        return dataset, (), output.head == "map"
    if output.head not in (*_ANSWERS, "numbers"):
        return dataset, network.labels, False
    if dataset.fixed_classes and values != len(dataset.classes):
        own = f" ({_some(network.labels)})" if network.labels else ""
        raise InputError(
            f"{path} has {values} outputs{own}, and {dataset.name} has {len(dataset.classes)} classes "
            f"({_some(dataset.classes)}); give --data with the classes of the model"
        )
    if not network.labels:
        names = dataset.classes[:values]
        return dataset, names + tuple(str(index) for index in range(len(names), values)), True
    return in_order_of(path, network.labels, dataset), network.labels, True


def _may_be_classes(values: int, dataset: Dataset) -> bool:
    """Returns whether plain numbers may be the logits of the data's classes; a CSV may show only some indices."""
    shown = len(dataset.classes)
    return values == shown or (not dataset.fixed_classes and 1 < shown <= values)


def with_head(path: Path, network: Float, head: str) -> Float:
    """The network with what the user says its first output is.

    Raises:
        InputError: There is no such kind, or the output's shape is none of it.
    """
    known = next((kind for kind in HEADS if kind == head), None)
    if known is None:
        raise InputError.unknown(f"--head of the model {path}", head, HEADS)
    output = network.outputs[0]
    is_vector, values = math.prod(output.shape) == output.shape[-1], output.shape[-1]
    takes = {"map": not is_vector, "sigmoid": is_vector and values == 1, "numbers": True}
    if not takes.get(known, is_vector and values > 1):
        shape = " x ".join(map(str, output.shape))
        raise InputError(
            f"--head {head}: output {output.name} of {path} is {shape}; sigmoid takes one value, softmax, logits and "
            "multi-label several, map a height and width. Leave --head out for what the model shows"
        )
    return replace(network, outputs=(replace(output, head=known), *network.outputs[1:]))


def yes_or_no(dataset: Dataset, positive: str) -> Dataset:
    """The data with two classes: another one, and the one that is the yes."""
    labels = (dataset.labels == dataset.class_index(positive)).astype(np.int64)
    return replace(dataset, labels=labels, classes=(f"not {positive}", positive), fixed_classes=True)


def in_order_of(path: Path, labels: tuple[str, ...], dataset: Dataset) -> Dataset:
    """The data with its classes numbered as the model's labels; a CSV without names has the model's numbers already."""
    if all(name.isdecimal() for name in dataset.classes) or dataset.classes == labels:
        return replace(dataset, classes=labels)
    if missing := [name for name in dataset.classes if name not in labels]:
        raise InputError(
            f"{path} knows {_some(labels)}, and {dataset.name} has {_some(dataset.classes)}: {_some(missing)} "
            "is none of the model's; rename the classes of the data, or give the model's names with --labels FILE"
        )
    places = np.array([labels.index(name) for name in dataset.classes], np.int64)
    return replace(dataset, labels=places[dataset.labels], classes=labels)


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
