"""Training: what `mnedge train` gives, and the .report.json beside its .keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.results import shown, stored
from mnedge.results.findings import Findings, Suspect
from mnedge.results.outcome import Outcome, own_values
from mnedge.results.stored import ABSENT, FLAT

if TYPE_CHECKING:
    from mnedge.untyped import JsonObject

SCHEMA = 1


def finite(value: float) -> float | None:
    """The value; None where it is not a number or infinite, as the loss of a training that diverged."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Epoch:
    """An epoch.

    Attributes:
        phase: "head" or "fine-tune".
        number: Number within its phase, from 1; 0 stands for the weights that the phase began with.
        learning_rate: Learning rate at its end.
        loss: Mean training loss, with augmentation and label smoothing; None where it is not finite.
        scores: Scores of the validation split: the headline of the task, and "loss"; None where one is not finite.
        seconds: Wall time, with the validation.
        epochs: Number of epochs that its phase has at most; None in reports of before this was written.
        images_per_second: Training pictures a second, without the validation; None likewise.
        cores: Processor cores that training kept busy, without the validation; None likewise.
    """

    phase: str
    number: int
    learning_rate: float
    loss: float | None
    scores: Mapping[str, float | None]
    seconds: float
    epochs: int | None = field(default=None, metadata=ABSENT)
    images_per_second: float | None = field(default=None, metadata=ABSENT)
    cores: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class ModelFile:
    """The .keras.

    Attributes:
        path: File name.
        bytes: Size.
        sha256: Checksum.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Network:
    """The network that was trained.

    Attributes:
        family: Token of its family.
        alpha: Width multiplier.
        resolution: Side of the input, pixels.
        classes: Number of outputs.
        head: "classifier", or the head of another task.
        output_stride: Output stride of the backbone.
    """

    family: str
    alpha: float
    resolution: int
    classes: int
    head: str = "classifier"
    output_stride: int | None = None


@dataclass(frozen=True)
class OwnNetwork:
    """A model of the user's that was fine-tuned.

    Attributes:
        path: Its file, as given.
        sha256: Its checksum.
        size: Height and width of its input, pixels.
        pixels: Pixels of a picture at the input, as `Pixels.parse` reads them.
        head: Name of the layer that tells its classes apart.
        is_new_head: Whether the last layer was replaced.
        classes: Number of classes.
        notes: Notes for the user, a sentence each.
    """

    path: str
    sha256: str
    size: tuple[int, int]
    pixels: str
    head: str
    is_new_head: bool
    classes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Attributes:
        variant: The network; None for a model of the user's.
        data: Name of the data set.
        draw: Draw of the splits: seed, val_fraction, test_fraction, group_by, keeps_twins; None where the data came
            with its own.
        weights: Weights that the backbone started from.
        keep_shared: Whether the training used pictures that the val or test split has too.
        model: A model of the user's; None for a variant.
        schedule: Epochs, rates, augmentation and so on, by name.
    """

    variant: Network | None
    data: str
    draw: Mapping[str, object] | None
    weights: str
    keep_shared: bool
    model: OwnNetwork | None = field(default=None, metadata=ABSENT)
    schedule: Mapping[str, object] = field(default_factory=dict, metadata=FLAT)

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the schedule of a stored row into a value of its own."""
        own = {entry.name for entry in fields(Settings)} - {"schedule"}
        schedule = {name: value for name, value in row.items() if name not in own}
        return {**{name: value for name, value in row.items() if name in own}, "schedule": schedule}


@dataclass(frozen=True)
class Images:
    """Number of pictures that were trained on, and of those of the validation and the test split."""

    train: int
    eval: int
    test: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class Account:
    """Account of a training.

    Attributes:
        is_complete: Whether the training reached its end; False if it paused.
        best: The epoch of the last phase that the weights are of.
        images: Number of pictures.
        seconds: Wall time of the run that ended it.
        cpu_seconds: Processor time of that run.
        history: Every epoch of both phases.
        findings: Findings about the pictures.
        suspects: Pictures that look mislabelled; None where nobody looked.
        settings: Settings of the training.
        chosen_by: Key of the score that chose the best epoch; None in reports of before this was written.
    """

    is_complete: bool
    best: Epoch
    images: Images
    seconds: float
    cpu_seconds: float
    history: tuple[Epoch, ...]
    findings: Findings
    suspects: tuple[Suspect, ...] | None
    settings: Settings
    chosen_by: str | None = field(default=None, metadata=ABSENT)

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the settings into the shape of their fields."""
        found = own_values(row, *(entry.name for entry in fields(Account)))
        if isinstance(settings := found.get("settings"), dict):
            found["settings"] = Settings.of_stored(settings)
        return found


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Result of `train`.

    Attributes:
        schema: Version of the JSON.
        task: Task of the network.
        metric: Key of the task's headline.
        model: The .keras.
        outcome: Outcome of the best weights on the validation split.
        account: Account of the training.
        tools: Versions of the packages that trained it.
        test: Outcome of the best weights on the test split, which chose nothing; None without one, and the figure of
            `outcome` chose the epoch.
    """

    schema: int = SCHEMA
    task: str
    metric: str
    model: ModelFile
    outcome: Outcome = field(metadata=FLAT)
    account: Account = field(metadata=FLAT)
    tools: Mapping[str, str] = field(default_factory=dict)
    test: Outcome | None = field(default=None, metadata=ABSENT)

    @property
    def score(self) -> float:
        """The headline of the validation split, 0..1."""
        return self.outcome.figures[self.metric]

    @property
    def images_per_second(self) -> float | None:
        """Training pictures a second over all epochs of the last phase; None in reports that do not say it."""
        last = [epoch for epoch in self.account.history if epoch.phase == self.account.history[-1].phase]
        rates = [epoch.images_per_second for epoch in last if epoch.images_per_second]
        return len(rates) / sum(1 / rate for rate in rates) if rates else None

    def notes(self) -> list[str]:
        """Notes on the figures: which pictures chose the epoch, and the effect of uneven classes."""
        found = []
        figures, chosen_by = self.outcome.figures, self.account.chosen_by
        if "balanced_accuracy" in figures and "macro_f1" in figures:
            balanced, f1 = 100 * figures["balanced_accuracy"], 100 * figures["macro_f1"]
            found.append(f"balanced accuracy {balanced:.1f} %, macro F1 {f1:.1f} %")
        if chosen_by is not None and chosen_by != self.metric:
            found.append(
                f"the epoch was chosen by {chosen_by.replace('_', ' ')}: the largest class has more than three times "
                "the pictures of the smallest"
            )
        shown = [row.images for row in self.outcome.classes]
        largest = max(shown, default=0) / max(sum(shown), 1)
        if "top1" in figures and figures["top1"] <= largest:
            found.append(
                f"top-1 is {100 * figures['top1']:.1f} %, and always saying the largest class would have "
                f"{100 * largest:.1f} %: look at the recall of each class"
            )
        if self.outcome.two_classes is not None:
            found.append(self.outcome.two_classes.said)
        if self.test is not None:
            score = 100 * self.test.figures[self.metric]
            found.append(f"test: {score:.1f} % on {self.account.images.test:,} pictures that chose nothing")
        else:
            found.append(
                "there is no test split: the figure is of the pictures that chose the epoch, and somewhat too high; "
                "--test-fraction keeps some pictures apart"
            )
        return found

    @staticmethod
    def of_stored(values: JsonObject) -> JsonObject:
        """Puts what stands in one row of JSON into the nouns that hold it."""
        own = own_values(values, "schema", "task", "metric", "model", "tools")
        test = values.get("test")
        if isinstance(test, dict):
            own["test"] = Outcome.of_stored(test)
        return {**own, "outcome": Outcome.of_stored(values), "account": Account.of_stored(values)}

    def _repr_html_(self) -> str:
        keys = list(dict.fromkeys(key for row in self.outcome.classes for key in row.figures))
        account = self.account
        return "".join(
            (
                shown.table(
                    self.model.path,
                    ("task", self.metric, "pictures", "best epoch", "seconds"),
                    [(self.task, self.score, account.images.eval, account.best.number, account.seconds)],
                ),
                shown.table(
                    "Classes",
                    ("class", "pictures", *keys),
                    ((row.name, row.images, *map(row.figures.get, keys)) for row in self.outcome.classes),
                ),
            )
        )


def read_training(path: Path) -> TrainingReport:
    """Reads the .report.json of a training.

    Raises:
        InputError: It cannot be read, or is not one of a schema that this version reads.
    """
    report = stored.read(path, TrainingReport)
    if report.schema != SCHEMA:
        raise InputError(f"{path} has schema {report.schema}, this mnedge reads schema {SCHEMA}; train it again")
    return report
