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

    from mnedge.data._dataset import Dataset
    from mnedge.models import Variant
    from mnedge.models.description import Description
    from mnedge.results.accuracy import Figures, MixUp
    from mnedge.results.findings import Suspect
    from mnedge.results.metric import Metric
    from mnedge.results.prediction import Answer
    from mnedge.results.training import Outcome
    from mnedge.training.phases import Objective
    from mnedge.untyped import AnyArray
    from mnedge.validation.answers import Asked, Seen
    from mnedge.validation.predict import Predictions

    # What a trained network predicts for the validation split, by name.
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
    """What a training objective is made from.

    Attributes:
        dataset: Where the pictures come from, and what is marked in them.
        variant: The network; None for a model of the user's.
        schedule: Settings of the training.
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        rows: Which of those count, int64: without pictures that the validation split has too.
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
    """One task.

    Attributes:
        name: The token of the command line.
        metrics: What it is scored by, its headline first: figures of accuracy rows and training scores, and figures of
            each class.
        heads: Heads that serve it, the default first.
        open_dataset: Opens a data set: (spec, skip_broken=, draw=).
        classes: What a variant's `classes` is for a data set; None where the data has no say in it.
        check: Refuses a data set that cannot be trained on, before any picture is read.
        objective: Makes what training needs.
        outcome: Makes the outcome of a training, with `metric` among its figures, from what `Objective.predict_all`
            gave, the numbers of the validation pictures and the data set.
        show: Draws a picture for the page of a training, with what is marked in it and what was found, from the same
            and the picture's number: uint8 (H, W, 3).
        accuracy: Of what an artifact said and the data set: the figures of an accuracy row.
        mistakes: Of the same: what the artifact mixes up, the worst first.
        counted: What the fractions of `mistakes` are of: "pictures", "pixels" or "boxes".
        gallery: Of the same: (source, words, picture) of those that were met worst, with what is marked and what was
            found drawn into it, uint8 (H, W, 3); None where confusions say more.
        answers: Of what an artifact said, how it sees each picture and what is asked: what it says of each picture;
            None where nothing is said of single pictures.
        draw: Draws an answer into the upright picture, uint8 (H, W, 3), from the picture, the answer, what the artifact
            said, the picture's place in it, and how it sees it.
        agreement: Of what two artifacts said: the share of each picture of which they say the same, 0..1, (pictures,).
        schedule: Settings of a training that the user leaves open.
        describe: Of a data set and a network that learned it: what its .keras has to carry besides weights and classes.
        metadata: Of a network and what its weights carry: metadata of the files that are made of it.
        post_passes: Names of the passes that put post-processing into a file, by its format.
        learns_labels: Whether its outputs are probabilities of the data set's classes, so that training with fake
            quantization may learn from the labels of the pictures.
        adds_up: Whether its figures count pictures one by one, so that a split may be evaluated in parts.
        finds_boxes: Whether its outputs are scores and boxes, of a foreign model maybe ones that anchors decode.
    """

    name: str
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
    answers: Callable[[Predictions, Sequence[Seen], Asked], list[Answer]] | None = None
    draw: Callable[[NDArray[np.uint8], Answer, Predictions, int, Seen], NDArray[np.uint8]] = (
        lambda pixels, _answer, _said, _place, _seen: pixels
    )
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]] = same_class
    schedule: Schedule = field(default_factory=Schedule)
    describe: Callable[[Dataset, Variant], dict[str, object]] = lambda _dataset, _variant: {}
    metadata: Callable[[Variant, Description], dict[str, bytes]] = lambda _variant, _described: {}
    post_passes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    learns_labels: bool = False
    adds_up: bool = False
    finds_boxes: bool = False

    @property
    def metric(self) -> str:
        """Key of the headline."""
        return self.metrics[0].key

    @property
    def class_metrics(self) -> tuple[Metric, ...]:
        """The figures of each class, the first of them the one that classes are ranked by."""
        return tuple(metric for metric in self.metrics if metric.by_class)
