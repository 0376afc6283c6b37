"""Transfer learning: pictures and a pretrained backbone to a .keras that `build --weights` takes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import cache, tasks
from mnedge.artifact import deliver, sha256, size_bytes, write_text
from mnedge.data.check import check_pictures
from mnedge.data.gather import gather
from mnedge.silence import start_tensorflow
from mnedge.tasks._task import Gathered, Material
from mnedge.training.augment import MARGIN
from mnedge.training.settings import Epoch, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.data.check import Findings
    from mnedge.models import Variant
    from mnedge.models.build import Weights
    from mnedge.tasks import Task

    Progress = Callable[[str, float], None]
    Heard = Callable[[Epoch], None]

REPORTS = (".report.json", ".report.html")
_NOTES = b"notes"


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training run came to.

    Attributes:
        path: The .keras with the best weights and the class names, in the cache; copy it to where it ships from.
        task: Name of the task.
        classes: Class names.
        score: The task's metric on the validation (eval) split with the best weights, 0..1.
        history: Every epoch of both phases so far.
        best: The epoch of the last phase that the weights are of; number 0 is what that phase began with.
        is_complete: False where the run paused at `until_epoch`.
        judged: Arrays that show how the validation split was met, as the task has them.
        numbers: int64, picture numbers of the validation split in the data set.
        outcome: The task's own rows of the report.
        account: JSON values: "findings" of the check of the pictures, "notes" that the task took (such as "suspects"
            that look mislabelled), "images" of the splits, "seconds" and "cpu_seconds" of the run that ended it,
            "settings".
    """

    path: Path
    task: str
    classes: tuple[str, ...]
    score: float
    history: tuple[Epoch, ...]
    best: Epoch
    is_complete: bool
    judged: dict[str, NDArray[Any]]
    numbers: NDArray[np.int64]
    outcome: dict[str, Any]
    account: dict[str, Any]


def train(
    variant: Variant,
    dataset: Dataset,
    schedule: Schedule,
    *,
    weights: Weights = "imagenet",
    progress: Progress | None = None,
    on_epoch: Heard | None = None,
    keep_shared: bool = False,
) -> Trained:
    """Trains a network with a new head on a data set; the same arguments are never trained twice.

    The result stands in the cache. A run that was cut off, or paused by `schedule.until_epoch`, goes on from its last
    whole epoch.

    Args:
        variant: What to train; its head says for which task, and its classes are those of the data set.
        dataset: Labelled pictures with a train and an eval split, as the task opens them.
        schedule: How.
        weights: What the backbone starts from: "imagenet", "random", or a file with or without classifier.
        progress: Told the name of a stage and the share of it that is done, 0..1.
        on_epoch: Told each epoch as it ends.
        keep_shared: Learn from pictures that the validation split has too, which makes its accuracy a lie.

    Raises:
        InputError: The data or the weights cannot be used; the message says why.
    """
    task = tasks.of(variant)
    task.check(dataset)
    run = _Run(
        replace(variant, classes=task.classes(dataset) or variant.classes),
        dataset,
        schedule,
        weights,
        keep_shared,
        progress or (lambda _stage, _fraction: None),
        on_epoch or (lambda _epoch: None),
    )
    key = {**run.key(), **schedule.horizon()}
    work = cache.resumable("transfer-work", {**key, "tools": cache.tool_versions()})
    until = schedule.epochs if schedule.until_epoch is None else schedule.until_epoch
    folder = cache.stage("transfer", {**key, "until": until}, lambda made: _make(made, run, work))
    trained = _trained(folder, task, dataset)
    if trained.is_complete:
        cache.forget(work)
    return trained


@dataclass(frozen=True, eq=False)
class _Run:
    """The arguments of `train`."""

    variant: Variant
    dataset: Dataset
    schedule: Schedule
    weights: Weights
    keep_shared: bool
    told: Progress
    heard: Heard

    def key(self) -> dict[str, Any]:
        """All that a result depends on besides the schedule, as JSON values."""
        return {
            "variant": asdict(self.variant),
            "data": self.dataset.fingerprint,
            "classes": self.dataset.classes,
            "skip_broken": self.dataset.skip_broken,
            "weights": sha256(self.weights) if isinstance(self.weights, Path) else self.weights,
            "keep_shared": self.keep_shared,
        }


def _gathered(run: _Run, split: str, side: int) -> Gathered:
    dataset = run.dataset
    key = {"data": dataset.fingerprint, "split": split, "side": side, "skip_broken": dataset.skip_broken}

    def make(folder: Path) -> None:
        def told(done: float) -> None:
            run.told(f"read {split} pictures", done)

        np.save(folder / "numbers.npy", gather(dataset, dataset.split(split), side, folder / "pixels.npy", told))

    folder = cache.stage("pixels", key, make)
    return Gathered(np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "numbers.npy"))


def _make(folder: Path, run: _Run, work: Path) -> None:
    """Fills an empty folder with the result of a run: model.keras, validation.npz, account.json."""
    started = time.monotonic(), time.process_time()
    start_tensorflow()
    import keras

    from mnedge.models.transfer import save_trained, transfer_model
    from mnedge.training.learner import check_layer, make_learner, strategy
    from mnedge.training.phases import train_in_phases

    schedule, dataset = run.schedule, run.dataset
    keras.utils.set_random_seed(schedule.seed)
    # Wrong weights and layers are refused before the pictures are read.
    model, new_layers = transfer_model(run.variant, run.weights, schedule.seed)
    check_layer(model, schedule.from_layer)
    material, findings = _material(run, new_layers, work)
    lesson = tasks.of(run.variant).lesson(material)
    with strategy().scope():
        learner = make_learner(model, schedule.precision, new_layers)
        courses = train_in_phases(
            learner,
            lesson,
            schedule,
            from_scratch=run.weights == "random",
            new_layers=new_layers,
            work=work,
            progress=run.told,
            on_epoch=run.heard,
        )
    model.set_weights(learner.get_weights())
    save_trained(model, folder / "model.keras", _description(run))
    np.savez(folder / "validation.npz", numbers=material.held.numbers, **lesson.judge(learner))  # type: ignore[arg-type]
    account = {
        "history": [asdict(epoch) for course in courses for epoch in course.history],
        "best": asdict(courses[-1].best),
        "is_complete": courses[-1].has_stopped or schedule.until_epoch in (None, schedule.epochs),
        "findings": findings.as_json(),
        "notes": _notes(work),
        "images": {"train": int(material.rows.size), "eval": int(material.held.numbers.size)},
        "seconds": round(time.monotonic() - started[0], 1),
        "cpu_seconds": round(time.process_time() - started[1], 1),
        "settings": {
            "variant": asdict(run.variant),
            "data": dataset.name,
            "split_seed": dataset.split_seed,
            "weights": str(run.weights),
            "keep_shared": run.keep_shared,
            **schedule.as_json(),
        },
    }
    write_text(folder / "account.json", json.dumps(account, indent=1))


def _material(run: _Run, new_layers: frozenset[str], work: Path) -> tuple[Material, Findings]:
    dataset, resolution = run.dataset, run.variant.resolution
    # Crops need more detail than the input shows.
    train, held = _gathered(run, "train", math.ceil(MARGIN * resolution)), _gathered(run, "eval", resolution)
    findings, fresh = check_pictures(dataset, resolution, (train.pixels, train.numbers), (held.pixels, held.numbers))

    def note(name: str, value: Any) -> None:  # noqa: ANN401 - JSON
        cache.keep(work, _NOTES, json.dumps({**_notes(work), name: value}).encode())

    return Material(
        dataset=dataset,
        variant=run.variant,
        schedule=run.schedule,
        train=train,
        rows=np.arange(train.numbers.size) if run.keep_shared else np.flatnonzero(fresh),
        held=held,
        new_layers=new_layers,
        note=note,
        progress=run.told,
    ), findings


def _notes(work: Path) -> dict[str, Any]:
    kept = cache.recall(work, _NOTES)
    notes: dict[str, Any] = {} if kept is None else json.loads(kept)
    return notes


def _description(run: _Run) -> dict[str, Any]:
    """What `build --weights` has to know of a .keras to build the same network and find the same validation split."""
    return {
        "task": tasks.of(run.variant).name,
        "head": run.variant.head,
        "output_stride": run.variant.output_stride,
        "classes": list(run.dataset.classes),
        "outputs": run.variant.classes,
        "split_seed": run.dataset.split_seed,
        **tasks.of(run.variant).describe(run.dataset, run.variant),
    }


def _trained(folder: Path, task: Task, dataset: Dataset) -> Trained:
    account = json.loads((folder / "account.json").read_text())
    with np.load(folder / "validation.npz") as arrays:
        judged = dict(arrays)
    numbers = judged.pop("numbers")
    outcome = task.outcome(judged, numbers, dataset)
    return Trained(
        path=folder / "model.keras",
        task=task.name,
        classes=dataset.classes,
        score=outcome[task.metric],
        history=tuple(Epoch(**row) for row in account.pop("history")),
        best=Epoch(**account.pop("best")),
        is_complete=account.pop("is_complete"),
        judged=judged,
        numbers=numbers,
        outcome=outcome,
        account=account,
    )


def publish(trained: Trained, dataset: Dataset, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Writes the .keras to its place, and beside it the report: OUT.report.json and OUT.report.html.

    Args:
        trained: What `train` returned.
        dataset: What it was trained on.
        out: The .keras to write.
        force: Replace files that are not mnedge's own, unchanged work.

    Returns:
        The report, as written.

    Raises:
        InputError: The folder cannot be written.
    """
    from mnedge.report.training_page import render_training

    deliver(out, trained.path.read_bytes(), force=force)
    task = tasks.get(trained.task)
    report = training_report(trained, out)
    numbers = {dataset.sources[number]: number for split in ("train", "eval") for number in dataset.split(split)}

    def show(source: str) -> NDArray[np.uint8] | None:
        return task.show(trained.judged, trained.numbers, dataset, numbers[source]) if source in numbers else None

    texts = (json.dumps(report, indent=2, ensure_ascii=False) + "\n", render_training(report, show))
    for ending, text in zip(REPORTS, texts, strict=True):
        deliver(out.with_suffix(ending), text, force=force)
    return report


def training_report(trained: Trained, out: Path) -> dict[str, Any]:
    """The account of a training as JSON values, schema 1; `out` is where its .keras stands."""
    return {
        "schema": 1,
        "task": trained.task,
        "metric": tasks.get(trained.task).metric,
        "model": {"path": out.name, "bytes": size_bytes(out), "sha256": sha256(out)},
        **trained.outcome,
        "is_complete": trained.is_complete,
        "best": asdict(trained.best),
        "images": trained.account["images"],
        "seconds": trained.account["seconds"],
        "cpu_seconds": trained.account["cpu_seconds"],
        "history": [asdict(epoch) for epoch in trained.history],
        "findings": trained.account["findings"],
        "suspects": trained.account["notes"].get("suspects"),
        "settings": trained.account["settings"],
        "tools": cache.tool_versions(),
    }
