"""A small, seeded part of the fuzz campaign: mutants of every kind end in a result or an MnedgeError.

`pytest --fuzz 1000 tests/mutants` runs so many mutants of each kind; `campaign.py` runs one kind by itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.slow import rest_is_slow

_CAMPAIGN = Path(__file__).with_name("campaign.py")
_BY_DEFAULT = 300
# Mutants of models cost a child process or a conversion each, the others milliseconds.
_TEXTS = ("csv", "coco", "voc", "recipe", "dataset", "manifest", "report", "cache", "picture")


def _run(kind: str, count: int, folder: Path, *, seed: int = 15) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, _CAMPAIGN, kind, "--count", str(count), "--seed", str(seed)]
    return subprocess.run([*command, "--folder", folder], capture_output=True, text=True, check=False)


def _count(request: pytest.FixtureRequest, by_default: int) -> int:
    asked: int = request.config.getoption("--fuzz")
    return by_default * asked // _BY_DEFAULT if asked <= _BY_DEFAULT else asked


@pytest.mark.parametrize("kind", rest_is_slow(_TEXTS, 3))
def test_mutants_of_texts_and_pictures(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    done = _run(kind, _count(request, 12), tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tflite", "onnx", "keras", "calibration"])
def test_mutants_of_models(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    done = _run(kind, _count(request, 20), tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_campaign_sees_every_kind_of_fault(tmp_path: Path) -> None:
    done = _run("faulty", 2, tmp_path / "work")
    assert done.returncode == 1, done.stderr
    faults = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
    for number in range(2):
        said = [line for line in faults if f"mutant {number}," in line]
        for what in (
            "raises: Traceback",
            "eats: Traceback",
            "leaves: passed, and left in the temporary folder",
            "dies: signal SIGSEGV",
        ):
            assert any(what in line for line in said), (what, done.stdout)
        assert len(said) == 4
    assert "MemoryError" in done.stdout
    assert "passes" not in " ".join(faults)
