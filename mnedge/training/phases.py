"""Transfer learning in two phases, for any task: the new head on a frozen backbone, then both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnedge.training.fit import Feed, Phase, finished, fit
from mnedge.training.learner import split_at_pool, unfreeze

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import keras

    from mnedge.training.fit import Course
    from mnedge.training.settings import Epoch, Schedule

    Progress = Callable[[str, float], None]
    Score = Callable[[keras.Model], Mapping[str, float]]

HEAD, FINE_TUNE = "head", "fine-tune"


@dataclass(frozen=True, eq=False)
class Frozen:
    """What the frozen phase trains: the model (all of it, or the head alone on features), its batches, its score."""

    model: keras.Model
    feed: Feed
    score: Score


@dataclass(frozen=True, eq=False)
class Task:
    """What differs between classifying, detecting, segmenting and embedding.

    Attributes:
        metric: Name of the score that the best epoch is chosen by; more is better.
        loss: Of targets and predictions.
        feed: Augmented training pictures.
        score: The scores of the validation split; `metric` and "loss" among them.
        freeze: Of the learner and a function told the done fraction: what the frozen phase trains.
    """

    metric: str
    loss: Any
    feed: Feed
    score: Score
    freeze: Callable[[keras.Model, Callable[[float], None]], Frozen]


def train_in_phases(
    learner: keras.Model,
    task: Task,
    schedule: Schedule,
    *,
    from_scratch: bool,
    work: Path,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> list[Course]:
    """Trains in place and leaves the best weights.

    Args:
        learner: Built in the scope of its distribution strategy.
        task: What it learns.
        schedule: How.
        from_scratch: The backbone knows nothing yet: no frozen phase, and batch norms learn.
        work: Folder of `cache.resumable`; what is there already is not done again.
        progress: Told the name of a stage and its done fraction, 0..1.
        on_epoch: Told each epoch as it ends.

    Returns:
        The course of each phase that there was, in order.
    """
    courses = []
    if schedule.head_epochs and not from_scratch:
        courses.append(_train_head(learner, task, schedule, work, progress, on_epoch))
    until = schedule.epochs if schedule.until_epoch is None else schedule.until_epoch
    if until:
        unfreeze(learner, schedule.from_layer, batch_norm=from_scratch)
        phase = _phase(FINE_TUNE, schedule, task, schedule.epochs, until)
        courses.append(
            fit(learner, phase, task.feed, task.loss, task.score, work=work, progress=progress, on_epoch=on_epoch)
        )
    return courses


def _train_head(
    learner: keras.Model,
    task: Task,
    schedule: Schedule,
    work: Path,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> Course:
    phase = _phase(HEAD, schedule, task, schedule.head_epochs, schedule.head_epochs)
    # A run that goes on does not compute the features again.
    _, head = split_at_pool(learner)
    if (earlier := finished(head, phase, work)) is not None:
        return earlier
    frozen = task.freeze(learner, lambda done: progress("features", done))
    return fit(
        frozen.model, phase, frozen.feed, task.loss, frozen.score, work=work, progress=progress, on_epoch=on_epoch
    )


def _phase(name: str, schedule: Schedule, task: Task, epochs: int, until: int) -> Phase:
    is_head = name == HEAD
    return Phase(
        name=name,
        epochs=epochs,
        until=until,
        learning_rate=schedule.head_learning_rate if is_head else schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        batch_size=schedule.batch_size,
        # The frozen phase is over before patience would save anything.
        patience=epochs if is_head else schedule.patience,
        metric=task.metric,
        seed=schedule.seed,
    )
