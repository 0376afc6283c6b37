"""`bench` on another device: rows, notes and ratios from the board's own samples."""

from pathlib import Path
from typing import Any

import pytest

from mnedge.validation.bench import bench

pytestmark = pytest.mark.device


def test_artifacts_take_turns_on_a_board(pi: Any, int8_tflite: Path) -> None:
    result = bench([int8_tflite, int8_tflite], [pi.uri()], seconds=0.3)
    for row in result["latency"]:
        assert row["device"] == "ssh://pi"
        assert row["runs"] >= 30
        assert 0 < row["p50_ms"] <= row["p90_ms"]
        assert "cpu" in row["board"]
    assert result["ratios"][0]["device"] == "ssh://pi"
    assert result["ratios"][0]["verdict"] in ("faster", "slower", "no difference shown")
