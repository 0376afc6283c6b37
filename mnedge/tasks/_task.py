"""Task: what differs between classifying, segmenting, detecting and embedding, as data and functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnedge.validation.parity import same_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.models import Variant
    from mnedge.results.accuracy import Figures, MixUp
    from mnedge.training.phases import Lesson
    from mnedge.training.settings import Schedule
    from mnedge.validation.predict import Predictions


@dataclass(frozen=True, eq=False)
class Gathered:
    """The pictures of a split, decoded.

    Attributes:
        pixels: uint8, (n, S, S, 3), mapped from a file.
        numbers: Their picture numbers in the data set, int64, (n,).
    """

    pixels: NDArray[np.uint8]
    numbers: NDArray[np.int64]

    @property
    def side(self) -> int:
        """Side of the pictures, pixels."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class Material:
    """What a lesson is made of.

    Attributes:
        dataset: Where the pictures come from, and what is marked in them.
        variant: The network.
        schedule: Settings of the training.
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        rows: Which of those count, int64: without pictures that the validation split has too.
        held: Validation pictures at the network's resolution; all count.
        new_layers: Names of the head's layers.
        note: Keeps a JSON value under a name for the account of the training.
        progress: Told the name of a stage and its done fraction, 0..1.
    """

    dataset: Dataset
    variant: Variant
    schedule: Schedule
    train: Gathered
    rows: NDArray[np.int64]
    held: Gathered
    new_layers: frozenset[str]
    note: Callable[[str, Any], None]
    progress: Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: The token of the command line.
        metric: Key of its headline in report.json's accuracy rows and in training scores; more is better, 0..1.
        heads: Heads that serve it, the default first.
        open_dataset: Opens a data set: (spec, skip_broken=, split_seed=).
        classes: What a variant's `classes` is for a data set; None where the data has no say in it.
        check: Refuses a data set that cannot be trained on, before any picture is read.
        lesson: What training needs.
        outcome: Of what `Lesson.judge` gave, the numbers of the validation pictures and the data set: the rows of the
            training's report that are this task's own, `metric` among them.
        show: Of what `Lesson.judge` gave, the numbers, the data set and one of those numbers: the picture for the
            training's page with what is marked in it and what was found, uint8 (H, W, 3).
        accuracy: Of what an artifact said and the data set: the figures of an accuracy row.
        mistakes: Of the same: what the artifact mixes up, the worst first.
        counted: What the fractions of `mistakes` are of: "pictures", "pixels" or "boxes".
        gallery: Of the same: (source, words, picture) of those that were met worst, with what is marked and what was
            found drawn into it, uint8 (H, W, 3); None where confusions say more.
        agreement: Of what two artifacts said: the share of each picture of which they say the same, 0..1, (pictures,).
        schedule: Settings of a training that differ from a classifier's.
        describe: Of a data set and a network that learned it: what its .keras has to carry besides weights and classes.
        metadata: Of a network and what its weights carry: metadata of the files that are made of it.
        post_passes: Names of the passes that put post-processing into a file, by its format.
    """

    name: str
    metric: str
    heads: tuple[str, ...]
    open_dataset: Callable[..., Dataset]
    classes: Callable[[Dataset], int | None]
    check: Callable[[Dataset], None]
    lesson: Callable[[Material], Lesson]
    outcome: Callable[[Mapping[str, NDArray[Any]], NDArray[np.int64], Dataset], dict[str, Any]]
    show: Callable[[Mapping[str, NDArray[Any]], NDArray[np.int64], Dataset, int], NDArray[np.uint8]]
    accuracy: Callable[[Predictions, Dataset], Figures]
    mistakes: Callable[[Predictions, Dataset], list[MixUp]]
    counted: str = "pictures"
    gallery: Callable[[Predictions, Dataset], list[tuple[str, str, NDArray[np.uint8]]]] | None = None
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]] = same_class
    schedule: Mapping[str, Any] = field(default_factory=dict)
    describe: Callable[[Dataset, Variant], dict[str, Any]] = lambda _dataset, _variant: {}
    metadata: Callable[[Variant, Mapping[str, Any]], dict[str, bytes]] = lambda _variant, _told: {}
    post_passes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
