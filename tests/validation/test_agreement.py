"""Agreement of models with any outputs."""

import numpy as np
import pytest

from mnedge.graph.graph import Quantization
from mnedge.runtimes import TensorSpec
from mnedge.validation.agreement import agreement

STEPS = Quantization.per_tensor(0.1, 0)


def test_a_classifier_has_a_top1() -> None:
    spec = TensorSpec("scores", (1, 3), "int8", STEPS)
    before = [[np.array([[1, 5, 3]], np.int8)], [np.array([[9, 5, 3]], np.int8)]]
    after = [[np.array([[1, 5, 4]], np.int8)], [np.array([[2, 5, 3]], np.int8)]]
    row = agreement([spec], before, after)
    assert (row.top1_agreement, row.identical, row.unit) == (0.5, False, "steps")
    assert row.max_abs_difference == 7
    assert row.outputs[0].equal_fraction == pytest.approx(4 / 6)
    assert agreement([spec], before, before).identical


def test_a_map_of_classes_has_neither_top1_nor_difference() -> None:
    spec = TensorSpec("mask", (1, 2, 2), "int64")
    before, after = np.array([[[0, 5], [5, 20]]]), np.array([[[0, 5], [5, 1]]])
    row = agreement([spec], [[before]], [[after]])
    assert (row.top1_agreement, row.max_abs_difference, row.unit) == (None, None, None)
    (output,) = row.outputs
    assert (output.equal_fraction, output.unit) == (0.75, "indices")


def test_several_outputs_are_compared_one_by_one() -> None:
    specs = [TensorSpec("boxes", (), "float32"), TensorSpec("count", (), "float32")]
    before = [[np.array([[0.0, np.nan]], np.float32), np.array([2.0], np.float32)]]
    after = [[np.array([[0.5, np.nan]], np.float32), np.array([2.0], np.float32)]]
    row = agreement(specs, before, after)
    assert not row.identical
    assert [output.equal_fraction for output in row.outputs] == [0.5, 1.0]
    assert (row.max_abs_difference, row.unit) == (0.5, "real")


def test_another_number_of_detections_is_no_agreement() -> None:
    spec = TensorSpec("boxes", (), "float32")
    row = agreement([spec], [[np.zeros((1, 3, 4), np.float32)]], [[np.zeros((1, 2, 4), np.float32)]])
    assert not row.identical
    assert row.outputs[0].equal_fraction == 0.0
