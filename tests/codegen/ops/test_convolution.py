"""Fully connected layers: what is refused, and what a row of weights is told to the kernel."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge.codegen.lower import lower
from mnedge.codegen.ops.convolution import Convolution
from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant


def _fully_connected(entry: tuple[int, ...], weights: tuple[int, int], output: tuple[int, ...]) -> Graph:
    steps = Quantization.per_tensor(0.05, 0)
    tensors = (
        Tensor("x", entry, "int8", steps),
        constant("weights", np.ones(weights, np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("y", output, "int8", steps),
    )
    ops = (Op("FULLY_CONNECTED", ("x", "weights"), ("y",), {"activation": "NONE"}),)
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))


@pytest.mark.parametrize(
    ("entry", "weights", "output"),
    [((1, 2, 3, 4), (5, 24), (1, 5)), ((1, 2, 3, 4), (5, 4), (1, 2, 3, 5)), ((1, 24), (5, 24), (1, 5))],
)
def test_rows_of_the_input_are_rows_of_the_weights(
    entry: tuple[int, ...], weights: tuple[int, int], output: tuple[int, ...]
) -> None:
    (layer,) = lower(_fully_connected(entry, weights, output)).layers
    assert isinstance(layer.kernel, Convolution)
    assert layer.kernel.input_channels == weights[1]
    assert layer.kernel.pixels * weights[1] == 24


@pytest.mark.parametrize(
    ("weights", "output"),
    [((5, 25), (1, 5)), ((5, 48), (1, 5)), ((5, 24), (1, 6)), ((5, 4), (1, 5)), ((5, 7), (1, 15))],
)
def test_more_input_or_output_than_the_weights_speak_of_is_refused(
    weights: tuple[int, int], output: tuple[int, ...]
) -> None:
    with pytest.raises(UnsupportedError, match=r"FULLY_CONNECTED .op 0, output y. makes"):
        lower(_fully_connected((1, 2, 3, 4), weights, output))
