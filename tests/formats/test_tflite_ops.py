"""Names of the ops of a file, also of those that a Graph does not hold."""

from __future__ import annotations

import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_ops import FileOp, ops_of
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor


def _model() -> bytes:
    tensors = {name: Tensor(name, (1, 4), "float32") for name in ("x", "y", "z")}
    ops = (Op("RELU", ("x",), ("y",)), Op("Mine", ("y",), ("z",), {"custom_options": b""}))
    return write_tflite(Graph(tensors, ops, ("x",), ("z",)))


def test_builtin_and_custom_ops_are_named_with_their_outputs() -> None:
    assert ops_of(_model(), "m") == (FileOp("RELU", False, "y"), FileOp("Mine", True, "z"))  # noqa: FBT003


def test_what_is_no_tflite_or_is_cut_short_is_refused() -> None:
    with pytest.raises(InputError, match=r"m is not a \.tflite file"):
        ops_of(b"PK" * 20, "m")
    for length in range(8, len(_model()), 16):
        try:
            ops_of(_model()[:length], "m")
        except InputError as exc:
            assert "m is cut short or damaged" in str(exc)  # noqa: PT017 - some lengths still hold all names
