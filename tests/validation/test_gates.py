from dataclasses import replace

import pytest

from mnedge.artifact import Format, Precision
from mnedge.errors import GateError
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.latency import LatencyRow
from mnedge.results.parity import ParityRow
from mnedge.results.report import ArtifactRow, GateRow, Int8Row, MemoryRow, Report, VariantRow
from mnedge.validation.gates import check_gates, gate_rows

# precision, format, bytes, top-1, median latency
_FILES: tuple[tuple[Precision, Format, int, float, float], ...] = (
    ("fp32", "tflite", 40960, 0.80, 4.0),
    ("int8", "tflite", 10240, 0.79, 1.0),
    ("fp32", "onnx", 40960, 0.80, 4.0),
    ("int8", "onnx", 20480, 0.78, 2.0),
)


@pytest.fixture
def report() -> Report:
    artifacts, accuracy, latency = [], [], []
    for precision, kind, size, top1, p50_ms in _FILES:
        name = f"m.{precision}.{kind}"
        artifacts.append(ArtifactRow(name, kind, precision, "int8", "cpu", size, "0" * 64))
        accuracy.append(AccuracyRow(name, "r", "local", "d", 100, Figures({"top1": top1})))
        latency.append(LatencyRow(name, "r", "local", 1, p50_ms, p50_ms))
    return Report(
        slug="m",
        variant=VariantRow("v1", 1.0, 96, 10),
        artifacts=tuple(artifacts),
        accuracy=tuple(accuracy),
        latency=tuple(latency),
        parity=(
            ParityRow("m.fp32.tflite", "m.int8.tflite", 100, 0.9, None),
            ParityRow("m.int8.tflite", "m.int8.onnx", 100, 0.99, None),
        ),
        int8=(Int8Row("m.int8.tflite", 9, 0),),
        memory=(MemoryRow("m.c", "cortex-m4", 16384, 1 << 20, None, ram_bytes=65536),),
    )


@pytest.mark.parametrize(
    ("name", "good", "bad", "measured"),
    [
        ("min_top1", 0.78, 0.781, 0.78), ("max_top1_drop", 0.03, 0.01, 0.02), ("max_p50_ms", 2.0, 1.9, 2.0),
        ("max_size_kib", 10, 9.9, 10), ("max_arena_kib", 64, 63, 64), ("max_flash_kib", 1024, 1023, 1024),
        ("min_speedup_over_float", 2.0, 2.1, 2.0), ("parity", 0.99, 0.991, 0.99),
    ],
)  # fmt: skip
def test_each_gate_holds_its_figure(report: Report, name: str, good: float, bad: float, measured: float) -> None:
    (row,) = gate_rows(report, {name: good})
    assert row.passed
    assert row.measured == pytest.approx(measured)
    (row,) = gate_rows(report, {name: bad})
    assert not row.passed
    with pytest.raises(GateError, match=f"1 of 1 gates failed: {name}: limit {bad}"):
        check_gates([row])


def test_int8_only_counts_what_is_float(report: Report) -> None:
    assert gate_rows(report, {"int8_only": True})[0].passed
    mixed = replace(report, int8=(replace(report.int8[0], float_ops=1),))
    assert not gate_rows(mixed, {"int8_only": True})[0].passed
    assert gate_rows(mixed, {"int8_only": False}) == ()


def test_what_was_not_measured_fails(report: Report) -> None:
    (row,) = gate_rows(replace(report, memory=()), {"max_arena_kib": 64})
    assert row == GateRow("max_arena_kib", 64, None, passed=False)
    with pytest.raises(GateError, match="measured nothing"):
        check_gates([row])
    # An NPU's SRAM holds input and output as it is.
    (vela,) = report.memory
    (row,) = gate_rows(replace(report, memory=(replace(vela, ram_bytes=None),)), {"max_arena_kib": 64})
    assert row == GateRow("max_arena_kib", 64, 16.0, passed=True)
    # The flash of C that was not compiled is not known.
    unknown = replace(report, memory=(replace(report.memory[0], flash_bytes=None),))
    assert gate_rows(unknown, {"max_flash_kib": 1024}) == (GateRow("max_flash_kib", 1024, None, passed=False),)


def test_int8_only_leaves_out_what_this_machine_cannot_tell(report: Report) -> None:
    onnx = Int8Row("m.int8.onnx", 9, None)
    assert gate_rows(replace(report, int8=(*report.int8, onnx)), {"int8_only": True})[0].passed
    assert gate_rows(replace(report, int8=(onnx,)), {"int8_only": True}) == (
        GateRow("int8_only", limit=True, measured=None, passed=False),
    )
