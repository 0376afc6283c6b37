"""Channels that a model turns around are turned back in its first weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.sources._turned import without_turn

if TYPE_CHECKING:
    from collections.abc import Callable

_CONV = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1,
         "activation": "NONE"}  # fmt: skip


def _graph(how: str, *, more: bool = False) -> Graph:
    """BGR of RGB, minus a mean, padded, and a convolution; `more` also gives the mean of what is turned."""
    rng = np.random.default_rng(0)
    tensors = [
        Tensor("image", (1, 5, 6, 3), "float32"),
        Tensor("turned", (1, 5, 6, 3), "float32"),
        constant("mean", np.array([103.9, 116.8, 123.7], np.float32)),
        Tensor("centred", (1, 5, 6, 3), "float32"),
        constant("paddings", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
        Tensor("padded", (1, 7, 8, 3), "float32"),
        constant("w", rng.normal(size=(2, 3, 3, 3)).astype(np.float32)),
        constant("b", np.zeros(2, np.float32)),
        Tensor("out", (1, 5, 6, 2), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("colour", (1, 3), "float32"),
    ]
    if how == "REVERSE_V2":
        tensors.append(constant("axis", np.array([3], np.int32)))
        turn = [Op("REVERSE_V2", ("image", "axis"), ("turned",))]
    else:
        tensors += [constant(f"at{place}", np.array([0, 0, 0, place], np.int32)) for place in range(4)]
        tensors += [constant("steps", np.ones(4, np.int32))]
        tensors += [Tensor(f"c{place}", (1, 5, 6), "float32") for place in range(3)]
        options = {"begin_mask": 7, "end_mask": 7, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 8}
        turn = [
            Op("STRIDED_SLICE", ("image", f"at{place}", f"at{place + 1}", "steps"), (f"c{place}",), options)
            for place in range(3)
        ]
        turn.append(Op("PACK", ("c2", "c1", "c0"), ("turned",), {"axis": 3, "values_count": 3}))
    ops = (
        *turn,
        Op("SUB", ("turned", "mean"), ("centred",), {"activation": "NONE"}),
        Op("PAD", ("centred", "paddings"), ("padded",)),
        Op("CONV_2D", ("padded", "w", "b"), ("out",), _CONV),
        *([Op("MEAN", ("turned", "axes"), ("colour",), {"keep_dims": False})] if more else []),
    )
    outputs = ("out", "colour") if more else ("out",)
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), outputs)


@pytest.mark.parametrize("how", ["REVERSE_V2", "slices"])
def test_the_weights_take_the_turn(how: str, runs: Callable[..., Any]) -> None:
    graph = _graph(how)
    found = without_turn(graph)
    assert [op.kind for op in found.ops] == ["SUB", "PAD", "CONV_2D"]
    picture = np.random.default_rng(1).uniform(0, 255, (1, 5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(runs(found, picture)[0], runs(graph, picture)[0], rtol=1e-4, atol=1e-2)


def test_what_others_read_stays() -> None:
    graph = _graph("slices", more=True)
    assert without_turn(graph) is graph
    plain = graph.replaced(ops=graph.ops[:3], outputs=["c0", "c1", "c2"])
    assert without_turn(plain) is plain
