import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import top_k_accuracy_score

from mnedge.devices import ModelInfo
from mnedge.results.accuracy import MixUp
from mnedge.runtimes import TensorSpec
from mnedge.validation.accuracy import accuracy_figures, accuracy_row, confusion, topk_hits, wilson_interval
from mnedge.validation.parity import parity_row, parity_rows
from mnedge.validation.predict import Predictions


def _said(outputs: np.ndarray, labels: np.ndarray, step_size: float = 0.0, dtype: str = "float32") -> Predictions:
    spec = TensorSpec("x", outputs.shape, dtype)
    info = ModelInfo("engine 1", 1, spec, (spec,))
    numbers = np.arange(len(labels))
    return Predictions(outputs.astype(np.float32), (), step_size, numbers, labels.astype(np.int64), info, "local")


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_is_that_of_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(300, 20)), rng.integers(0, 20, 300)
    assert topk_hits(outputs.astype(np.float32), labels, k).mean() == pytest.approx(
        top_k_accuracy_score(labels, outputs, k=k, labels=np.arange(20))
    )


def test_ties_go_to_the_lower_index() -> None:
    outputs = np.zeros((1, 6), np.float32)
    assert topk_hits(outputs, np.array([0]), 1).all()
    assert not topk_hits(outputs, np.array([5]), 5).any()


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (7, 10), (10, 10), (423, 800)])
def test_the_interval_is_that_of_scipy(hits: int, count: int) -> None:
    other = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((other.low, other.high), abs=1e-6)


def test_rows() -> None:
    outputs = np.eye(6)[[0, 1, 2, 2]]
    said = _said(outputs, np.array([0, 1, 2, 3]))
    row = accuracy_row(said, accuracy_figures(said), artifact="a", dataset="d")
    assert (row.metric("top1"), row.metric("top5"), row.images, row.runtime) == (0.75, 1.0, 4, "engine 1")
    assert confusion(_said(outputs, np.array([0, 1, 2, 3])), tuple("abcdef")) == [MixUp("d", "c", 1, 1.0)]


def test_parity_counts_in_steps_of_the_output() -> None:
    labels = np.array([0, 1])
    one = _said(np.array([[0.5, 0.25], [0.25, 0.5]]), labels, 1 / 256)
    other = _said(np.array([[0.5, 0.25], [0.5, 0.25]]), labels)
    row = parity_row(other, one, names=("float", "int8"))
    assert (row.top1_agreement, row.max_abs_lsb, row.max_abs_error) == (0.5, 64.0, 0.25)
    assert parity_row(other, other, names=("a", "b")).max_abs_lsb is None
    rows = parity_rows({"a.fp32.x": other, "a.int8.x": one, "a.int8.y": one}, ["a.fp32.x", "a.int8.x", "a.int8.y"])
    assert [(row.reference, row.artifact) for row in rows] == [
        ("a.fp32.x", "a.int8.x"), ("a.fp32.x", "a.int8.y"), ("a.int8.x", "a.int8.y"),
    ]  # fmt: skip


def test_maps_of_classes_agree_pixel_by_pixel_and_have_no_error() -> None:
    maps, labels = np.array([[[0, 1], [2, 3]], [[1, 1], [1, 1]]]), np.zeros(2, np.int64)
    other = maps.copy()
    other[0, 1, 1] = 0
    row = parity_row(_said(maps, labels, dtype="int32"), _said(other, labels, dtype="int64"), names=("a", "b"))
    assert (row.top1_agreement, row.max_abs_lsb, row.max_abs_error) == (0.875, None, None)
