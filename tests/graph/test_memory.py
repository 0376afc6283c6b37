"""Memory of tensors, and of what exists while an op runs."""

from __future__ import annotations

import numpy as np

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.memory import live_bytes, tensor_bytes


def test_bytes_are_those_of_the_values() -> None:
    assert tensor_bytes(Tensor("t", (1, 4, 4, 3), "float32")) == 192
    assert tensor_bytes(Tensor("t", (2, 5), "int8")) == 10
    assert tensor_bytes(Tensor("t", (), "int64")) == 8


def test_a_skip_lives_until_it_is_read_and_an_output_to_the_end() -> None:
    """x -> a -> b, then a + b; the output `early` is made first and read by nobody."""
    names = {"x": 1, "early": 2, "a": 4, "b": 8, "sum": 16}
    tensors = [Tensor(name, (size,), "int8") for name, size in names.items()]
    ops = [
        Op("RELU", ("x",), ("early",)),
        Op("RELU", ("x",), ("a",)),
        Op("RELU", ("a",), ("b",)),
        Op("ADD", ("a", "b"), ("sum",)),
        Op("ADD", ("sum", "one"), ("y",)),
    ]
    tensors += [Tensor("y", (32,), "int8"), constant("one", np.ones(64, np.int8))]
    graph = Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("x",), ("early", "y"))
    # Constants are no activations.
    assert live_bytes(graph) == [1 + 2, 1 + 2 + 4, 2 + 4 + 8, 2 + 4 + 8 + 16, 2 + 16 + 32]
