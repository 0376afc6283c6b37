import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.macs import op_macs


def _macs(kind: str, weights: tuple[int, ...], data: tuple[int, ...], output: tuple[int, ...]) -> int:
    tensors = [
        constant("w", np.zeros(weights, np.float32)),
        Tensor("x", data, "float32"),
        Tensor("y", output, "float32"),
    ]
    inputs = ("w", "w", "x") if kind == "TRANSPOSE_CONV" else ("x", "w", None)
    op = Op(kind, inputs, ("y",))
    return op_macs(Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",)), op)


@pytest.mark.parametrize(
    ("kind", "weights", "data", "output", "macs"),
    [
        # One multiply-add for each output value, kernel position and channel it is summed over.
        ("CONV_2D", (8, 3, 3, 4), (1, 10, 10, 4), (1, 5, 5, 8), 25 * 8 * 9 * 4),
        ("DEPTHWISE_CONV_2D", (1, 3, 5, 6), (1, 7, 7, 6), (1, 7, 7, 6), 49 * 6 * 15),
        ("FULLY_CONNECTED", (10, 32), (1, 32), (1, 10), 320),
        # One for each input value, kernel position and output channel.
        ("TRANSPOSE_CONV", (8, 2, 2, 4), (1, 5, 5, 4), (1, 10, 10, 8), 25 * 4 * 4 * 8),
        ("MUL", (4,), (1, 4), (1, 4), 0),
    ],
)
def test_by_hand(
    kind: str, weights: tuple[int, ...], data: tuple[int, ...], output: tuple[int, ...], macs: int
) -> None:
    assert _macs(kind, weights, data, output) == macs


def test_a_converted_network_has_what_its_architecture_counts() -> None:
    from mnedge.formats.keras import keras_to_graph
    from mnedge.models.build import build_model
    from mnedge.models.cost import cost
    from mnedge.models.variant import Variant

    variant = Variant("v2", 0.35, 96, 10)
    graph = keras_to_graph(build_model(variant, "random"))
    assert sum(op_macs(graph, op) for op in graph.ops) == cost(variant).macs
