from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation.predict import Predictions
from mnedge.validation.tag import label_figures, multi_label_figures


def _case() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    tags = generator.random((50, 3)) < (0.5, 0.2, 0.1)
    return np.clip(0.3 + 0.3 * tags + generator.normal(0, 0.2, tags.shape), 0, 1).astype(np.float32), tags


def test_figures_are_those_of_scikit_learn() -> None:
    scores, tags = _case()
    found, said = label_figures(scores, tags), scores >= 0.5
    assert found.map == pytest.approx(average_precision_score(tags, scores, average="macro"))
    assert found.macro_f1 == pytest.approx(f1_score(tags, said, average="macro"))
    assert found.recall == pytest.approx(recall_score(tags, said, average=None))
    assert found.purity == pytest.approx(precision_score(tags, said, average=None))


def test_a_label_that_no_picture_has_counts_nothing() -> None:
    scores, tags = _case()
    tags[:, 2], scores[:, 2] = False, 0.1
    found = label_figures(scores, tags)
    assert (found.precision[2], found.recall[2], found.purity[2]) == (None, None, None)
    assert found.map == pytest.approx(np.mean([value for value in found.precision if value is not None]))


def test_other_outputs_are_refused_with_what_is_wanted(tmp_path: Path) -> None:
    scores, tags = _case()
    spec = TensorSpec("image", (1, 8, 8, 3), "float32")
    places, info = np.arange(50), ModelInfo("test", None, spec, (TensorSpec("labels", (1, 3), "float32"),))
    dataset: Any = type("Data", (), {"name": "photos", "classes": ("cat", "dog", "bird")})()
    said = Predictions(scores, (), 0.0, places, places, info, "local", tmp_path / "a.tflite", "multi-label")
    assert multi_label_figures(said, tags, dataset).classes["ap"].keys() == {"cat", "dog", "bird"}
    for wrong in (replace(said, head="softmax"), replace(said, outputs=scores[:, :2])):
        with pytest.raises(InputError, match=r"photos has 3 labels \(cat, dog, bird\), .* ends in 3 sigmoids"):
            multi_label_figures(wrong, tags, dataset)
