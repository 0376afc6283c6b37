"""A part of a graph."""

import pytest

from mnedge.errors import InputError
from mnedge.graph.cut import cut
from mnedge.graph.graph import Graph, Op, Tensor


def _graph() -> Graph:
    tensors = {name: Tensor(name, (1, 4), "float32") for name in ("x", "a", "b", "c", "y")}
    ops = (
        Op("RELU", ("x",), ("a",)),
        Op("RELU", ("a",), ("b",)),
        Op("ADD", ("a", "b"), ("c",)),
        Op("RELU", ("c",), ("y",)),
    )
    return Graph(tensors, ops, ("x",), ("y",))


def test_outputs_leave_out_what_they_do_not_need() -> None:
    part = cut(_graph(), outputs=["b", "a"])
    assert [op.outputs[0] for op in part.ops] == ["a", "b"]
    assert part.outputs == ("b", "a")
    assert set(part.tensors) == {"x", "a", "b"}
    part.check()


def test_an_input_leaves_out_what_made_it() -> None:
    part = cut(_graph(), inputs=["a"])
    assert [op.outputs[0] for op in part.ops] == ["b", "c", "y"]
    assert part.inputs == ("a",)
    part.check()


def test_the_whole_stays_the_whole() -> None:
    assert [op.outputs for op in cut(_graph()).ops] == [op.outputs for op in _graph().ops]


def test_wrong_names_are_told() -> None:
    with pytest.raises(InputError, match="unknown tensor 'z'"):
        cut(_graph(), outputs=["z"])
    with pytest.raises(InputError, match="x is needed as well"):
        cut(_graph(), inputs=["b"], outputs=["c"])
