"""A training: pictures and a pretrained backbone, or a model of the user's, to a .keras in the cache."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache, tasks
from mnedge.choices import DEFAULT_TASK
from mnedge.data.check import check_left, check_pictures
from mnedge.data.gather import gather, save
from mnedge.files import sha256, write_text
from mnedge.models.build import style_key
from mnedge.pixels import SYMMETRIC
from mnedge.results import stored
from mnedge.results.findings import Suspects
from mnedge.results.training import Account, Images, Network, Settings
from mnedge.silence import start_tensorflow
from mnedge.tasks._task import DecodedSplit, TrainingData
from mnedge.training.augment import MARGIN
from mnedge.workflows.train_model import OwnClassifier
from mnedge.workflows.trainable import trainable_model, trainable_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.models import Variant
    from mnedge.models.description import Weights
    from mnedge.results.findings import Findings, Suspect
    from mnedge.results.outcome import Outcome
    from mnedge.results.training import Epoch
    from mnedge.tasks import Task
    from mnedge.training.settings import Schedule
    from mnedge.untyped import AnyArray

    Progress = Callable[[str, float], None]
    OnEpoch = Callable[[Epoch], None]


_SUSPECTS = b"suspects"
_ACCOUNT, _TEST, _AUGMENTED = "account.json", "test.npz", "augmented.npz"
# Version of what a training keeps in the cache.
_KEPT = 4
# Pictures of the sheet of augmented ones.
_SAMPLES = 18


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network in the cache.

    Attributes:
        path: The .keras with the best weights and the class names; copy it to where it ships from.
        task: Name of the task.
        score: The task's headline on the validation (eval) split with the best weights, 0..1.
        predictions: Predictions for the validation split, as arrays of the task.
        numbers: int64, picture numbers of the validation split in the data set.
        outcome: Outcome on the validation split.
        account: Account of the training; it is not complete if the run paused at `until_epoch`.
        test: Outcome on the test split; None without one.
        augmented: Some training pictures as the network saw them, with their targets drawn: uint8, (n, H, W, 3).
    """

    path: Path
    task: str
    score: float
    predictions: dict[str, AnyArray]
    numbers: NDArray[np.int64]
    outcome: Outcome
    account: Account
    augmented: NDArray[np.uint8]
    test: Outcome | None = None


def train_network(
    variant: Variant | OwnClassifier,
    dataset: Dataset,
    schedule: Schedule,
    *,
    task: str = DEFAULT_TASK,
    weights: Weights = "imagenet",
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    keep_shared: bool = False,
) -> Trained:
    """Trains a network with a new head on a data set; the same arguments are never trained twice.

    The result stands in the cache. A run that was cut off, or paused by `schedule.until_epoch`, goes on from its last
    whole epoch.

    Args:
        variant: The network, with one of the task's heads; its classes are those of the data set. Or a model of the
            user's, which starts from its own weights.
        dataset: Labelled pictures with a train and an eval split, as the task opens them.
        schedule: Schedule of the training.
        task: Task of the network.
        weights: Weights that the backbone starts from: "imagenet", "random", or a file with or without classifier.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        on_epoch: Called with each epoch as it ends.
        keep_shared: Learn from pictures that the val or test split has too, which makes its accuracy a lie.

    Raises:
        InputError: The data or the weights cannot be used; the message says why.
    """
    chosen = tasks.get(task)
    chosen.check(dataset)
    schedule.check_trains(from_scratch=weights == "random" and not isinstance(variant, OwnClassifier))
    own = variant if isinstance(variant, OwnClassifier) else None
    run = _Run(
        chosen,
        None if isinstance(variant, OwnClassifier) else _fitted(variant, chosen, dataset),
        own,
        dataset,
        schedule,
        weights if own is None else own.path,
        keep_shared,
        progress or (lambda _stage, _fraction: None),
        on_epoch or (lambda _epoch: None),
    )
    key = {**run.key(), **schedule.horizon()}
    work = cache.resumable("transfer-work", {**key, "tools": cache.tool_versions()})
    folder = cache.stage("transfer", {**key, "until": schedule.until}, lambda made: _make(made, run, work))
    trained = _trained(folder, chosen, dataset)
    if trained.account.is_complete:
        cache.forget(work)
    return trained


def _fitted(variant: Variant, task: Task, dataset: Dataset) -> Variant:
    return replace(variant, classes=task.classes(dataset) or variant.classes)


@dataclass(frozen=True, eq=False)
class _Run:
    """The arguments of `train_network`; a variant or a model of the user's."""

    task: Task
    variant: Variant | None
    own: OwnClassifier | None
    dataset: Dataset
    schedule: Schedule
    weights: Weights
    keep_shared: bool
    progress: Progress
    on_epoch: OnEpoch

    @property
    def network(self) -> Variant:
        """The variant of a training that has one."""
        assert self.variant is not None, "a model of the user's is no variant"
        return self.variant

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return (self.network.resolution,) * 2 if self.own is None else self.own.size

    def key(self) -> dict[str, object]:
        """Everything that a result depends on besides the schedule, as JSON values."""
        return {
            "kept": _KEPT,
            "task": self.task.name,
            **({"variant": asdict(self.network)} if self.own is None else {"model": self.own.key()}),
            "data": self.dataset.fingerprint,
            "classes": self.dataset.classes,
            "labels": None if self.own is None else self.dataset.labels.tolist(),
            "skip_broken": self.dataset.skip_broken,
            "weights": sha256(self.weights) if isinstance(self.weights, Path) else self.weights,
            "style": None if self.own is not None else style_key(self.weights),
            "keep_shared": self.keep_shared,
        }


def _decoded(run: _Run, split: str, size: tuple[int, int]) -> DecodedSplit:
    dataset = run.dataset
    key = {"data": dataset.fingerprint, "split": split, "size": size, "skip_broken": dataset.skip_broken}

    def make(folder: Path) -> None:
        def notify(done: float) -> None:
            run.progress(f"read {split} pictures", done)

        save(folder / "numbers.npy", gather(dataset, dataset.split(split), size, folder / "pixels.npy", notify))

    folder = cache.stage("pixels", key, make)
    return DecodedSplit(np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "numbers.npy"))


def _make(folder: Path, run: _Run, work: Path) -> None:
    """Fills an empty folder with the result of a run: model.keras, validation.npz, account.json."""
    started = time.monotonic(), time.process_time()
    start_tensorflow()
    import keras

    from mnedge.models.transfer import save_trained
    from mnedge.training.fit import samples
    from mnedge.training.learner import check_layer, strategy
    from mnedge.training.phases import train_in_phases

    schedule, dataset = run.schedule, run.dataset
    keras.utils.set_random_seed(schedule.seed)
    # Wrong weights and layers are refused before the pictures are read.
    if run.own is None:
        trainable = trainable_variant(run.network, run.weights, schedule)
    else:
        trainable = trainable_model(run.own, schedule)
    check_layer(trainable.layers, schedule.from_layer)
    data, findings = _training_data(run, trainable.new_layers, work)
    objective = run.task.objective(data)
    with strategy().scope():
        learner, give_back = trainable.learner()
        states = train_in_phases(
            learner,
            objective,
            schedule,
            from_scratch=trainable.from_scratch,
            new_layers=trainable.new_layers,
            work=work,
            progress=run.progress,
            on_epoch=run.on_epoch,
        )
    give_back()
    pixels, targets = samples(objective.feed, _SAMPLES, schedule.seed)
    drawn = [run.task.show_target(*one, data) for one in zip(pixels, targets, strict=True)]
    np.savez(folder / _AUGMENTED, pictures=np.stack(drawn))
    save_trained(trainable.model, folder / "model.keras", _description(run))
    predictions = objective.predict_all(learner)
    np.savez(folder / "validation.npz", numbers=data.held.numbers, **predictions)  # type: ignore[arg-type]
    tested = None
    if dataset.measured == "test":
        tested = _decoded(run, "test", run.size)
        # Nothing was chosen by these pictures; the weights are those that are shipped.
        said = run.task.objective(replace(data, held=tested)).predict_all(learner)
        np.savez(folder / _TEST, numbers=tested.numbers, **said)  # type: ignore[arg-type]
    account = Account(
        is_complete=states[-1].has_stopped or schedule.until_epoch in (None, schedule.epochs),
        best=states[-1].best,
        images=Images(
            int(data.rows.size), int(data.held.numbers.size), None if tested is None else int(tested.numbers.size)
        ),
        chosen_by=objective.metric,
        seconds=round(time.monotonic() - started[0], 1),
        cpu_seconds=round(time.process_time() - started[1], 1),
        history=tuple(epoch for state in states for epoch in state.history),
        findings=findings,
        suspects=_suspects(work),
        settings=Settings(
            variant=None if run.variant is None else Network(**asdict(run.variant)),
            model=None if run.own is None else run.own.noun(),
            data=dataset.name,
            draw=None if dataset.draw is None else asdict(dataset.draw),
            weights=str(run.weights),
            keep_shared=run.keep_shared,
            schedule=schedule.as_json(),
        ),
    )
    write_text(folder / _ACCOUNT, stored.to_json(account))


def _training_data(run: _Run, new_layers: frozenset[str], work: Path) -> tuple[TrainingData, Findings]:
    dataset, (height, width) = run.dataset, run.size
    # Crops need more detail than the input shows.
    train = _decoded(run, "train", (math.ceil(MARGIN * height), math.ceil(MARGIN * width)))
    held = _decoded(run, "eval", run.size)
    read = {"train": train, "eval": held}
    if dataset.measured == "test":
        read["test"] = _decoded(run, "test", run.size)
    parts = {split: (part.pixels, part.numbers) for split, part in read.items()}
    findings, fresh = check_pictures(dataset, min(run.size), parts)
    rows = np.arange(train.numbers.size) if run.keep_shared else np.flatnonzero(fresh)
    check_left(dataset, train.numbers[rows])

    def keep_suspects(found: Sequence[Suspect]) -> None:
        cache.keep(work, _SUSPECTS, stored.to_json(Suspects(tuple(found))).encode())

    return TrainingData(
        dataset=dataset,
        variant=run.variant,
        schedule=run.schedule,
        train=train,
        rows=rows,
        held=held,
        new_layers=new_layers,
        keep_suspects=keep_suspects,
        progress=run.progress,
    ), findings


def _suspects(work: Path) -> tuple[Suspect, ...] | None:
    kept = cache.recall(work, _SUSPECTS)
    return None if kept is None else stored.from_json(kept, Suspects, "the cache's list of suspects").suspects


def _description(run: _Run) -> dict[str, object]:
    """Describes a .keras for `build --weights`: the network to build, and how its validation split was drawn."""
    common = {
        "task": run.task.name,
        "classes": list(run.dataset.classes),
        "draw": None if run.dataset.draw is None else asdict(run.dataset.draw),
    }
    if run.own is not None:
        return {**common, "pixels": run.own.pixels.to_bytes().decode()}
    return {
        **common,
        "head": run.network.head,
        "output_stride": run.network.output_stride,
        "outputs": run.network.classes,
        "pixels": SYMMETRIC.to_bytes().decode(),
        "pytorch": style_key(run.weights),
        **run.task.describe(run.dataset, run.network),
    }


def _trained(folder: Path, task: Task, dataset: Dataset) -> Trained:
    with np.load(folder / "validation.npz") as arrays:
        predictions = dict(arrays)
    numbers = predictions.pop("numbers")
    with np.load(folder / _AUGMENTED) as arrays:
        augmented = arrays["pictures"]
    outcome, test = task.outcome(predictions, numbers, dataset), None
    if (folder / _TEST).is_file():
        with np.load(folder / _TEST) as arrays:
            said = dict(arrays)
        test = task.outcome(said, said.pop("numbers"), dataset)
    return Trained(
        path=folder / "model.keras",
        task=task.name,
        score=outcome.figures[task.metric],
        predictions=predictions,
        numbers=numbers,
        outcome=outcome,
        account=stored.read(folder / _ACCOUNT, Account),
        augmented=augmented,
        test=test,
    )
