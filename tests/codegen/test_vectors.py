"""Whose outputs test vectors hold."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from mnedge.codegen import vectors
from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

_IN, _OUT = (0.05, -3), (0.3, 7)


def _sum() -> Graph:
    """The sum of every channel of 1 x 6 x 10 x 4."""
    tensors = [
        Tensor("x", (1, 6, 10, 4), "int8", Quantization.per_tensor(*_IN)),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("y", (1, 4), "int8", Quantization.per_tensor(*_OUT)),
    ]
    op = Op("SUM", ("x", "axes"), ("y",), {"keep_dims": False})
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
def test_a_sum_is_asked_of_tflite_micro_whose_answer_is_the_sum() -> None:
    graph = _sum()
    program = lower(graph)
    unit = Unit("tiny", program, plan(program, "portable"), "portable", "a sum")
    found = vectors.from_reference(write_tflite(graph), unit)
    assert found.note == "2 from tflite-micro, since LiteRT's int8 SUM is wrong"
    assert found.inputs is not None
    assert found.outputs is not None
    real = (found.inputs.reshape(-1, 60, 4).astype(np.float64) - _IN[1]).sum(axis=1) * _IN[0]
    steps = np.clip(np.round(real / _OUT[0]) + _OUT[1], -128, 127)
    assert np.abs(steps - found.outputs).max() <= 1


def test_without_tflite_micro_a_sum_has_no_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _sum()
    program = lower(graph)
    unit = Unit("tiny", program, plan(program, "portable"), "portable", "a sum")
    monkeypatch.setattr(vectors, "find_spec", lambda _name: None)
    found = vectors.from_reference(write_tflite(graph), unit)
    assert found.outputs is None
    assert "SUM is wrong" in found.note
