"""A build of somebody's own model: the network is read, its classes are held against the data, its pixels settled."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.artifact import sha256
from mnedge.data.names import read_names
from mnedge.errors import InputError
from mnedge.pixels import Pixels
from mnedge.sources import open_source, with_labels
from mnedge.workflows.settle_pixels import settle_pixels

if TYPE_CHECKING:
    from mnedge.data._dataset import Dataset
    from mnedge.progress import Progress
    from mnedge.recipe import Recipe
    from mnedge.sources import Float
    from mnedge.tasks import Task

_SHOWN = 8
_ANSWERS = ("softmax", "logits", "sigmoid")


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A network that was not built here.

    Attributes:
        path: Its file or folder.
        sha256: Checksum of the file or folder.
        network: What it computes.
        pixels: What a picture is to it.
        labels: Class names, one an output; () where outputs are no classes.
        is_labelled: Whether the data says what its outputs should be.
        notes: What a user should know, a sentence each.
    """

    path: Path
    sha256: str
    network: Float
    pixels: Pixels
    labels: tuple[str, ...]
    is_labelled: bool
    notes: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Name of the artifacts: that of the file, of letters that file names have everywhere."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.name.removesuffix(self.path.suffix)).strip("._") or "model"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        shape = self.network.graph.tensors[self.network.graph.inputs[0]].shape
        return shape[1], shape[2]

    @property
    def values(self) -> int:
        """Values of the first output; of a map its channels."""
        return self.network.outputs[0].shape[-1]


def resolve_model(recipe: Recipe, task: Task, progress: Progress, *, check_data: bool) -> tuple[OwnModel, Dataset]:
    """Reads a recipe's model and opens its data, with labels in the order of the model's classes.

    Raises:
        InputError: The model or the data cannot be read, do not fit each other, or the range of pixels is not known.
        UnsupportedError: The model holds what cannot be brought in.
    """
    assert recipe.model is not None
    path = Path(recipe.model)
    progress("read the model", 0.0)
    network = open_source(path, recipe.input_size)
    progress("read the model", 1.0)
    if len(network.graph.inputs) != 1:
        raise InputError(
            f"{path} has {len(network.graph.inputs)} inputs ({', '.join(network.graph.inputs)}), and build takes "
            "models of one picture; `mnedge quantize` takes arrays"
        )
    dataset = task.open_dataset(recipe.data, skip_broken=recipe.skip_broken)
    if check_data:
        dataset = dataset.read_again()
    if recipe.labels is not None:
        network = with_labels(network, read_names(Path(recipe.labels)))
    dataset, labels, is_labelled = _fitted(path, network, dataset, recipe)
    if labels and network.outputs[0].head == "numbers":
        network = with_labels(network, labels)
    notes = list(network.notes)
    pixels = settle_pixels(
        path,
        network,
        dataset,
        None if recipe.pixels is None else Pixels.parse(recipe.pixels),
        notice=notes.append,
        progress=progress,
    )
    model = OwnModel(path, sha256(path), network, pixels, labels, is_labelled, tuple(notes))
    return model, dataset


def _fitted(path: Path, network: Float, dataset: Dataset, recipe: Recipe) -> tuple[Dataset, tuple[str, ...], bool]:
    """The data with labels as the model numbers them, the names of the outputs, and whether the data says the truth."""
    output = network.outputs[0]
    values = output.shape[-1] if output.shape else 1
    if recipe.positive is not None:
        dataset = _yes_or_no(dataset, recipe.positive)
    if output.head == "sigmoid":
        if len(dataset.classes) != 2:
            raise InputError(
                f"{path} has one output, yes or no, and {dataset.name} has {len(dataset.classes)} classes "
                f"({_some(dataset.classes)}); name the class that is the yes with --positive"
            )
        return dataset, (dataset.classes[1],), True
    if output.head == "map" or (output.head == "numbers" and values != len(dataset.classes)):
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
    return _ordered(path, network.labels, dataset), network.labels, True


def _yes_or_no(dataset: Dataset, positive: str) -> Dataset:
    """The data with two classes: another one, and the one that is the yes."""
    labels = (dataset.labels == dataset.class_index(positive)).astype(np.int64)
    return replace(dataset, labels=labels, classes=(f"not {positive}", positive), fixed_classes=True)


def _ordered(path: Path, labels: tuple[str, ...], dataset: Dataset) -> Dataset:
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
