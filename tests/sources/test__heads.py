"""What the last ops show of an output's values."""

from dataclasses import replace

import pytest

from mnedge.errors import InputError
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.sources import Float, with_labels
from mnedge.sources._heads import outputs_of


def _ends_in(kind: str, shape: tuple[int, ...]) -> Graph:
    tensors = [Tensor("x", shape, "float32"), Tensor("made", shape, "float32"), Tensor("y", shape, "float32")]
    ops = (Op(kind, ("x",), ("made",)), Op("RESHAPE", ("made",), ("y",)))
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))


@pytest.mark.parametrize(
    ("kind", "shape", "head"),
    [
        ("SOFTMAX", (1, 5), "softmax"),
        ("SOFTMAX", (1, 1, 1, 5), "softmax"),
        ("LOG_SOFTMAX", (1, 5), "logits"),
        ("LOGISTIC", (1, 1), "sigmoid"),
        ("LOGISTIC", (1, 5), "multi-label"),
        ("RELU", (1, 5), "numbers"),
        ("RELU", (1, 1), "numbers"),
        ("SOFTMAX", (1, 4, 4, 5), "map"),
        ("LOGISTIC", (1, 4, 4, 1), "map"),
        ("LOGISTIC", (1, 100, 5), "numbers"),
    ],
)
def test_the_last_op_says_what_values_are(kind: str, shape: tuple[int, ...], head: str) -> None:
    (output,) = outputs_of(_ends_in(kind, shape))
    assert (output.name, output.shape, output.head) == ("y", shape, head)


def test_labels_make_numbers_logits_and_must_fit() -> None:
    graph = _ends_in("RELU", (1, 3))
    network = Float(graph, None, "unknown", outputs_of(graph))
    told = with_labels(network, ("cat", "dog", "cow"))
    assert told.outputs[0].head == "logits"
    assert told.labels == ("cat", "dog", "cow")
    with pytest.raises(
        InputError, match=r"output y has 3 values, but there are 2 labels \(a, b\); the file's own are 3"
    ):
        with_labels(told, ("a", "b"))
    sigmoid = _ends_in("LOGISTIC", (1, 1))
    binary = replace(network, graph=sigmoid, outputs=outputs_of(sigmoid))
    assert with_labels(binary, ("no", "yes")).outputs[0].head == "sigmoid"
