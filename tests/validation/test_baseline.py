from dataclasses import replace
from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.latency import LatencyRow
from mnedge.results.report import ArtifactRow, MemoryRow, Report, VariantRow
from mnedge.results.stored import to_json
from mnedge.validation.baseline import baseline_rows, read_baseline

_ALL = {"top1": 0.01, "bytes": 0.1, "arena_bytes": 0.0, "flash_bytes": 0.1, "p50_ms": 0.5}


def _measured(*, top1: float = 0.9, size: int = 1000, arena_bytes: int = 64, p50_ms: float = 2.0) -> Report:
    name = "net.int8.tflite"
    return Report(
        slug="net",
        variant=VariantRow("v1", 1.0, 96, 10),
        artifacts=(ArtifactRow(name, "tflite", "int8", "int8", "cpu", size, "0" * 64),),
        accuracy=(AccuracyRow(name, "litert", "local", "demo", 100, Figures({"top1": top1})),),
        latency=(LatencyRow(name, "litert", "local", 1, p50_ms, p50_ms),),
        memory=(MemoryRow("net.m4", "cortex-m4", arena_bytes, None, None),),
    )


@pytest.fixture
def report() -> Report:
    return _measured()


def test_the_same_again_passes(report: Report) -> None:
    rows = baseline_rows(report, report, _ALL)
    assert [row.name for row in rows] == [
        "baseline top1 net.int8.tflite litert local demo",
        "baseline bytes net.int8.tflite",
        "baseline arena_bytes net.m4 cortex-m4",
        "baseline p50_ms net.int8.tflite litert local 1",
    ]
    assert all(row.passed for row in rows)


@pytest.mark.parametrize(
    ("figure", "good", "bad"),
    [
        ("top1", (_measured(top1=0.891), 0.891), (_measured(top1=0.889), 0.889)),
        ("bytes", (_measured(size=1100), 1100), (_measured(size=1101), 1101)),
        ("arena_bytes", (_measured(arena_bytes=64), 64), (_measured(arena_bytes=65), 65)),
        ("p50_ms", (_measured(p50_ms=3.0), 3.0), (_measured(p50_ms=3.01), 3.01)),
    ],
)
def test_worse_by_more_than_the_tolerance_fails(
    report: Report, figure: str, good: tuple[Report, float], bad: tuple[Report, float]
) -> None:
    for (now, value), passes in ((good, True), (bad, False)):
        rows = {row.name.split()[1]: row for row in baseline_rows(now, report, _ALL)}
        assert rows[figure].passed is passes
        assert rows[figure].measured == value
        assert all(row.passed for name, row in rows.items() if name != figure)


def test_what_is_not_measured_any_more_fails(report: Report) -> None:
    row = baseline_rows(replace(report, accuracy=()), report, {"top1": 0.01})[0]
    assert row.measured is None
    assert not row.passed


def test_better_is_fine_and_new_artifacts_are_not_compared(report: Report) -> None:
    better = _measured(top1=1.0, size=1)
    new = ArtifactRow("new.onnx", "onnx", "int8", "int8", "cpu", 10**9, "0" * 64)
    now = replace(better, artifacts=(*better.artifacts, new))
    assert all(row.passed for row in baseline_rows(now, report, _ALL))


def test_a_file_that_is_no_baseline(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(InputError, match=r"--baseline: .* cannot be read"):
        read_baseline(path, "net")
    whole = to_json(report)
    for text in ("", "{}", "[]", whole.replace('"memory": [', '"memory": 1, "other": [')):
        path.write_text(text)
        with pytest.raises(InputError, match=r"--baseline: .* is not a report\.json"):
            read_baseline(path, "net")
    path.write_text(whole.replace('"schema": 1', '"schema": 3'))
    with pytest.raises(InputError, match="has schema 3"):
        read_baseline(path, "net")
    path.write_text(whole)
    assert read_baseline(path, "net") == report
    with pytest.raises(InputError, match="is of net, this build is other"):
        read_baseline(path, "other")
