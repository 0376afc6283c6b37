import sys

import pytest

from mnedge.progress import Lines, telling


def test_a_stage_is_said_once_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for fraction in (0.0, 0.5, 1.0, 1.0):
        lines("quantize", fraction)
    assert capsys.readouterr().err.startswith("quantize: done in 0.")
    lines("quantize", 1.0)
    assert capsys.readouterr().err == ""


def test_a_notebook_sees_lines_and_a_program_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(sys, "ps1", raising=False)
    telling(None)("build", 1.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    telling(None)("build", 1.0)
    assert "build: done" in capsys.readouterr().err
    told: list[tuple[str, float]] = []
    telling(lambda stage, fraction: told.append((stage, fraction)))("build", 0.5)
    assert told == [("build", 0.5)]
