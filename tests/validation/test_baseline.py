import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mnedge.errors import InputError
from mnedge.validation.baseline import baseline_rows, read_baseline

_ALL = {"top1": 0.01, "bytes": 0.1, "arena_bytes": 0.0, "flash_bytes": 0.1, "p50_ms": 0.5}


@pytest.fixture
def report() -> dict[str, Any]:
    where = {"runtime": "litert", "device": "local"}
    return {
        "schema": 1, "slug": "net",
        "artifacts": [{"path": "net.int8.tflite", "bytes": 1000}],
        "accuracy": [{"artifact": "net.int8.tflite", **where, "dataset": "demo", "top1": 0.9}],
        "latency": [{"artifact": "net.int8.tflite", **where, "threads": 1, "p50_ms": 2.0}],
        "memory": [{"artifact": "net.m4", "target": "cortex-m4", "arena_bytes": 64, "flash_bytes": None}],
    }  # fmt: skip


def test_the_same_again_passes(report: dict[str, Any]) -> None:
    rows = baseline_rows(report, report, _ALL)
    assert [row["name"] for row in rows] == [
        "baseline top1 net.int8.tflite litert local demo",
        "baseline bytes net.int8.tflite",
        "baseline arena_bytes net.m4 cortex-m4",
        "baseline p50_ms net.int8.tflite litert local 1",
    ]
    assert all(row["passed"] for row in rows)


@pytest.mark.parametrize(
    ("table", "figure", "good", "bad"),
    [
        ("accuracy", "top1", 0.891, 0.889),
        ("artifacts", "bytes", 1100, 1101),
        ("memory", "arena_bytes", 64, 65),
        ("latency", "p50_ms", 3.0, 3.01),
    ],
)
def test_worse_by_more_than_the_tolerance_fails(
    report: dict[str, Any], table: str, figure: str, good: float, bad: float
) -> None:
    for value, passes in ((good, True), (bad, False)):
        now = copy.deepcopy(report)
        now[table][0][figure] = value
        rows = {row["name"].split()[1]: row for row in baseline_rows(now, report, _ALL)}
        assert rows[figure]["passed"] is passes
        assert rows[figure]["measured"] == value
        assert all(row["passed"] for name, row in rows.items() if name != figure)


def test_what_is_not_measured_any_more_fails(report: dict[str, Any]) -> None:
    now = {**report, "accuracy": []}
    row = baseline_rows(now, report, {"top1": 0.01})[0]
    assert row["measured"] is None
    assert not row["passed"]


def test_better_is_fine_and_new_artifacts_are_not_compared(report: dict[str, Any]) -> None:
    now = copy.deepcopy(report)
    now["accuracy"][0]["top1"] = 1.0
    now["artifacts"] = [{"path": "net.int8.tflite", "bytes": 1}, {"path": "new.onnx", "bytes": 10**9}]
    assert all(row["passed"] for row in baseline_rows(now, report, _ALL))


def test_a_file_that_is_no_baseline(report: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(path, "net")
    for text in ("", "{}", "[]", json.dumps({**report, "schema": 2}), json.dumps({**report, "memory": None})):
        path.write_text(text)
        with pytest.raises(InputError, match="is no report"):
            read_baseline(path, "net")
    path.write_text(json.dumps(report))
    assert read_baseline(path, "net") == report
    with pytest.raises(InputError, match="is of net, this build is other"):
        read_baseline(path, "other")
