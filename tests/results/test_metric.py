"""Metrics that tasks declare, as the recipe and the reports see them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mnedge import tasks
from mnedge.results.metric import Declared, Metric, declared


def test_every_task_declares_one_headline_and_it_comes_first() -> None:
    for name in tasks.names():
        metrics = tasks.get(name).metrics
        assert [metric.is_headline for metric in metrics] == [True] + [False] * (len(metrics) - 1), name
        assert not metrics[0].by_class
        assert len({(metric.key, metric.by_class) for metric in metrics}) == len(metrics)
        assert tasks.get(name).metric == metrics[0].key
        assert all(metric.by_class for metric in tasks.get(name).class_metrics)


def test_keys_are_called_by_their_names() -> None:
    headlines = Declared(lambda metric: metric.is_headline)
    assert dict(headlines) == {
        "top1": "top-1",
        "map50": "mAP at IoU 0.5",
        "roc_auc": "ROC AUC",
        "mean_iou": "mean IoU",
        "map": "mAP",
    }
    assert len(headlines) == 5
    assert "top5" not in headlines
    with pytest.raises(KeyError):
        headlines["top5"]
    assert Metric("top5", "top-5") in declared()


def test_a_new_metric_is_seen_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Declared(lambda metric: not metric.by_class)
    assert "smoothness" not in names
    task = tasks.get("embed")
    monkeypatch.setattr("mnedge.results.metric.declared", lambda: (*task.metrics, Metric("smoothness", "smoothness")))
    assert list(names) == ["roc_auc", "recall_at_1", "smoothness"]


def test_a_recipe_needs_no_heavy_library() -> None:
    code = (
        "import sys; from mnedge.recipe import Recipe; Recipe(gates={'min_mean_iou': 0.5}); "
        "sys.exit(bool({'tensorflow', 'keras', 'onnx', 'onnxruntime', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
