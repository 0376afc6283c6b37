"""Mean IoU against scikit-learn's, and its interval."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from mnedge.data.masks import IGNORE
from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation.predict import Predictions
from mnedge.validation.segment import (
    bootstrap,
    class_ious,
    confusions,
    enlarged,
    mean_iou,
    pixel_confusion,
    pixel_mixups,
    worst,
)

if TYPE_CHECKING:
    from mnedge.data.dataset import Dataset

_RNG = np.random.default_rng(0)
_MASKS = _RNG.integers(0, 4, (12, 20, 20)).astype(np.uint8)
_FOUND = np.where(_RNG.random(_MASKS.shape) < 0.7, _MASKS, _RNG.integers(0, 4, _MASKS.shape)).astype(np.int64)
_MASKS[_RNG.random(_MASKS.shape) < 0.1] = IGNORE
_COUNTED = np.stack([pixel_confusion(found, mask, 4) for found, mask in zip(_FOUND, _MASKS, strict=True)])


def test_confusion_and_ious_are_those_of_scikit_learn() -> None:
    counts = _MASKS != IGNORE
    assert (_COUNTED.sum(0) == confusion_matrix(_MASKS[counts], _FOUND[counts])).all()
    others = jaccard_score(_MASKS[counts], _FOUND[counts], average=None)
    np.testing.assert_allclose(class_ious(_COUNTED.sum(0)), others)
    assert mean_iou(_COUNTED.sum(0)) == pytest.approx(others.mean())


def test_a_class_that_nobody_shows_does_not_count() -> None:
    confusion = np.array([[5, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert np.isnan(class_ious(confusion)[2])
    assert mean_iou(confusion) == pytest.approx((5 / 8 + 4 / 7) / 2)


def test_the_interval_holds_the_figure_and_is_narrower_with_more_pictures() -> None:
    low, high = bootstrap(_COUNTED)
    assert low < mean_iou(_COUNTED.sum(0)) < high
    wide = bootstrap(_COUNTED[:3])
    assert wide[1] - wide[0] > high - low


def test_worst_pictures_and_mixups_come_first() -> None:
    places = [place for place, _ in worst(_COUNTED, 3)]
    ious = [np.nanmean(class_ious(confusion)) for confusion in _COUNTED]
    assert places == np.argsort(ious)[:3].tolist()
    rows = pixel_mixups(_COUNTED, ("a", "b", "c", "d"))
    total = _COUNTED.sum(0)
    off = total - np.diag(total.diagonal())
    truth, predicted = np.unravel_index(off.argmax(), off.shape)
    assert (rows[0].truth, rows[0].predicted) == ("abcd"[truth], "abcd"[predicted])
    assert rows[0].fraction == pytest.approx(off.max() / total[truth].sum())


def test_scores_are_enlarged_as_tensorflow_does_and_indices_repeated() -> None:
    import tensorflow as tf

    scores = np.random.default_rng(1).normal(size=(14, 14, 5)).astype(np.float32)
    expected = tf.image.resize(scores, (61, 47), "bilinear").numpy().argmax(-1)
    found = enlarged(scores, (61, 47), is_indices=False)
    assert found.shape == (61, 47)
    # Scores that tie to the last bit may be ranked either way.
    assert (found == expected).mean() > 0.999
    indices = scores.argmax(-1).astype(np.float32)
    repeated = tf.image.resize(indices[..., None], (28, 42), "nearest").numpy()[..., 0]
    assert (enlarged(indices, (28, 42), is_indices=True) == repeated).all()


def test_a_class_without_scores_is_found_nowhere() -> None:
    scores = np.random.default_rng(2).normal(size=(8, 8, 3)).astype(np.float32)
    scores[..., 1] = -np.inf
    assert set(enlarged(scores, (20, 30), is_indices=False).ravel().tolist()) == {0, 2}


def _said(outputs: np.ndarray, dtype: str) -> Predictions:
    spec = TensorSpec("out", outputs.shape, dtype)
    numbers = np.arange(len(outputs))
    info = ModelInfo("test", None, TensorSpec("image", (1, 8, 8, 3), "float32"), (spec,))
    return Predictions(outputs.astype(np.float32), (), 0.0, numbers, numbers * 0, info, "local")


def _pictures(*masks: np.ndarray) -> Dataset:
    found: Any = SimpleNamespace(name="pets", classes=("a", "b"), truths=lambda number, side: [masks[number]][side])
    return found


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_pictures_count_in_their_own_size(dtype: str) -> None:
    halves = np.repeat(np.array([[0, 0, 1, 1]] * 4), 1, axis=0)
    scores = np.stack([1.0 - halves, halves], axis=-1)
    wide, narrow = np.zeros((30, 80), np.uint8), np.full((40, 20), IGNORE, np.uint8)
    wide[:, 40:] = 1
    narrow[:20] = 0
    output = scores if dtype == "float32" else halves
    counted = confusions(_said(np.stack([output, output]), dtype), _pictures(wide, narrow))
    assert counted.tolist() == [[[1200, 0], [0, 1200]], [[200, 200], [0, 0]]]


def test_what_is_no_map_of_the_classes_is_refused() -> None:
    mask = np.zeros((6, 6), np.uint8)
    for output in (np.zeros((1, 7)), np.zeros((1, 4, 5, 2)), np.eye(4)[None, :, :, None] * [0, 0, 1]):
        with pytest.raises(InputError, match="is no map of the 2 classes of pets"):
            confusions(_said(output, "float32"), _pictures(mask))
