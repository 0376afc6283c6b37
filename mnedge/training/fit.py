"""The loop: epochs of Keras' `fit`, each kept whole, so that a kill costs at most the one under way.

It knows no task. What differs between classifying, detecting, segmenting and embedding is a `Feed` (how a batch is
drawn and prepared), a loss, and a function that scores the validation split.
"""

from __future__ import annotations

import io
import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache
from mnedge.results import stored
from mnedge.results.training import Epoch, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

    # Loss of each picture, float32 (n,), from targets and predictions.
    Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    Progress = Callable[[str, float], None]

_WARMUP_FRACTION = 0.05
# Steps that the averaged weights look back on: this share of all, so that a short run is not held at its beginning.
_AVERAGED_FRACTION = 0.05
# Name of the state beside the weights in the cache.
_STATE = "state"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Feed:
    """Batches of a training.

    Attributes:
        count: Pictures in an epoch.
        draw: Draws the arrays of a batch, each with the batch first, from picture places (0 to count - 1) and a
            generator.
        prepare: Makes inputs, targets and the weight of each picture from those arrays as tensors. TensorFlow traces
            it, so it runs beside the training.
    """

    count: int
    draw: Callable[[NDArray[np.int64], np.random.Generator], tuple[AnyArray, ...]]
    prepare: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Phase:
    """Settings of one part of a training.

    Attributes:
        name: "head" or "fine-tune".
        epochs: The horizon of the learning rate's fall (https://arxiv.org/abs/1608.03983, eq. 5, without restarts).
        until: Pause after this many epochs.
        learning_rate: Peak, after a short warm-up.
        weight_decay: Weight decay of kernels.
        batch_size: Pictures a step.
        patience: Epochs without a better score after which it stops.
        metric: Name of the score that the best epoch is chosen by: more is better; ties go to the lower "loss".
        seed: Seed of order and augmentation.
    """

    name: str
    epochs: int
    until: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    patience: int
    metric: str
    seed: int


@dataclass
class PhaseState:
    """State of a phase, after any number of its epochs.

    Attributes:
        best: The epoch that scored best; number 0 stands for the weights that the phase began with.
        history: Its epochs so far.
        has_stopped: Whether patience ended.
    """

    best: Epoch
    history: list[Epoch] = field(default_factory=list)
    has_stopped: bool = False


class _Clock:
    """Time that training takes, without what is done between epochs."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Starts to count anew."""
        self._started = time.monotonic(), time.process_time()

    def spent(self) -> tuple[float, float]:
        """Wall seconds, above 0, and processor seconds of all cores since the start."""
        return max(time.monotonic() - self._started[0], 1e-6), time.process_time() - self._started[1]


def fit(
    model: keras.Model,
    phase: Phase,
    feed: Feed,
    loss: Loss,
    score: Callable[[keras.Model], Mapping[str, float]],
    *,
    work: Path,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> PhaseState:
    """Trains a model in place and leaves it with the weights of its best epoch.

    What is scored and kept is the exponential moving average of the weights over the last steps
    (https://arxiv.org/abs/1512.00567, section 8), which is steadier than those of any one step.

    Args:
        model: Built in the scope of its distribution strategy, if any; only its trainable layers change.
        phase: How.
        feed: Training batches.
        loss: Loss of each picture from targets and predictions.
        score: Scores of the validation split; "loss" and `phase.metric` among them.
        work: Folder of `cache.resumable` that keeps the last whole epoch.
        progress: Called with the phase and its done fraction, 0..1.
        on_epoch: Called with each epoch as it ends.
    """
    import keras

    if (earlier := finished(model, phase, work)) is not None:
        return earlier
    steps = -(-feed.count // phase.batch_size)
    model.compile(_optimizer(model, phase, steps), loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    state = _resume(model, phase, work) or _begin(model, phase, score, work)
    done = len(state.history)
    if done < phase.until:
        started, trained = [time.monotonic()], _Clock()

        def step_ended(step: int, logs: object = None) -> None:
            del logs
            progress(phase.name, (len(state.history) * steps + step) / (phase.until * steps))

        def epoch_ended(number: int, logs: Mapping[str, float]) -> None:
            spent, busy = trained.spent()
            with _averaged(model):
                scores = _scored(score, model)
                seconds, started[0] = time.monotonic() - started[0], time.monotonic()
                loss = finite(float(logs["loss"]))
                rate = _learning_rate(model)
                epoch = Epoch(
                    phase.name,
                    number + 1,
                    rate,
                    loss,
                    scores,
                    seconds,
                    phase.epochs,
                    round(feed.count / spent, 1),
                    round(busy / spent, 2),
                )
                _note(model, state, epoch, phase, work)
            # The best was kept before, so a kill between the two only repeats this epoch.
            variables = [*model.variables, *model.optimizer.variables]
            cache.keep(work, f"{phase.name} last".encode(), _packed(variables, state))
            on_epoch(epoch)
            trained.restart()

        watch = keras.callbacks.LambdaCallback(on_epoch_end=epoch_ended, on_train_batch_end=step_ended)
        model.fit(
            _batches(feed, phase, first_epoch=done),
            initial_epoch=done,
            epochs=phase.until,
            steps_per_epoch=steps,
            # The feed has its own order.
            shuffle=False,
            callbacks=[watch],
            verbose=0,
        )
    progress(phase.name, 1.0)
    if (best := cache.recall(work, f"{phase.name} best".encode())) is not None:
        _restore(model.variables, best)
    return state


def samples(feed: Feed, count: int, seed: int) -> tuple[NDArray[np.uint8], AnyArray]:
    """Pictures as a training sees them, cropped, turned and tinted, and their targets.

    Args:
        feed: Batches of the training.
        count: At most so many pictures.
        seed: Seed of the training.

    Returns:
        Pixels, uint8 (n, height, width, 3), and targets as `Feed.prepare` makes them, (n, …).
    """
    import tensorflow as tf

    generator = np.random.default_rng((seed, *b"samples"))
    places = generator.permutation(feed.count)[:count]
    inputs, targets, _ = feed.prepare(*map(tf.constant, feed.draw(places, generator)))
    pixels = np.rint((np.asarray(inputs, np.float32) + 1.0) * 127.5)
    return np.clip(pixels, 0, 255).astype(np.uint8), np.asarray(targets)


def finished(model: keras.Model, phase: Phase, work: Path) -> PhaseState | None:
    """Brings a model to the best weights of a phase that has come to its end before; None where it has not."""
    last, best = (cache.recall(work, f"{phase.name} {which}".encode()) for which in ("last", "best"))
    if last is None or best is None:
        return None
    state = _stored_state(last)
    if len(state.history) < phase.until and not state.has_stopped:
        return None
    _restore(model.variables, best)
    return state


def _optimizer(model: keras.Model, phase: Phase, steps: int) -> keras.Optimizer:
    import keras

    total = steps * phase.epochs
    warmup = max(1, round(total * _WARMUP_FRACTION))
    schedule = keras.optimizers.schedules.CosineDecay(
        phase.learning_rate / 20,
        max(1, total - warmup),
        alpha=0.0,
        warmup_target=phase.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=phase.weight_decay,
        use_ema=True,
        ema_momentum=1 - 1 / max(1, round(total * _AVERAGED_FRACTION)),
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if any(layer.dtype_policy.name == "mixed_float16" for layer in model.layers):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """The model with the averages of its weights in place of those that training goes on with."""
    weights = [np.asarray(variable) for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def _learning_rate(model: keras.Model) -> float:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return float(optimizer.learning_rate)


def _batches(feed: Feed, phase: Phase, first_epoch: int) -> tf.data.Dataset:
    """Epoch after epoch without end; what an epoch holds depends on its number only, not on the epochs before."""
    import tensorflow as tf

    def draw() -> Iterator[tuple[AnyArray, ...]]:
        epoch = first_epoch
        while True:
            generator = np.random.default_rng((phase.seed, epoch, *phase.name.encode()))
            order = generator.permutation(feed.count)
            for start in range(0, feed.count, phase.batch_size):
                yield feed.draw(order[start : start + phase.batch_size], generator)
            epoch += 1

    sample = feed.draw(np.zeros(1, np.int64), np.random.default_rng(0))
    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in sample)
    batches = tf.data.Dataset.from_generator(draw, output_signature=signature)
    return batches.map(feed.prepare, num_parallel_calls=1).prefetch(2)


def _note(model: keras.Model, state: PhaseState, epoch: Epoch, phase: Phase, work: Path) -> None:
    """Adds an epoch to the state and keeps its weights where they are the best."""
    state.history.append(epoch)
    if _rank(epoch, phase.metric) > _rank(state.best, phase.metric):
        state.best = epoch
        cache.keep(work, f"{phase.name} best".encode(), _packed(model.variables))
    if epoch.number - state.best.number >= phase.patience:
        state.has_stopped = model.stop_training = True


def _rank(epoch: Epoch, metric: str) -> tuple[float, float]:
    score, loss = epoch.scores[metric], epoch.scores["loss"]
    return -math.inf if score is None else score, -math.inf if loss is None else -loss


def _scored(score: Callable[[keras.Model], Mapping[str, float]], model: keras.Model) -> dict[str, float | None]:
    return {name: finite(float(value)) for name, value in score(model).items()}


def _begin(
    model: keras.Model, phase: Phase, score: Callable[[keras.Model], Mapping[str, float]], work: Path
) -> PhaseState:
    scores = _scored(score, model)
    cache.keep(work, f"{phase.name} best".encode(), _packed(model.variables))
    return PhaseState(Epoch(phase.name, 0, 0.0, scores["loss"], scores, 0.0, phase.epochs))


def _resume(model: keras.Model, phase: Phase, work: Path) -> PhaseState | None:
    kept = cache.recall(work, f"{phase.name} last".encode())
    if kept is None:
        return None
    _restore([*model.variables, *model.optimizer.variables], kept)
    state = _stored_state(kept)
    _LOG.info("%s: going on after epoch %d", phase.name, len(state.history))
    return state


def _packed(variables: list[keras.Variable], state: PhaseState | None = None) -> bytes:
    buffer = io.BytesIO()
    arrays = {str(place): np.asarray(variable) for place, variable in enumerate(variables)}
    if state is not None:
        arrays[_STATE] = np.asarray(stored.to_json(state))
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _stored_state(kept: bytes) -> PhaseState:
    with np.load(io.BytesIO(kept), allow_pickle=False) as arrays:
        return stored.from_json(str(arrays[_STATE]), PhaseState, "the last epoch in the cache")


def _restore(variables: list[keras.Variable], kept: bytes) -> None:
    with np.load(io.BytesIO(kept), allow_pickle=False) as arrays:
        for place, variable in enumerate(variables):
            variable.assign(arrays[str(place)])
