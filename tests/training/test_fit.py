"""The loop on a network of one layer: kept epochs, pauses, patience, the best weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.training.classify import Labelled, picture_feed
from mnedge.training.fit import Feed, Phase, PhaseState, finished, fit, samples
from mnedge.training.settings import Augmentation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import keras

    from mnedge.results.training import Epoch

PHASE = Phase("fine-tune", 6, 6, 0.05, 0.01, 8, patience=6, metric="fit", seed=3)


def _model() -> keras.Model:
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3)])
    model.add(keras.layers.Dense(1))
    return model


def _feed() -> Feed:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(50, 4)).astype(np.float32)
    targets = inputs.sum(axis=1, keepdims=True)

    def draw(places: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        noise = generator.normal(0, 0.01, (places.size, 4)).astype(np.float32)
        return inputs[places] + noise, targets[places], np.ones(places.size, np.float32)

    return Feed(50, draw, lambda *parts: parts)


def _score(model: keras.Model) -> Mapping[str, float]:
    feed = _feed()
    inputs, targets, _ = feed.draw(np.arange(50), np.random.default_rng(0))
    loss = float(np.mean((model(inputs).numpy() - targets) ** 2))
    return {"fit": -loss, "loss": loss}


class _Cut(Exception):  # noqa: N818 - stands for Ctrl-C
    pass


def _run(
    model: keras.Model, work: Path, phase: Phase = PHASE, cut_after: int | None = None, **kwargs: object
) -> PhaseState:
    import keras

    def heard(epoch: Epoch) -> None:
        if epoch.number == cut_after:
            raise _Cut

    arguments: dict[str, Any] = {"score": _score, "progress": lambda *_: None, **kwargs}
    return fit(model, phase, _feed(), keras.losses.MeanSquaredError(), work=work, on_epoch=heard, **arguments)


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = _model()
    state = _run(whole, tmp_path / "whole")
    assert [epoch.number for epoch in state.history] == [1, 2, 3, 4, 5, 6]
    for epoch in state.history:
        assert epoch.images_per_second is not None
        # The seconds of an epoch are with its validation.
        assert epoch.images_per_second >= 0.99 * _feed().count / epoch.seconds
        assert epoch.cores is not None
        assert epoch.cores > 0
    first, last = state.history[0].loss, state.history[-1].loss
    assert first is not None
    assert last is not None
    assert last < first
    with pytest.raises(_Cut):
        _run(_model(), tmp_path / "cut", cut_after=3)
    resumed = _model()
    again = _run(resumed, tmp_path / "cut")
    assert [epoch.loss for epoch in again.history] == pytest.approx([epoch.loss for epoch in state.history], rel=1e-5)
    assert again.history[3].learning_rate == state.history[3].learning_rate
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_pause_is_no_difference_in_the_end(tmp_path: Path) -> None:
    whole, paused = _model(), _model()
    _run(whole, tmp_path / "whole")
    first = _run(_model(), tmp_path / "paused", replace(PHASE, until=2))
    assert len(first.history) == 2
    assert finished(paused, PHASE, tmp_path / "paused") is None
    second = _run(paused, tmp_path / "paused")
    assert len(second.history) == 6
    for one, other in zip(whole.get_weights(), paused.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_what_is_finished_is_not_trained_again(tmp_path: Path) -> None:
    model, other = _model(), _model()
    state = _run(model, tmp_path)
    heard: list[object] = []
    again = _run(other, tmp_path, progress=lambda *told: heard.append(told))
    assert again == state
    assert heard == []
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_patience_ends_it_and_the_best_weights_stay(tmp_path: Path) -> None:
    model = _model()
    marks = iter([0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6])
    seen = []

    def score(scored: keras.Model) -> Mapping[str, float]:
        mark = next(marks)
        seen.append((mark, scored.get_weights()))
        return {"fit": mark, "loss": 1.0}

    state = _run(model, tmp_path, replace(PHASE, patience=3), score=score)
    assert state.has_stopped
    assert [epoch.scores["fit"] for epoch in state.history] == [0.2, 0.9, 0.3, 0.4, 0.5]
    assert state.best.number == 2
    best = next(weights for mark, weights in seen if mark == 0.9)
    for one, other in zip(model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_that_only_harms_leaves_the_weights_that_it_began_with(tmp_path: Path) -> None:
    model = _model()
    before, marks = model.get_weights(), iter([0.9, 0.1, 0.2, 0.3, 0.1, 0.1, 0.1])
    state = _run(model, tmp_path, score=lambda _: {"fit": next(marks), "loss": 1.0})
    assert state.best.number == 0
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tie_goes_to_the_lower_loss(tmp_path: Path) -> None:
    losses = iter([5.0, 4.0, 3.0, 3.5, 3.0, 9.0, 9.0])
    state = _run(_model(), tmp_path, score=lambda _: {"fit": 0.5, "loss": next(losses)})
    assert state.best.number == 2


def test_progress_runs_from_nothing_to_all(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    _run(_model(), tmp_path, progress=lambda *now: told.append(now))
    shares = [share for _, share in told]
    assert {name for name, _ in told} == {"fine-tune"}
    assert shares == sorted(shares)
    assert shares[0] < 0.05
    assert shares[-1] == 1.0


def test_damaged_memory_of_an_epoch_starts_the_phase_anew(tmp_path: Path) -> None:
    _run(_model(), tmp_path, replace(PHASE, until=2))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-7])
    state = _run(_model(), tmp_path)
    assert [epoch.number for epoch in state.history] == [1, 2, 3, 4, 5, 6]


def test_what_is_scored_is_the_moving_average_of_the_weights(tmp_path: Path) -> None:
    import keras

    model, averages, weights = _model(), [], []

    def score(scored: keras.Model) -> Mapping[str, float]:
        averages.append(scored.get_weights()[0])
        return {"fit": float(len(averages)), "loss": 1.0}

    # One step an epoch; the averages look back on 2 of the 40 steps, so each is half made of the newest.
    phase = replace(PHASE, epochs=40, until=5, batch_size=50, patience=40)
    loss = keras.losses.MeanSquaredError()

    def heard(_: Epoch) -> None:
        weights.append(model.get_weights()[0])

    fit(model, phase, _feed(), loss, score, work=tmp_path, progress=lambda *_: None, on_epoch=heard)
    expected = weights[0]
    for scored, trained in zip(averages[1:], weights, strict=True):
        expected = (expected + trained) / 2
        np.testing.assert_allclose(scored, expected, atol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[0], averages[-1])
    assert np.abs(averages[-1] - weights[-1]).max() > 1e-3


def test_samples_are_what_the_network_is_fed() -> None:
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.full((1, 10, 10, 3), 60, np.uint8)
    pictures = Labelled(pixels, np.array([1, 3]), np.array([0, 1]))
    feed = picture_feed(pictures, np.ones(2, np.float32), Augmentation.of("none"), (8, 8))
    shown, targets = samples(feed, 18, 0)
    # As many as there are; each with its own target, in the values of pixels.
    assert shown.shape == (2, 8, 8, 3)
    assert {(int(one.max()), int(target.argmax())) for one, target in zip(shown, targets, strict=True)} == {
        (60, 0),
        (180, 1),
    }
    assert np.array_equal(samples(feed, 18, 0)[0], shown)
