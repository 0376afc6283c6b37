"""Task: what differs between classifying, segmenting, detecting and embedding, as data and functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnedge.training.settings import Schedule
from mnedge.validation.parity import same_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.graph.heads import Head
    from mnedge.models import Variant
    from mnedge.models.description import Description
    from mnedge.results.accuracy import Figures, MixUp
    from mnedge.results.findings import Suspect
    from mnedge.results.metric import Metric
    from mnedge.results.outcome import Outcome
    from mnedge.results.prediction import Answer
    from mnedge.results.report import Report
    from mnedge.training.phases import Objective
    from mnedge.untyped import AnyArray
    from mnedge.validation.answers import Question, Seen
    from mnedge.validation.predict import Predictions

    # Predictions of a trained network for the validation split, by name.
    Arrays = Mapping[str, AnyArray]


@dataclass(frozen=True, eq=False)
class DecodedSplit:
    """The pictures of a split, decoded.

    Attributes:
        pixels: uint8, (n, H, W, 3), mapped from a file.
        numbers: Their picture numbers in the data set, int64, (n,).
    """

    pixels: NDArray[np.uint8]
    numbers: NDArray[np.int64]

    @property
    def side(self) -> int:
        """Height of the pictures, pixels; of squares their side."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Data of a training objective.

    Attributes:
        dataset: Pictures and their annotations.
        variant: The network; None for a model of the user's.
        schedule: Settings of the training.
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        rows: Rows of the pictures that count, int64: without pictures that the val or test split has too.
        held: Validation pictures at the network's resolution; all count.
        new_layers: Names of the head's layers.
        keep_suspects: Keeps pictures that look mislabelled for the report.
        progress: Called with the name of a stage and its done fraction, 0..1.
    """

    dataset: Dataset
    variant: Variant | None
    schedule: Schedule
    train: DecodedSplit
    rows: NDArray[np.int64]
    held: DecodedSplit
    new_layers: frozenset[str]
    keep_suspects: Callable[[Sequence[Suspect]], None]
    progress: Callable[[str, float], None]

    @property
    def network(self) -> Variant:
        """The variant of a task that trains nothing else."""
        assert self.variant is not None, "a model of the user's is no variant"
        return self.variant


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: The token of the command line.
        title: Its name in the field, such as "object detection".
        metrics: Metrics of the task, its headline first: figures of accuracy rows and training scores, and figures of
            each class.
        heads: Heads that serve it, the default first.
        open_dataset: Opens a data set: (spec, skip_broken=, draw=).
        classes: Returns the `classes` of a variant for a data set; None if the data does not decide it.
        check: Refuses a data set that cannot be trained on, before any picture is read.
        objective: Makes the training objective.
        outcome: Makes the outcome of a training, with `metric` among its figures, from what `Objective.predict_all`
            gave, the numbers of the validation pictures and the data set.
        show_target: Draws the target of a training picture into it, for the sheet of augmented pictures, from the
            pixels, uint8 (H, W, 3), the target as the loss takes it, and the data of the training.
        show: Draws a picture for the page of a training, with its annotations and the predictions, from the arguments
            of `outcome` and the picture's number: uint8 (H, W, 3).
        accuracy: Returns the figures of an accuracy row, from the predictions of an artifact and the data set.
        mistakes: Returns the mix-ups, the worst first, from the same.
        counted: Unit of the fractions of `mistakes`: "pictures", "pixels" or "boxes".
        gallery: Returns (source, words, picture) of the worst pictures, from the same; annotations and predictions are
            drawn into the picture, uint8 (H, W, 3). None for a task whose confusions say more.
        answers: Returns the answer to each picture, from the predictions, the view of each picture and the question;
            None for a task without answers to single pictures.
        draw: Draws an answer into the upright picture, uint8 (H, W, 3), from the picture, the answer, what the artifact
            said, the picture's place in it, and how it sees it.
        agreement: Returns the share of each picture in which two artifacts agree, 0..1, (pictures,).
        schedule: Settings of a training that the user leaves open.
        describe: Returns what a .keras carries besides weights and classes, from a data set and a trained network.
        metadata: Returns the metadata of a network's files, from the network and the facts in its weights.
        post_passes: Names of the passes that put post-processing into a file, by its format.
        learns_labels: Whether its outputs are probabilities of the data set's classes, so that training with fake
            quantization may learn from the labels of the pictures.
        adds_up: Whether its figures count pictures one by one, so that a split may be evaluated in parts.
        finds_boxes: Whether its outputs are scores and boxes, of a foreign model maybe ones that anchors decode.
        takes_models: Whether `train` fine-tunes models of the user's for it, not variants alone.
        output_heads: Heads of an output by which a model is known to be for it.
        own_head: Head of its own networks, where their output does not show it.
        limits: Returns the limits of its models, a sentence each, from a build's report.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    heads: tuple[str, ...]
    open_dataset: Callable[..., Dataset]
    classes: Callable[[Dataset], int | None]
    check: Callable[[Dataset], None]
    objective: Callable[[TrainingData], Objective]
    outcome: Callable[[Arrays, NDArray[np.int64], Dataset], Outcome]
    show: Callable[[Arrays, NDArray[np.int64], Dataset, int], NDArray[np.uint8]]
    accuracy: Callable[[Predictions, Dataset], Figures]
    mistakes: Callable[[Predictions, Dataset], list[MixUp]]
    counted: str = "pictures"
    gallery: Callable[[Predictions, Dataset], list[tuple[str, str, NDArray[np.uint8]]]] | None = None
    answers: Callable[[Predictions, Sequence[Seen], Question], list[Answer]] | None = None
    draw: Callable[[NDArray[np.uint8], Answer, Predictions, int, Seen], NDArray[np.uint8]] = (
        lambda pixels, _answer, _said, _place, _seen: pixels
    )
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]] = same_class
    show_target: Callable[[NDArray[np.uint8], AnyArray, TrainingData], NDArray[np.uint8]] = (
        lambda pixels, _target, _data: pixels
    )
    schedule: Schedule = field(default_factory=Schedule)
    describe: Callable[[Dataset, Variant], dict[str, object]] = lambda _dataset, _variant: {}
    metadata: Callable[[Variant, Description], dict[str, bytes]] = lambda _variant, _described: {}
    post_passes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    learns_labels: bool = False
    adds_up: bool = False
    finds_boxes: bool = False
    takes_models: bool = False
    output_heads: tuple[Head, ...] = ()
    own_head: Head | None = None
    limits: Callable[[Report], tuple[str, ...]] = lambda _report: ()

    @property
    def metric(self) -> str:
        """Key of the headline."""
        return self.metrics[0].key

    @property
    def class_metrics(self) -> tuple[Metric, ...]:
        """The figures of each class, the first of them the one that classes are ranked by."""
        return tuple(metric for metric in self.metrics if metric.by_class)
