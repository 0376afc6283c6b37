"""Artifacts on arrays: figures by head, and parity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.workflows.validate_arrays import validate_arrays

if TYPE_CHECKING:
    from pathlib import Path


def _regression() -> Graph:
    weights = np.random.default_rng(1).normal(0, 1, (1, 6)).astype(np.float32)
    tensors = [
        Tensor("x", (1, 6), "float32"),
        constant("weights", weights),
        constant("bias", np.array([0.5], np.float32)),
        Tensor("out", (1, 1), "float32"),
    ]
    op = Op("FULLY_CONNECTED", ("x", "weights", "bias"), ("out",), {"activation": "NONE"})
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("out",))


def test_numbers_have_their_error_and_noise(tmp_path: Path) -> None:
    graph, values = _regression(), np.random.default_rng(0).normal(0, 1, (80, 6)).astype(np.float32)
    right = predict(graph, values)
    int8 = quantize_ptq(graph, values, PostTraining(effort="fast", ranges="min-max")).graph
    for name, made in (("float", graph), ("int8", int8)):
        (tmp_path / f"{name}.tflite").write_bytes(write_tflite(made))
    np.savez(tmp_path / "data.npz", x=values, y=right + 1)
    artifacts = [tmp_path / "float.tflite", tmp_path / "int8.tflite"]
    stages: dict[str, Any] = {}
    result = validate_arrays(artifacts, tmp_path / "data.npz", "local", stages.__setitem__)
    exact, rounded = result.accuracy
    assert exact.images == 80
    assert exact.metric("mae") == pytest.approx(1, abs=1e-5)
    assert rounded.metric("mae") == pytest.approx(1, abs=0.1)
    (parity,) = result.parity
    assert parity.top1_agreement is None
    assert parity.snr_db is not None
    assert parity.snr_db > 30
    assert set(stages.values()) == {1.0}


def test_several_numbers_are_no_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights, values = rng.normal(size=(3, 6)).astype(np.float32), rng.normal(size=(20, 6)).astype(np.float32)
    one = _regression()
    tensors = [
        constant("weights", weights),
        constant("bias", np.zeros(3, np.float32)),
        Tensor("out", (1, 3), "float32"),
    ]
    (tmp_path / "m.tflite").write_bytes(write_tflite(one.replaced(tensors=tensors)))
    np.savez(tmp_path / "data.npz", x=values, y=values @ weights.T + 2)
    (row,) = validate_arrays([tmp_path / "m.tflite"], tmp_path / "data.npz", "local", lambda *_: None).accuracy
    assert row.metric("mae") == pytest.approx(2, abs=1e-4)
    assert row.metric("top1") is None


def test_without_truths_there_is_parity_only(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(_regression()))
    np.save(tmp_path / "data.npy", np.ones((3, 6), np.float32))
    result = validate_arrays([tmp_path / "m.tflite"] * 2, tmp_path / "data.npy", "local", lambda *_: None)
    assert result.accuracy == ()
    assert result.parity[0].max_abs_error == 0
    np.save(tmp_path / "data.npy", np.ones((3, 7), np.float32))
    with pytest.raises(InputError, match=r"one array \(7 float32\); the model takes x \(6 float\)"):
        validate_arrays([tmp_path / "m.tflite"], tmp_path / "data.npy", "local", lambda *_: None)
