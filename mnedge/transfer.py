"""Transfer learning: a folder of pictures and a pretrained backbone to a .keras that `build --weights` takes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import cache
from mnedge.artifact import copy, sha256, size_bytes, write_text
from mnedge.data.check import Suspect, check_layout, check_pictures
from mnedge.data.gather import gather
from mnedge.silence import start_tensorflow
from mnedge.training.augment import MARGIN
from mnedge.training.settings import Epoch, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.models import Variant
    from mnedge.models.build import Weights

    Progress = Callable[[str, float], None]
    Heard = Callable[[Epoch], None]

_SUSPECTS = 40
_SHOWN_SIDE = 120


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training run came to.

    Attributes:
        path: The .keras with the best weights and the class names, in the cache; copy it to where it ships from.
        classes: Class names, one an output.
        top1: Of the validation (eval) split with the best weights, 0..1.
        history: Every epoch of both phases so far.
        best: The epoch of the last phase that the weights are of; number 0 is what that phase began with.
        is_complete: False where the run paused at `until_epoch`.
        probabilities: float32, (validation pictures, classes), by the best weights.
        numbers: int64, picture numbers of the rows of `probabilities` in the data set.
        confusion: int64, (classes, classes): row is the truth, column what was predicted.
        account: JSON values: "findings" of the check of the pictures, "suspects" that look mislabelled (None where
            nothing was frozen to judge by), "images" of the splits, "seconds" and "cpu_seconds" of the run that
            ended it, "settings".
    """

    path: Path
    classes: tuple[str, ...]
    top1: float
    history: tuple[Epoch, ...]
    best: Epoch
    is_complete: bool
    probabilities: NDArray[np.float32]
    numbers: NDArray[np.int64]
    confusion: NDArray[np.int64]
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
    """Trains a classifier of the data set's classes; the same arguments are never trained twice.

    The result stands in the cache. A run that was cut off, or paused by `schedule.until_epoch`, goes on from its last
    whole epoch.

    Args:
        variant: What to train; its classes are those of the data set.
        dataset: Labelled pictures with a train and an eval split.
        schedule: How.
        weights: What the backbone starts from: "imagenet", "random", or a file with or without classifier.
        progress: Told the name of a stage and the share of it that is done, 0..1.
        on_epoch: Told each epoch as it ends.
        keep_shared: Learn from pictures that the validation split has too, which makes its accuracy a lie.

    Raises:
        InputError: The data or the weights cannot be used; the message says why.
    """
    check_layout(dataset)
    run = _Run(
        replace(variant, classes=len(dataset.classes)),
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
    trained = _trained(folder, dataset)
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


def _gathered(run: _Run, split: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures of a split, uint8 (n, side, side, 3), mapped from a file, and their numbers, int64 (n,)."""
    dataset = run.dataset
    key = {"data": dataset.fingerprint, "split": split, "side": side, "skip_broken": dataset.skip_broken}

    def make(folder: Path) -> None:
        def told(done: float) -> None:
            run.told(f"read {split} pictures", done)

        np.save(folder / "numbers.npy", gather(dataset, dataset.split(split), side, folder / "pixels.npy", told))

    folder = cache.stage("pixels", key, make)
    return np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "numbers.npy")


def _make(folder: Path, run: _Run, work: Path) -> None:
    """Fills an empty folder with the result of a run: model.keras, validation.npz, account.json."""
    started = time.monotonic(), time.process_time()
    start_tensorflow()
    import keras

    from mnedge.models.transfer import save_trained, transfer_model
    from mnedge.training.classify import Labelled, classify, predictor
    from mnedge.training.learner import check_layer, make_learner, strategy
    from mnedge.training.phases import train_in_phases

    schedule, dataset, resolution = run.schedule, run.dataset, run.variant.resolution
    keras.utils.set_random_seed(schedule.seed)
    # Wrong weights and layers are refused before the pictures are read.
    model = transfer_model(run.variant, run.weights, schedule.seed)
    check_layer(model, schedule.from_layer)
    # Crops need more detail than the input shows.
    pixels, numbers = _gathered(run, "train", math.ceil(MARGIN * resolution))
    held_pixels, held_numbers = _gathered(run, "eval", resolution)
    findings, fresh = check_pictures(dataset, resolution, (pixels, numbers), (held_pixels, held_numbers))
    rows = np.arange(numbers.size) if run.keep_shared else np.flatnonzero(fresh)
    train_set = Labelled(pixels, rows, dataset.labels[numbers[rows]])
    held_set = Labelled(held_pixels, np.arange(held_numbers.size), dataset.labels[held_numbers])

    def notice(*features: NDArray[np.float32]) -> None:
        places = np.concatenate([numbers[rows], held_numbers])
        found = _suspects(dataset, np.concatenate(features), places)
        cache.keep(work, b"suspects", json.dumps([asdict(suspect) for suspect in found]).encode())

    with strategy().scope():
        learner = make_learner(model, schedule.precision)
        courses = train_in_phases(
            learner,
            classify(train_set, held_set, run.variant.classes, schedule, notice),
            schedule,
            from_scratch=run.weights == "random",
            work=work,
            progress=run.told,
            on_epoch=run.heard,
        )
    model.set_weights(learner.get_weights())
    save_trained(model, folder / "model.keras", {"classes": list(dataset.classes), "split_seed": dataset.split_seed})
    np.savez(folder / "validation.npz", probabilities=predictor(learner)(held_pixels), numbers=held_numbers)
    kept = cache.recall(work, b"suspects")
    account = {
        "history": [asdict(epoch) for course in courses for epoch in course.history],
        "best": asdict(courses[-1].best),
        "is_complete": courses[-1].has_stopped or schedule.until_epoch in (None, schedule.epochs),
        "findings": findings.as_json(),
        "suspects": None if kept is None else json.loads(kept),
        "images": {"train": int(rows.size), "eval": int(held_numbers.size)},
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


def _suspects(dataset: Dataset, features: NDArray[np.float32], numbers: NDArray[np.int64]) -> list[Suspect]:
    from mnedge.training.suspects import suspects

    classes = dataset.classes
    found = suspects(features, dataset.labels[numbers], len(classes))[:_SUSPECTS]
    return [
        Suspect(dataset.sources[number], classes[dataset.labels[number]], classes[looks_like], round(margin, 3))
        for place, looks_like, margin in found
        for number in [numbers[place]]
    ]


def _trained(folder: Path, dataset: Dataset) -> Trained:
    from mnedge.training.classify import confusion, scores

    account = json.loads((folder / "account.json").read_text())
    with np.load(folder / "validation.npz") as arrays:
        probabilities, numbers = arrays["probabilities"], arrays["numbers"]
    labels = dataset.labels[numbers]
    return Trained(
        path=folder / "model.keras",
        classes=dataset.classes,
        top1=scores(probabilities, labels)["top1"],
        history=tuple(Epoch(**row) for row in account.pop("history")),
        best=Epoch(**account.pop("best")),
        is_complete=account.pop("is_complete"),
        probabilities=probabilities,
        numbers=numbers,
        confusion=confusion(probabilities, labels),
        account=account,
    )


def publish(trained: Trained, dataset: Dataset, out: Path) -> dict[str, Any]:
    """Writes the .keras to its place, and beside it the report: OUT.report.json and OUT.report.html.

    Args:
        trained: What `train` returned.
        dataset: What it was trained on.
        out: The .keras to write.

    Returns:
        The report, as written.

    Raises:
        InputError: The folder cannot be written.
    """
    from mnedge.report.training_page import render_training

    copy(trained.path, out)
    report = training_report(trained, dataset, out)
    numbers = {dataset.sources[number]: number for split in ("train", "eval") for number in dataset.split(split)}

    def show(source: str) -> NDArray[np.uint8] | None:
        return dataset.read(numbers[source], _SHOWN_SIDE) if source in numbers else None

    write_text(out.with_suffix(".report.json"), json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(out.with_suffix(".report.html"), render_training(report, show))
    return report


def training_report(trained: Trained, dataset: Dataset, out: Path) -> dict[str, Any]:
    """The account of a training as JSON values, schema 1; `out` is where its .keras stands."""
    from mnedge.report.training_page import classes_table, mixups, worst

    labels, classes = dataset.labels[trained.numbers], trained.classes
    sources = [dataset.sources[number] for number in trained.numbers]
    return {
        "schema": 1,
        "task": "classify",
        "model": {"path": out.name, "bytes": size_bytes(out), "sha256": sha256(out)},
        "top1": trained.top1,
        "is_complete": trained.is_complete,
        "best": asdict(trained.best),
        "images": trained.account["images"],
        "seconds": trained.account["seconds"],
        "cpu_seconds": trained.account["cpu_seconds"],
        "history": [asdict(epoch) for epoch in trained.history],
        "classes": classes_table(trained.confusion, classes),
        "confusion": {"classes": list(classes), "counts": trained.confusion.tolist()},
        "mixups": mixups(trained.confusion, classes),
        "worst": worst(trained.probabilities, labels, sources, classes),
        "findings": trained.account["findings"],
        "suspects": trained.account["suspects"],
        "settings": trained.account["settings"],
        "tools": cache.tool_versions(),
    }
