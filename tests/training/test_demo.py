"""Training from nothing, on networks small enough for a test; and the checkpoint that comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.data.demo import open_demo
from mnedge.models.build import build_model
from mnedge.models.variant import Variant
from mnedge.pixels import SYMMETRIC
from mnedge.training.demo import train_demo

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

TINY = Variant("v3-small", 0.25, 48, classes=10)


def _pictures(split: str, resolution: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    dataset = open_demo()
    return dataset.pixels(dataset.split(split), resolution)


def _top1(model: keras.Model, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    parts = [model(SYMMETRIC.real(images[start : start + 100])).numpy() for start in range(0, len(images), 100)]
    return float((np.concatenate(parts).argmax(1) == labels).mean())


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, list[tuple[str, float]]]:
    model, told = build_model(TINY, "random"), []
    images, labels = _pictures("train", 48)
    train_demo(model, images, labels, seed=1, epochs=4, progress=lambda *told_now: told.append(told_now))
    return model, told


@pytest.mark.slow
def test_a_tiny_network_learns_the_digits(trained: tuple[keras.Model, list[tuple[str, float]]]) -> None:
    assert _top1(trained[0], *_pictures("calibration", 48)) > 0.8


@pytest.mark.slow
def test_progress_runs_from_nothing_to_all_in_every_stage(
    trained: tuple[keras.Model, list[tuple[str, float]]],
) -> None:
    assert list(dict(trained[1])) == ["train", "batch norm"]
    for stage in ("train", "batch norm"):
        shares = [share for name, share in trained[1] if name == stage]
        assert shares == sorted(shares)
        assert 0 < shares[0] < 0.2
        assert shares[-1] == 1.0


@pytest.mark.slow
def test_batch_norms_hold_the_statistics_of_the_pictures(
    trained: tuple[keras.Model, list[tuple[str, float]]],
) -> None:
    import keras

    model = trained[0]
    first = keras.Model(model.inputs[0], model.get_layer("conv").output)
    images, _ = _pictures("train", 48)
    seen = np.concatenate([first(SYMMETRIC.real(images[start : start + 100])).numpy() for start in range(0, 1100, 100)])
    norm = model.get_layer("conv_bn")
    # The statistics are of 512 of the 1,197 pictures.
    assert norm.moving_mean.numpy() == pytest.approx(seen.mean((0, 1, 2)), abs=0.1 * float(seen.std()))
    assert norm.moving_variance.numpy() == pytest.approx(seen.var((0, 1, 2)), rel=0.2, abs=1e-3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network() -> None:
    variant = Variant("v1", 0.125, 33, 10)
    images, labels = _pictures("train", variant.resolution)
    images, labels = images[:64], labels[:64]

    def train(seed: int) -> list[NDArray[np.float32]]:
        model = build_model(variant, "random", seed)
        train_demo(model, images, labels, seed=seed, epochs=1)
        return model.get_weights()

    first, again, other = train(5), train(5), train(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert all(np.isfinite(weight).all() for weight in first)


@pytest.mark.slow
def test_a_large_resolution_ends_at_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnedge.training import demo

    seen = []
    original = demo._resized

    def resized(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
        seen.append(side)
        return original(images, side)

    monkeypatch.setattr(demo, "_resized", resized)
    monkeypatch.setattr(demo, "_OWN_STEPS_NARROW", 1)
    images, labels = _pictures("calibration", 128)
    train_demo(build_model(Variant("v1", 0.125, 128, 10), "random"), images[:16], labels[:16], epochs=2)
    assert seen == [96, 96, 128, 128]


def test_the_packaged_checkpoint_reads_the_digits() -> None:
    model = build_model(Variant("v3-small", 1.0, 96, 10), "demo")
    assert _top1(model, *_pictures("eval", 96)) >= 0.98
