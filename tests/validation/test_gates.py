from typing import Any

import pytest

from mnedge.errors import GateError
from mnedge.validation.gates import check_gates, gate_rows


def _report() -> dict[str, Any]:
    def artifact(path: str, precision: str, size: int) -> dict[str, Any]:
        return {"path": path, "format": path.rpartition(".")[2], "precision": precision, "bytes": size}

    return {
        "slug": "m",
        "artifacts": [
            artifact("m.fp32.tflite", "fp32", 40960), artifact("m.int8.tflite", "int8", 10240),
            artifact("m.fp32.onnx", "fp32", 40960), artifact("m.int8.onnx", "int8", 20480),
        ],
        "accuracy": [
            {"artifact": "m.fp32.tflite", "top1": 0.80}, {"artifact": "m.int8.tflite", "top1": 0.79},
            {"artifact": "m.fp32.onnx", "top1": 0.80}, {"artifact": "m.int8.onnx", "top1": 0.78},
        ],
        "latency": [
            {"artifact": "m.fp32.tflite", "p50_ms": 4.0}, {"artifact": "m.int8.tflite", "p50_ms": 1.0},
            {"artifact": "m.fp32.onnx", "p50_ms": 4.0}, {"artifact": "m.int8.onnx", "p50_ms": 2.0},
        ],
        "parity": [
            {"reference": "m.fp32.tflite", "artifact": "m.int8.tflite", "top1_agreement": 0.9},
            {"reference": "m.int8.tflite", "artifact": "m.int8.onnx", "top1_agreement": 0.99},
        ],
        "int8": [{"artifact": "m.int8.tflite", "float_ops": 0}],
        "memory": [{"arena_bytes": 65536, "flash_bytes": 1 << 20}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "good", "bad", "measured"),
    [
        ("min_top1", 0.78, 0.781, 0.78), ("max_top1_drop", 0.03, 0.01, 0.02), ("max_p50_ms", 2.0, 1.9, 2.0),
        ("max_size_kib", 10, 9.9, 10), ("max_arena_kib", 64, 63, 64), ("max_flash_kib", 1024, 1023, 1024),
        ("min_speedup_over_float", 2.0, 2.1, 2.0), ("parity", 0.99, 0.991, 0.99),
    ],
)  # fmt: skip
def test_each_gate_holds_its_figure(name: str, good: float, bad: float, measured: float) -> None:
    (row,) = gate_rows(_report(), {name: good})
    assert row["passed"]
    assert row["measured"] == pytest.approx(measured)
    (row,) = gate_rows(_report(), {name: bad})
    assert not row["passed"]
    with pytest.raises(GateError, match=f"1 of 1 gates failed: {name}: limit {bad}"):
        check_gates([row])


def test_int8_only_names_what_is_float() -> None:
    report = _report()
    assert gate_rows(report, {"int8_only": True})[0]["passed"]
    report["int8"][0]["float_ops"] = 1
    assert not gate_rows(report, {"int8_only": True})[0]["passed"]
    assert gate_rows(report, {"int8_only": False}) == []


def test_what_was_not_measured_fails() -> None:
    report = {**_report(), "memory": []}
    (row,) = gate_rows(report, {"max_arena_kib": 64})
    assert row == {"name": "max_arena_kib", "limit": 64, "measured": None, "passed": False}
    with pytest.raises(GateError, match="measured nothing"):
        check_gates([row])


def test_int8_only_leaves_out_what_this_machine_cannot_tell() -> None:
    report = _report()
    report["int8"].append({"artifact": "m.int8.onnx", "float_ops": None})
    assert gate_rows(report, {"int8_only": True})[0]["passed"]
    report["int8"] = [{"artifact": "m.int8.onnx", "float_ops": None}]
    assert gate_rows(report, {"int8_only": True})[0] == {
        "name": "int8_only", "limit": True, "measured": None, "passed": False,
    }  # fmt: skip
