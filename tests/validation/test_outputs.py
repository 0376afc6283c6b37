"""Figures and agreement of every output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation.outputs import output_rows
from mnedge.validation.predict import Predictions

if TYPE_CHECKING:
    from pathlib import Path


def said(path: Path, scores: Any, numbers: Any) -> Predictions:
    """What a file of a multi-label and a numbers output said of some samples."""
    specs = (TensorSpec("tags", (1, 2), "float32"), TensorSpec("age", (1, 1), "float32"))
    info = ModelInfo("test", None, TensorSpec("x", (1, 3), "float32"), specs)
    first, second = np.array(scores, np.float32), np.array(numbers, np.float32)
    places = np.arange(len(first))
    return Predictions(first, (second,), 0.0, places, places, info, "local", path, "multi-label")


def test_every_output_has_the_figures_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    one = said(path, [[0.9, 0.2], [0.1, 0.8]], [[2.0], [4.0]])
    other = said(path, [[0.9, 0.6], [0.1, 0.8]], [[2.0], [5.0]])
    truths = {"": np.array([[1, 0], [0, 1]]), "age": np.array([[2.5], [4.5]])}
    tags, age, other_tags, other_age = output_rows([("a", one), ("b", other)], "data", truths)
    assert (tags.kind, tags.figures, tags.reference) == ("multi-label", {"map": 1.0}, None)
    assert (age.kind, age.figures["mae"], age.agreement) == ("numbers", 0.5, None)
    assert (other_tags.reference, other_tags.agreement) == ("a", 0.75)
    assert other_tags.max_abs_error == pytest.approx(0.4)
    assert (other_age.agreement, other_age.max_abs_error) == (None, 1.0)
    assert other_age.agreement_snr_db == pytest.approx(10 * np.log10(20))


def test_truths_of_no_output_and_outputs_of_other_shapes_are_refused(tmp_path: Path) -> None:
    one = said(tmp_path / "m.bin", [[0.9, 0.2]], [[2.0]])
    with pytest.raises(InputError, match=r"truths y:ages, and the outputs of .* are tags, age"):
        output_rows([("a", one)], "data", {"ages": np.zeros((1, 1))})
    with pytest.raises(InputError, match=r"has outputs of 2, 2, .* of 2, 1: they cannot agree"):
        output_rows([("a", one), ("b", said(tmp_path / "n.bin", [[0.9, 0.2]], [[2.0, 1.0]]))], "data")
