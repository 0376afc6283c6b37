"""Two classes have curves and a threshold, in the outcome of a training and in the figures of an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.data import open_dataset
from mnedge.devices import ModelInfo
from mnedge.runtimes import TensorSpec
from mnedge.validation.predict import Predictions

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.dataset import Dataset
    from mnedge.graph.heads import Head

_SCORES = np.array([0.1, 0.3, 0.2, 0.4, 0.9], np.float32)


def _photos(root: Path, *classes: str) -> Dataset:
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(3 - place % 2):
            Image.new("RGB", (12, 12), (60 * place, 50 * number, 0)).save(root / name / f"{number}.png")
    return open_dataset(str(root))


def test_the_outcome_of_two_classes_names_a_threshold(tmp_path: Path) -> None:
    dataset = _photos(tmp_path, "raw", "ripe")
    probabilities = np.stack([1 - _SCORES, _SCORES], axis=1)
    found = tasks.get("classify").outcome({"probabilities": probabilities}, np.arange(5), dataset).two_classes
    assert found is not None
    # Three raw ones at 0.1, 0.3, 0.2, and the ripe ones at 0.4 and 0.9: half way is right for all.
    assert (found.positive, found.best.threshold) == ("ripe", pytest.approx(0.35))
    assert (found.roc_auc, found.balanced_accuracy) == (1.0, 1.0)


def test_the_outcome_of_three_classes_has_none(tmp_path: Path) -> None:
    dataset = _photos(tmp_path, "raw", "ripe", "rotten")
    probabilities = np.full((8, 3), 1 / 3, np.float32)
    assert tasks.get("classify").outcome({"probabilities": probabilities}, np.arange(8), dataset).two_classes is None


@pytest.mark.parametrize("head", ["softmax", "logits", "sigmoid"])
def test_the_figures_of_an_artifact_have_the_same_curve(tmp_path: Path, head: Head) -> None:
    dataset = _photos(tmp_path, "raw", "ripe")
    logits = np.log(_SCORES / (1 - _SCORES))
    outputs = {
        "softmax": np.stack([1 - _SCORES, _SCORES], axis=1),
        "logits": np.stack([np.zeros(5, np.float32), logits], axis=1),
        "sigmoid": _SCORES[:, None],
    }[head]
    spec = TensorSpec("image", (1, 8, 8, 3), "float32")
    info = ModelInfo("test", None, spec, (TensorSpec("scores", (1, outputs.shape[1]), "float32"),))
    said = Predictions(outputs, (), 0.0, np.arange(5), dataset.labels, info, "local", tmp_path / "a.tflite", head)
    found = tasks.get("classify").accuracy(said, dataset).two_classes
    assert found is not None
    assert found.best.threshold == pytest.approx(0.35)
