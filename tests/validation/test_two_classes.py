import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from mnedge.results import stored
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.two_classes import TwoClasses
from mnedge.validation.two_classes import positive_scores, two_classes


def _scored(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores in steps of 1/64, so that some are equal, and truths of which few are positive."""
    generator = np.random.default_rng(3)
    positive = generator.random(count) < 0.2
    scores = np.clip(generator.normal(0.3 + 0.25 * positive, 0.15), 0, 1)
    return (np.round(scores * 64) / 64).astype(np.float32), positive


def _found(scores: np.ndarray, positive: np.ndarray) -> TwoClasses:
    found = two_classes(scores, positive, "ripe")
    assert found is not None
    return found


def test_curves_are_those_of_scikit_learn() -> None:
    scores, positive = _scored()
    found = _found(scores, positive)
    false, recall, _ = roc_curve(positive, scores, drop_intermediate=False)
    rates = [(point.false_positive_rate, point.recall) for point in found.points]
    np.testing.assert_allclose(rates, np.stack([false, recall], axis=1))
    precision, recall, _ = precision_recall_curve(positive, scores)
    rates = [(point.recall, point.precision) for point in found.points[1:]]
    np.testing.assert_allclose(rates, np.stack([recall, precision], axis=1)[-2::-1])


def test_every_point_is_what_its_threshold_does() -> None:
    scores, positive = _scored()
    for point in _found(scores, positive).points:
        said = scores >= point.threshold
        assert point.recall == pytest.approx((said & positive).sum() / positive.sum())
        assert point.false_positive_rate == pytest.approx((said & ~positive).sum() / (~positive).sum())
        if said.any():
            assert point.precision == pytest.approx((said & positive).sum() / said.sum())


def test_the_best_threshold_counts_both_classes_alike() -> None:
    # Most right answers: none is positive. Balanced: the two high scores.
    scores = np.array([0.1] * 16 + [0.3, 0.3, 0.3] + [0.31, 0.32], np.float32)
    positive = np.array([False] * 19 + [True, True])
    found = _found(scores, positive)
    assert 0.3 < found.best.threshold < 0.31
    assert (found.balanced_accuracy, found.best.recall, found.best.precision) == (1.0, 1.0, 1.0)
    assert found.best in found.points
    assert (found.images, found.positives) == (21, 2)


def test_a_long_curve_is_thinned_out_and_keeps_its_ends_and_its_best_point() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(5000) < 0.5
    found = _found((generator.random(5000) * (0.5 + 0.5 * positive)).astype(np.float32), positive)
    assert len(found.points) <= 101
    assert (found.points[0].recall, found.points[-1].false_positive_rate) == (0.0, 1.0)
    assert found.best in found.points


def test_one_class_alone_has_no_curve() -> None:
    assert two_classes(np.array([0.2, 0.8], np.float32), np.array([True, True]), "ripe") is None


def test_scores_of_the_positive_class() -> None:
    logits = np.array([[0.0, 2.0], [200.0, -200.0]], np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    for values, head in ((logits, "logits"), (softmax, "softmax"), (softmax[:, 1:], "sigmoid")):
        said = positive_scores(values, head)
        assert said is not None
        assert said == pytest.approx(softmax[:, 1], abs=1e-6)
    assert positive_scores(np.zeros((2, 3), np.float32), "softmax") is None


def test_curves_stand_in_the_row_of_a_report_and_are_read_back() -> None:
    figures = Figures({"top1": 0.5}, two_classes=_found(*_scored()))
    row = AccuracyRow("a.tflite", "litert", "local", "pictures", 60, figures)
    values = stored.as_row(row)
    assert stored.as_row(values["two_classes"])["positive"] == "ripe"
    assert stored.from_json(stored.to_json(row), AccuracyRow, "here") == row
