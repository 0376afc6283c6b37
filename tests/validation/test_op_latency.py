"""Time per op: every op has a row, and rows add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.results.latency import KindTime, OpTime
from mnedge.validation.op_latency import by_kind, op_latency

if TYPE_CHECKING:
    from pathlib import Path


def test_every_op_of_a_tflite_has_a_row(digits_fp32: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(digits_fp32))
    rows = op_latency(tmp_path / "m.tflite")
    assert [(row.op, row.output) for row in rows] == [(op.kind, op.outputs[0]) for op in digits_fp32.ops]
    assert rows[0].shape == (1, 16, 16, 3)
    assert all(row.ms >= 0 for row in rows)


def test_an_op_of_two_activations_is_given_both(tmp_path: Path) -> None:
    tensors = [Tensor(name, (1, 4, 4, 3), "float32") for name in ("image", "positive", "sum")]
    ops = Op("RELU", ("image",), ("positive",)), Op("ADD", ("image", "positive"), ("sum",), {"activation": "NONE"})
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("sum",))
    (tmp_path / "m.tflite").write_bytes(write_tflite(graph))
    assert [row.op for row in op_latency(tmp_path / "m.tflite")] == ["RELU", "ADD"]


def test_onnx_runtime_s_profile_is_read(digits_fp32: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(write_onnx(digits_fp32))
    rows = op_latency(tmp_path / "m.onnx")
    assert "Softmax" in [row.op for row in rows]
    assert len({row.output for row in rows}) == len(rows)
    assert all(row.ms >= 0 for row in rows)


def test_kinds_are_summed_largest_first() -> None:
    times = (("ADD", 1.0), ("CONV_2D", 4.0), ("ADD", 2.0), ("CONV_2D", 1.0))
    assert by_kind([OpTime(kind, "out", (1, 4), ms) for kind, ms in times]) == [
        KindTime("CONV_2D", 2, 5.0, 5 / 8),
        KindTime("ADD", 2, 3.0, 3 / 8),
    ]
    assert by_kind([]) == []
