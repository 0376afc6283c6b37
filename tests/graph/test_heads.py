"""What an output is, and how far two versions of it say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.graph.heads import answering_output, head_of, same_answers, snr_db

if TYPE_CHECKING:
    from mnedge.graph.heads import Head


@pytest.mark.parametrize(
    ("kind", "shape", "head"),
    [
        ("SOFTMAX", (1, 5), "softmax"),
        ("LOGISTIC", (1, 1), "sigmoid"),
        ("LOGISTIC", (1, 4), "multi-label"),
        ("ADD", (1, 5), "logits"),
        ("ADD", (1, 1), "numbers"),
        ("TANH", (1, 8), "numbers"),
        ("L2_NORMALIZATION", (1, 8), "numbers"),
        ("SOFTMAX", (1, 4, 4, 2), "map"),
        ("LOGISTIC", (1, 10, 3), "map"),
    ],
)
@pytest.mark.parametrize("behind", ["", "RESHAPE", "QUANTIZE"])
def test_the_op_and_the_shape_say_what_an_output_is(kind: str, shape: Any, head: Head, behind: str) -> None:
    tensors = {name: Tensor(name, shape, "float32") for name in ("x", "y", "z")}
    ops = [Op(kind, ("x",), ("y",)), *([Op(behind, ("y",), ("z",))] if behind else [])]
    output = "z" if behind else "y"
    assert head_of(Graph(tensors, tuple(ops), ("x",), (output,)), output) == head


def test_a_fused_activation_counts() -> None:
    tensors = {name: Tensor(name, (1, 5), "float32") for name in ("x", "y")}
    op = Op("ADD", ("x", "x"), ("y",), {"activation": "TANH"})
    assert head_of(Graph(tensors, (op,), ("x",), ("y",)), "y") == "numbers"


def test_one_column_is_never_an_argmax() -> None:
    ours, theirs = np.array([[0.9], [0.2], [0.6], [0.1]]), np.array([[0.7], [0.6], [0.4], [0.0]])
    assert same_answers("sigmoid", ours, theirs).tolist() == [1, 0, 0, 1]  # type: ignore[union-attr]
    assert same_answers("numbers", ours, theirs) is None


def test_labels_count_one_by_one() -> None:
    ours, theirs = np.array([[0.9, 0.1, 0.2, 0.8]]), np.array([[0.9, 0.6, 0.2, 0.4]])
    same = same_answers("multi-label", ours, theirs)
    assert same is not None
    assert same.tolist() == [0.5]


def test_noise_is_in_decibels() -> None:
    exact = np.random.default_rng(0).normal(size=(7, 3, 3)).astype(np.float32)
    assert snr_db(exact, exact * 1.01) == pytest.approx(40, abs=1e-3)
    assert snr_db(exact, exact) is None
    assert snr_db(exact * 0, exact) is None


def test_a_softmax_of_the_classes_answers_before_logits_and_the_first_output_where_none_does() -> None:
    assert answering_output([("sigmoid", 1), ("softmax", 5)], 5) == 1
    assert answering_output([("logits", 5), ("softmax", 5)], 5) == 1
    assert answering_output([("sigmoid", 1), ("logits", 5), ("logits", 5)], 5) == 1
    assert answering_output([("sigmoid", 1), ("softmax", 5)], 4) == 0
