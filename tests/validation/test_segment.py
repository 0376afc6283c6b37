"""Mean IoU against scikit-learn's, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from mnedge.data.masks import IGNORE
from mnedge.validation.segment import bootstrap, class_ious, mean_iou, pixel_confusion, pixel_mixups, worst

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
    assert (rows[0]["truth"], rows[0]["predicted"]) == ("abcd"[truth], "abcd"[predicted])
    assert rows[0]["fraction"] == pytest.approx(off.max() / total[truth].sum())
