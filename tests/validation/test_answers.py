"""What outputs say of single pictures, where no file is needed to see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation.answers import Question, Seen, class_answers, mask_in, object_answers, share_answers
from mnedge.validation.predict import Predictions

if TYPE_CHECKING:
    from mnedge.graph.heads import Head

_SEEN = Seen((8, 4), (2.0, 0.0, 6.0, 4.0))


def _said(outputs: Any, *others: Any, head: Head = "map", dtype: str = "float32") -> Predictions:
    values = [np.asarray(value, np.float32) for value in (outputs, *others)]
    specs = tuple(TensorSpec(str(place), (1, *value.shape[1:]), dtype) for place, value in enumerate(values))
    info = ModelInfo("test", None, TensorSpec("image", (1, 4, 4, 3), "float32"), specs)
    numbers = np.arange(len(values[0]))
    return Predictions(values[0], tuple(values[1:]), 0.0, numbers, numbers, info, "local", Path("m.tflite"), head)


def test_class_indices_are_repeated_in_the_part_that_is_seen() -> None:
    said = _said([[[0, 1], [2, 2]]], dtype="int64")
    mask = mask_in(said, 0, _SEEN)
    assert mask.tolist() == [[255] * 2 + [0, 0, 1, 1] + [255] * 2] * 2 + [[255] * 2 + [2] * 4 + [255] * 2] * 2
    (answer,) = share_answers(said, [_SEEN], Question(("sky", "cat", "grass")))
    assert answer.said == "grass 50.0 %, sky 25.0 %, cat 25.0 %"
    assert share_answers(said, [_SEEN], Question(threshold=0.3, top=1))[0].said == "class 2 50.0 %"


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (1, 4, 4), (1, 10)])
def test_what_is_no_map_of_classes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="no map of classes"):
        share_answers(_said(np.zeros(shape)), [_SEEN], Question())


def test_boxes_lie_in_the_part_that_is_seen() -> None:
    said = _said([[[0, 0, 0.5, 1], [0, 0, 1, 0.5]]], [[3, 1]], [[0.5, 0.9]], [[2]])
    (answer,) = object_answers(said, [_SEEN], Question(("a", "b")))
    assert answer.objects is not None
    assert [(row.label, row.box) for row in answer.objects] == [("b", (0, 2, 4, 4)), ("class 3", (0, 2, 2, 6))]
    assert object_answers(said, [_SEEN], Question(threshold=0.95))[0].said == "nothing above the threshold"
    assert len(object_answers(said, [_SEEN], Question(top=1))[0].objects or ()) == 1


def test_numbers_are_no_classes() -> None:
    with pytest.raises(InputError, match=r"gives numbers of 3, no scores of classes; .*--task"):
        class_answers(_said(np.zeros((1, 3)), head="numbers"), [_SEEN], Question())


def test_probabilities_whose_softmax_cannot_be_read_are_not_taken_for_logits() -> None:
    shares, logits = [[0.7, 0.2, 0.1]], [[2.0, 1.0, -1.0]]
    (said,) = class_answers(_said(shares, head="logits"), [_SEEN], Question(threshold=0.2))
    assert said.said == "class 0 0.700, class 1 0.200"
    (said,) = class_answers(_said(logits, head="logits"), [_SEEN], Question())
    assert said.classes is not None
    powers = np.exp(logits[0])
    assert [row.score for row in said.classes] == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)
