"""Transfer learning in two phases, for any task: the new head on a frozen backbone, then both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.training.fit import Feed, Phase, finished, fit
from mnedge.training.folded import folded
from mnedge.training.learner import set_norm_momentum, unfreeze

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    import keras

    from mnedge.results.training import Epoch
    from mnedge.training.fit import Loss, PhaseState
    from mnedge.training.settings import Schedule
    from mnedge.untyped import AnyArray

    Progress = Callable[[str, float], None]
    Score = Callable[[keras.Model], Mapping[str, float]]

HEAD, FINE_TUNE = "head", "fine-tune"


@dataclass(frozen=True, eq=False)
class Frozen:
    """Objects of the frozen phase: the model (all of it, or the head alone on features), its batches, its score."""

    model: keras.Model
    feed: Feed
    score: Score


@dataclass(frozen=True, eq=False)
class Objective:
    """Objective of a training: what differs between the tasks.

    Attributes:
        metric: Name of the score that the best epoch is chosen by; more is better.
        loss: Loss of each picture from targets and predictions.
        feed: Augmented training pictures.
        score: Scores of the validation split; `metric` and "loss" among them.
        head: Gives the part of the learner whose weights the frozen phase changes; it may be all of it.
        freeze: Gives what the frozen phase trains, from the learner and a function called with the done fraction.
        predict_all: Predictions of the trained learner for the validation split, as arrays for the report.
        extend: Gives what is trained: the learner, or the learner with what only training needs behind it.
        as_trained: Gives the form of the learner that fine-tuning trains and scores, where that is another.
        norm_momentum: Momentum of the running statistics of the backbone's batch norms, where they learn in
            fine-tuning too; None where they keep what they know.
    """

    metric: str
    loss: Loss
    feed: Feed
    score: Score
    head: Callable[[keras.Model], keras.Model]
    freeze: Callable[[keras.Model, Callable[[float], None]], Frozen]
    predict_all: Callable[[keras.Model], dict[str, AnyArray]]
    extend: Callable[[keras.Model], keras.Model] = lambda learner: learner
    as_trained: Callable[[keras.Model], keras.Model] = lambda learner: learner
    norm_momentum: float | None = None


def train_in_phases(
    learner: keras.Model,
    objective: Objective,
    schedule: Schedule,
    *,
    from_scratch: bool,
    new_layers: Collection[str],
    work: Path,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> list[PhaseState]:
    """Trains in place and leaves the best weights.

    Args:
        learner: Built in the scope of its distribution strategy.
        objective: Objective of the training.
        schedule: How.
        from_scratch: The backbone knows nothing yet: no frozen phase, and its batch norms learn.
        new_layers: Names of the head's layers, whose batch norms learn in any case.
        work: Folder of `cache.resumable`; what is there already is not done again.
        progress: Called with the name of a stage and its done fraction, 0..1.
        on_epoch: Called with each epoch as it ends.

    Returns:
        The state of each phase that there was, in order.
    """
    schedule.check_trains(from_scratch=from_scratch)
    states = []
    learner = objective.extend(learner)
    if schedule.head_epochs and not from_scratch:
        states.append(_train_head(learner, objective, schedule, work, progress, on_epoch))
    if schedule.until:
        norms_learn = from_scratch or objective.norm_momentum is not None
        unfreeze(learner, schedule.from_layer, batch_norm=norms_learn, new_layers=new_layers)
        if objective.norm_momentum is not None:
            set_norm_momentum(learner, objective.norm_momentum)
        phase = _phase(FINE_TUNE, schedule, objective, schedule.epochs, schedule.until)
        states.append(
            fit(
                objective.as_trained(folded(learner)),
                phase,
                objective.feed,
                objective.loss,
                objective.score,
                work=work,
                progress=progress,
                on_epoch=on_epoch,
            )
        )
    return states


def _train_head(
    learner: keras.Model,
    objective: Objective,
    schedule: Schedule,
    work: Path,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> PhaseState:
    phase = _phase(HEAD, schedule, objective, schedule.head_epochs, schedule.head_epochs)
    # A run that goes on does not compute the features again.
    if (earlier := finished(objective.head(learner), phase, work)) is not None:
        return earlier
    frozen = objective.freeze(learner, lambda done: progress("features", done))
    return fit(
        frozen.model, phase, frozen.feed, objective.loss, frozen.score, work=work, progress=progress, on_epoch=on_epoch
    )


def _phase(name: str, schedule: Schedule, objective: Objective, epochs: int, until: int) -> Phase:
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
        metric=objective.metric,
        seed=schedule.seed,
    )
