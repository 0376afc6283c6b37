"""A Keras model of the user's to be fine-tuned: what a picture is to it, and whether its head fits the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.data.names import read_names
from mnedge.errors import InputError, UnsupportedError
from mnedge.files import sha256
from mnedge.formats.pixels import unknown_pixels
from mnedge.models.description import trained_draw
from mnedge.pixels import Pixels
from mnedge.results.training import OwnNetwork
from mnedge.sources import open_source, source_of, with_labels
from mnedge.sources.keras import SOURCE as KERAS
from mnedge.sources.keras import load_model
from mnedge.training.own_model import head_of, is_untrained
from mnedge.workflows.build.own_model import in_order_of, yes_or_no
from mnedge.workflows.settle_pixels import settle_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.data._dataset import Dataset
    from mnedge.data.draw import Draw
    from mnedge.progress import Progress
    from mnedge.sources import Float
    from mnedge.training.own_model import Head

_SHOWN = 8


@dataclass(frozen=True, eq=False)
class OwnClassifier:
    """A Keras classifier that is to be fine-tuned.

    Attributes:
        path: Its file.
        sha256: Its checksum.
        size: Height and width of its input, pixels.
        pixels: Pixels of the model.
        head: Name of the layer that tells its classes apart.
        is_new_head: Whether that layer is replaced, because it tells other classes apart than the data has.
        classes: Number of classes that are trained.
        notes: Notes for the user, a sentence each.
    """

    path: Path
    sha256: str
    size: tuple[int, int]
    pixels: Pixels
    head: str
    is_new_head: bool
    classes: int
    notes: tuple[str, ...]

    def key(self) -> dict[str, object]:
        """Everything that the training depends on, as JSON values; the file's name is no part of it."""
        return {
            "sha256": self.sha256,
            "size": self.size,
            "pixels": self.pixels.to_bytes().decode(),
            "is_new_head": self.is_new_head,
            "classes": self.classes,
        }

    def noun(self) -> OwnNetwork:
        """The classifier for reports and keys."""
        return OwnNetwork(
            str(self.path),
            self.sha256,
            self.size,
            str(self.pixels),
            self.head,
            self.is_new_head,
            self.classes,
            self.notes,
        )


@dataclass(frozen=True)
class Stated:
    """A user's statements about a model; None where nothing is stated.

    Attributes:
        pixels: Range of its pixels as `Pixels.parse` reads it.
        size: Height and width in pixels, where it leaves them open.
        labels: File of its class names, one a line.
        positive: Class of the data that is the yes of a model with one output.
    """

    pixels: Pixels | str | None = None
    size: tuple[int, int] | None = None
    labels: Path | str | None = None
    positive: str | None = None


def resolve_classifier(
    path: Path,
    open_dataset: Callable[[Draw | None], Dataset],
    stated: Stated,
    notice: Callable[[str], None],
    progress: Progress,
) -> tuple[OwnClassifier, Dataset]:
    """Reads a model, holds its classes against the data's, and settles its pixels.

    Args:
        path: A .keras or .h5 with a whole model.
        open_dataset: Opens the data with the draw of splits that the model was trained with, if it was trained here.
        stated: Statements of the user about the model.
        notice: Called with notes for the user before the training begins, a sentence at a time.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Returns:
        The model, and the data with its classes in the model's order.

    Raises:
        InputError: The model or the data cannot be read, do not fit, or the range of pixels is not known.
        UnsupportedError: It is no Keras model, no classifier, or cannot be brought in.
    """
    source = source_of(path)
    if source is not KERAS:
        raise UnsupportedError(
            f"{path} is {source.what}, which holds no Keras layers to train. Give --model the .keras or .h5 that it "
            "was made from; `mnedge quantize --method qat` trains the int8 form of any model"
        )
    progress("read the model", 0.0)
    network = open_source(path, stated.size)
    _check_ends(path, network)
    keras_model, _ = load_model(path)
    head = head_of(keras_model, str(path))
    progress("read the model", 1.0)
    _check_kind(path, network, head)
    dataset = open_dataset(trained_draw(path))
    notes = list(network.notes)

    def note(words: str) -> None:
        notes.append(words)
        notice(words)

    for words in network.notes:
        notice(words)
    if is_untrained(keras_model):
        note("Its batch norms have seen no pictures, so all of it is trained from scratch")
    if stated.positive is not None:
        dataset = yes_or_no(dataset, stated.positive)
    if stated.labels is not None:
        network = with_labels(network, read_names(Path(stated.labels)))
    why = _misfit(network, dataset)
    old = ", ".join(network.labels[:_SHOWN]) or f"{_values(network)} classes"
    new = _some(dataset.classes)
    if why is not None:
        note(f"The head {head.name} ({old}) is replaced by a new one of {len(dataset.classes)} classes ({new}): {why}")
    elif network.labels:
        dataset = in_order_of(path, network.labels, dataset) if len(network.labels) > 1 else dataset
        note(f"The head {head.name} is kept: it tells the data's classes apart already ({_some(dataset.classes)})")
    else:
        note(f"The head {head.name} is kept; its {len(dataset.classes)} classes are taken to be {new}, in this order")
    pixels = _pixels(path, network, dataset, stated, is_new_head=why is not None, note=note, progress=progress)
    shape = network.graph.tensors[network.graph.inputs[0]].shape
    model = OwnClassifier(
        path,
        sha256(path),
        (shape[1], shape[2]),
        pixels,
        head.name,
        why is not None,
        len(dataset.classes),
        tuple(notes),
    )
    return model, dataset


def _check_ends(path: Path, network: Float) -> None:
    graph = network.graph
    for what, names in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(names) != 1:
            raise UnsupportedError(
                f"{path} has {len(names)} {what} ({', '.join(names)}), and train takes classifiers of one picture with "
                "one output. Cut it in Keras, e.g. keras.Model(model.inputs[0], model.outputs[0]), and give that"
            )


def _check_kind(path: Path, network: Float, head: Head) -> None:
    """Refuses what gives no classes."""
    output = network.outputs[0]
    if output.head == "map" or (output.head == "numbers" and (_values(network) == 1 or head.activation != "linear")):
        shape = " x ".join(map(str, output.shape))
        raise UnsupportedError(
            f"{path} is no classifier: its output {output.name} is {output.head} of shape {shape}, and train teaches "
            "classes of whole pictures. Give a model that ends in Dense(classes) with softmax, or, for one class "
            "against the rest, in Dense(1) with sigmoid"
        )


def _values(network: Float) -> int:
    return network.outputs[0].shape[-1]


def _misfit(network: Float, dataset: Dataset) -> str | None:
    """Why the head of a model does not serve the data's classes; None where it does."""
    kind, values, classes = network.outputs[0].head, _values(network), dataset.classes
    if kind == "multi-label":
        return "it gives a probability a label, and the data has one class a picture"
    if kind == "sigmoid":
        return None if len(classes) == 2 else f"it says yes or no, and the data has {len(classes)} classes"
    if values != len(classes):
        return f"the data has {len(classes)} classes, not {values}"
    is_numbered = all(name.isdecimal() for name in classes)
    if network.labels and not is_numbered and set(network.labels) != set(classes):
        return f"the data's classes have other names ({_some([n for n in classes if n not in network.labels])})"
    return None


def _pixels(
    path: Path,
    network: Float,
    dataset: Dataset,
    stated: Stated,
    *,
    is_new_head: bool,
    note: Callable[[str], None],
    progress: Progress,
) -> Pixels:
    """The range of the model's pixels; labelled pictures can show it only where the model knows their classes."""
    asked = Pixels.parse(stated.pixels) if isinstance(stated.pixels, str) else stated.pixels
    if not is_new_head:
        return settle_pixels(path, network, dataset, asked, notice=note, progress=progress)
    known = asked or network.pixels
    if known is None:
        raise InputError(
            f"{unknown_pixels(path)}. Labelled pictures cannot show it, because the head does not know their classes"
        )
    # Its channels are checked as everywhere.
    from mnedge.validation.predict import pixels_for

    return pixels_for(path, network.graph.tensors[network.graph.inputs[0]].shape, known)


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
