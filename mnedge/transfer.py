"""Transfer learning: a folder of pictures and a pretrained backbone to a .keras that `build --weights` takes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import cache
from mnedge.artifact import sha256, write_text
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
        findings: What the check of the pictures found, as JSON values.
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
    findings: dict[str, Any]


def train(
    variant: Variant,
    dataset: Dataset,
    schedule: Schedule,
    *,
    weights: Weights = "imagenet",
    progress: Progress | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
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

    Raises:
        InputError: The data or the weights cannot be used; the message says why.
    """
    variant = replace(variant, classes=len(dataset.classes))
    key = {
        "variant": asdict(variant),
        "data": dataset.fingerprint,
        "classes": dataset.classes,
        "skip_broken": dataset.skip_broken,
        "weights": sha256(weights) if isinstance(weights, Path) else weights,
    }
    work = cache.resumable("transfer-work", {**key, **schedule.horizon(), "tools": cache.tool_versions()})
    told = progress or (lambda _stage, _fraction: None)
    heard = on_epoch or (lambda _epoch: None)

    def make(folder: Path) -> None:
        start_tensorflow()
        pictures = _read(dataset, variant.resolution, told)
        _train_into(folder, variant, dataset, pictures, schedule, weights, work, told, heard)

    folder = cache.stage("transfer", {**key, "schedule": schedule.as_json()}, make)
    trained = _trained(folder, dataset)
    if trained.is_complete:
        cache.forget(work)
    return trained


@dataclass(frozen=True, eq=False)
class _Split:
    """Pictures, uint8 (n, side, side, 3), mapped from a file; their numbers; their labels."""

    pixels: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]


def _read(dataset: Dataset, resolution: int, told: Progress) -> dict[str, _Split]:
    """The training pictures, larger than the input by what crops need, and the validation pictures as they are."""
    sides = {"train": math.ceil(MARGIN * resolution), "eval": resolution}
    return {name: _pixels(dataset, name, side, told) for name, side in sides.items()}


def _pixels(dataset: Dataset, split: str, side: int, told: Progress) -> _Split:
    numbers = dataset.split(split)
    key = {"data": dataset.fingerprint, "split": split, "side": side, "skip_broken": dataset.skip_broken}

    def make(folder: Path) -> None:
        kept = gather(
            dataset, numbers, side, folder / "pixels.npy", lambda done: told(f"read {split} pictures", done)
        )  # fmt: skip
        np.save(folder / "numbers.npy", kept)

    folder = cache.stage("pixels", key, make)
    kept = np.load(folder / "numbers.npy")
    return _Split(np.load(folder / "pixels.npy", mmap_mode="r"), kept, dataset.labels[kept])


def _train_into(
    folder: Path,
    variant: Variant,
    dataset: Dataset,
    pictures: dict[str, _Split],
    schedule: Schedule,
    weights: Weights,
    work: Path,
    told: Progress,
    heard: Callable[[Epoch], None],
) -> None:
    import keras

    from mnedge.models.transfer import save_classifier, transfer_model
    from mnedge.training.classify import Labelled, classify, predictor
    from mnedge.training.learner import make_learner, strategy
    from mnedge.training.phases import train_in_phases

    keras.utils.set_random_seed(schedule.seed)
    model = transfer_model(variant, weights, schedule.seed)
    train, held = (Labelled(pictures[split].pixels, pictures[split].labels) for split in ("train", "eval"))
    with strategy().scope():
        learner = make_learner(model, schedule.precision)
        courses = train_in_phases(
            learner,
            classify(train, held, variant.classes, schedule),
            schedule,
            from_scratch=weights == "random",
            work=work,
            progress=told,
            on_epoch=heard,
        )
    model.set_weights(learner.get_weights())
    account = {
        "history": [asdict(epoch) for course in courses for epoch in course.history],
        "best": asdict(courses[-1].best),
        "is_complete": courses[-1].has_stopped or schedule.until_epoch in (None, schedule.epochs),
    }
    save_classifier(model, folder / "model.keras", {"classes": list(dataset.classes)})
    np.savez(
        folder / "validation.npz",
        probabilities=predictor(learner)(held.pixels),
        numbers=pictures["eval"].numbers,
    )
    write_text(folder / "account.json", json.dumps(account, indent=1))


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
        history=tuple(Epoch(**row) for row in account["history"]),
        best=Epoch(**account["best"]),
        is_complete=account["is_complete"],
        probabilities=probabilities,
        numbers=numbers,
        confusion=confusion(probabilities, labels),
        findings={},
    )
