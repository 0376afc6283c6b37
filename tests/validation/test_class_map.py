"""Models whose classes are not those of the data."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation.class_map import ClassMap, in_classes_of, parse_class_map
from mnedge.validation.predict import Predictions

if TYPE_CHECKING:
    from mnedge.data.dataset import Dataset

CLASSES = ("background", "cat", "dog")


def _dataset() -> Dataset:
    found: Any = SimpleNamespace(name="pets", classes=CLASSES, truths=lambda _number, _side: None)
    return found


def _said(*outputs: Any, dtype: str = "float32") -> Predictions:
    arrays = [np.asarray(output, np.float32) for output in outputs]
    info: Any = SimpleNamespace(outputs=[TensorSpec("out", arrays[0].shape, dtype)])
    numbers = np.arange(len(arrays[0]))
    return Predictions(arrays[0], tuple(arrays[1:]), 0.0, numbers, numbers * 0, info, "local")


def test_a_map_is_read_by_names_indices_ranges_and_offsets() -> None:
    found = parse_class_map("8=cat, 12=2, 1-3=background, rest=dog", CLASSES)
    assert found == ClassMap({8: 1, 12: 2, 1: 0, 2: 0, 3: 0}, rest=2)
    assert found.table(14, 3).tolist() == [2, 0, 0, 0, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2]
    assert parse_class_map("offset=-1", CLASSES).table(5, 3).tolist() == [-1, 0, 1, 2, -1]
    assert parse_class_map("0=dog,offset=-1", CLASSES).table(4, 3).tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8=cats", "did you mean 'cat'"),
        ("8=7", "unknown class of the data '7'"),
        ("cat=8", "'cat=8' is no part of a class map"),
        ("8", "'8' is no part"),
        ("offset=two", "no part"),
        ("offset=99999999999999999999", "no part"),
        ("offset=" + "9" * 5000, "no part"),
        ("8=" + "9" * 5000, "unknown class of the data"),
        (",", "maps nothing"),
        ("9-3=cat", "9-3 is no span of classes"),
        ("0-99999999999=cat", "0-99999999999 is no span of classes; it runs upwards and ends below 100000"),
        ("0-" + "9" * 5000 + "=cat", "is no span of classes"),
    ],
)
def test_what_is_no_map_is_told(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_class_map(text, CLASSES)


def test_indices_of_others_may_be_any_number() -> None:
    """A table as long as the largest would take gigabytes, and those below 0 are no places in it."""
    for index in (2**30, -1, -(2**40)):
        with pytest.raises(InputError, match=f"knows classes .{index}. that are none of pets's"):
            in_classes_of(_said([[[index]]], dtype="int32"), _dataset(), None)
    boxes, scores, one = np.zeros((1, 1, 4)), np.ones((1, 1)), np.ones((1, 1))
    for index in (2**30, -1):
        with pytest.raises(InputError, match=f"knows classes .{index}. that"):
            in_classes_of(_said(boxes, [[index]], scores, one), _dataset(), None)
        assert in_classes_of(_said(boxes, [[index]], scores, one), _dataset(), ClassMap({1: 1})).others[2] == 0


def test_a_map_of_indices_is_translated() -> None:
    said = _said([[[0, 8], [12, 15]]], dtype="int64")
    mapped = in_classes_of(said, _dataset(), ClassMap({8: 1, 12: 2}, rest=0))
    assert mapped.outputs.tolist() == [[[0, 1], [2, 0]]]
    with pytest.raises(InputError, match=r"knows classes \(0, 15\).*--class-map"):
        in_classes_of(said, _dataset(), ClassMap({8: 1, 12: 2}))
    with pytest.raises(InputError, match=r"knows classes \(8, 12, 15\).*background, cat, dog"):
        in_classes_of(said, _dataset(), None)
    fits = _said([[[0, 1], [2, 0]]], dtype="int64")
    assert in_classes_of(fits, _dataset(), None).outputs.tolist() == fits.outputs.tolist()


def test_scores_of_several_classes_become_the_highest() -> None:
    said = _said([[[[0.1, 0.2, 0.6, 0.3, 0.9]]]])
    mapped = in_classes_of(said, _dataset(), ClassMap({1: 1, 2: 1, 3: 2}, rest=0))
    assert mapped.outputs[0, 0, 0].tolist() == pytest.approx([0.9, 0.6, 0.3])
    assert mapped.class_of(0).tolist() == [[0]]
    with pytest.raises(InputError, match="--class-map"):
        in_classes_of(said, _dataset(), None)
    none = in_classes_of(said, _dataset(), ClassMap({1: 1, 3: 2}))
    assert none.class_of(0).tolist() == [[2]]


def test_detections_of_other_classes_are_left_out() -> None:
    boxes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    said = _said(boxes, [[5, 1, 2], [1, 9, 9]], [[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]], [3, 1])
    mapped = in_classes_of(said, _dataset(), ClassMap({1: 2, 2: 1}))
    classes, scores, counts = mapped.others
    assert counts.tolist() == [2, 1]
    assert classes[0, :2].tolist() == [2, 1]
    assert scores[0, :2].tolist() == pytest.approx([0.8, 0.7])
    assert mapped.outputs[0, :2].tolist() == boxes[0, 1:].tolist()
    assert (classes[1, 0], scores[1, 0]) == (2, pytest.approx(0.6))
    with pytest.raises(InputError, match=r"knows classes \(1, 2, 5\)"):
        in_classes_of(said, _dataset(), None)


def test_a_classifier_stays_as_it_is() -> None:
    said = _said(np.zeros((2, 1001)))
    plain: Any = SimpleNamespace(name="photos", classes=CLASSES, truths=None)
    assert in_classes_of(said, plain, None) is said
    grouped = in_classes_of(said, plain, ClassMap({7: 1}, rest=0))
    assert grouped.outputs.shape == (2, 3)


def test_what_nothing_shows_has_the_lowest_score() -> None:
    said = replace(_said([[0.2, 0.4]]), path=_said([[0.0]]).path)
    mapped = in_classes_of(said, _dataset(), ClassMap({0: 1, 1: 0}))
    assert mapped.outputs[0].tolist() == pytest.approx([0.4, 0.2, -np.inf])
