"""`bench` on another device: rows, notes and ratios from the board's own samples."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mnedge.workflows.bench import bench

pytestmark = [pytest.mark.device, pytest.mark.slow]


def test_artifacts_take_turns_on_a_board(pi: Any, int8_tflite: Path) -> None:
    result = bench([int8_tflite, int8_tflite], [pi.uri()], seconds=0.3)
    for row in result.latency:
        assert row.device == "ssh://pi"
        assert row.runs >= 30
        assert 0 < row.p50_ms <= row.p90_ms
        assert row.state is not None
        assert "cpu" in row.state.board
    assert result.ratios[0].device == "ssh://pi"
    assert result.ratios[0].verdict in ("faster", "slower", "no difference shown")


def test_board_that_fails_in_the_sustained_part_keeps_its_latency(pi: Any, int8_tflite: Path) -> None:
    def told(stage: str, _share: float) -> None:
        if stage == "run on" and (pi.folder / "sshd.pid").exists():
            pi.cut()
            pi.stop()

    try:
        result = bench([int8_tflite], [pi.uri()], seconds=0.3, sustained_s=60.0, progress=told)
    finally:
        pi.start()
    (row,) = result.latency
    assert (row.device, row.runs >= 30) == ("ssh://pi", True)
    assert result.sustained == {}
    (failed,) = result.failed
    assert failed.device == "ssh://pi"
    assert "connection refused" in failed.error


def test_sustained_run_that_is_cut_shows_what_it_has(pi: Any, int8_tflite: Path) -> None:
    def cut_when_it_runs() -> None:
        while not pi.agents():
            time.sleep(0.1)
        time.sleep(10.0)
        pi.cut()

    cutter = threading.Thread(target=cut_when_it_runs, daemon=True)

    def told(stage: str, share: float) -> None:
        if (stage, share) == ("run on", 0.0):
            cutter.start()

    result = bench([int8_tflite], [pi.uri()], seconds=0.2, sustained_s=60.0, progress=told)
    cutter.join()
    assert len(result.latency) == 1
    name = f"{int8_tflite.name} on ssh://pi"
    assert result.sustained is not None
    assert result.unsteady is not None
    rows = result.sustained[name]
    assert 1 < rows[-1].seconds < 14
    assert rows[-1].clock_mhz == 1800.0
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    assert "cut off after" in result.unsteady[name][0]
    assert "connection lost while timing" in result.failed[0].error
