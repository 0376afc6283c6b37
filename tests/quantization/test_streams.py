"""Which activations are scaled together."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnedge.quantization.streams import find_streams


def test_streams_are_what_must_be_scaled_together(separable: Any) -> None:
    streams = find_streams(separable().graph())
    assert [stream.members for stream in streams] == [["stem", "point", "sum"], ["deep"], ["wide", "mean"]]
    assert {layer.output for layer in streams[0].makers} == {"stem", "point"}
    assert {layer.output for layer in streams[0].readers} == {"deep", "wide"}


def test_ends_are_never_scaled(net: Any) -> None:
    assert find_streams(net().conv("c", 3).graph()) == []
    both = net().conv("c", 3).conv("d", 2).graph("d", "c")
    assert find_streams(both) == []


def test_a_flattened_activation_is_left_alone(net: Any) -> None:
    flat = net(shape=(1, 2, 2, 3)).conv("c", 4)
    shape = flat.constant("shape", np.array([1, 16], np.int32))
    flat.op("RESHAPE", "r", ("c", shape), (1, 16), new_shape=(1, 16))
    weights, bias = flat.constant("w", np.ones((2, 16), np.float32)), flat.constant("b", np.zeros(2, np.float32))
    graph = flat.op("FULLY_CONNECTED", "e", ("r", weights, bias), (1, 2), activation="NONE").graph()
    assert find_streams(graph) == []
