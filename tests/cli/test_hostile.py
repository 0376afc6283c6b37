"""Models that end their runtime: every command ends with one line and an exit code of its own, never by a signal."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from pathlib import Path

_COMMANDS = {
    "inspect": (),
    "bench": (),
    "validate": ("--data", "demo"),
    "optimize": ("-o", "o.tflite"),
    "quantize": ("-o", "q.tflite"),
    "compile": ("--target", "generic", "--out", "c"),
}


def _ends(command: str, file: Path, folder: Path) -> str:
    """The one line that a command ends with."""
    arguments = [sys.executable, "-m", "mnedge", command, str(file), *_COMMANDS[command]]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, check=False, timeout=120)
    assert done.returncode in (2, 3, 4), (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert str(file) in lines[0]
    return lines[0]


@pytest.fixture
def killer(small_int8: Graph, tmp_path: Path) -> Path:
    """A file whose last op is a custom one under the name of LiteRT's own, without the tensors that it reads."""
    boxes = Tensor("boxes", (1, 4), "int8", Quantization.per_tensor(1 / 256, -128))
    ops = (*small_int8.ops, Op("TFLite_Detection_PostProcess", ("scores",), ("boxes",), {"custom_options": b""}))
    (tmp_path / "killer.tflite").write_bytes(write_tflite(small_int8.replaced(tensors=[boxes], ops=ops)))
    return tmp_path / "killer.tflite"


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_a_model_that_ends_its_runtime(command: str, killer: Path, tmp_path: Path) -> None:
    line = _ends(command, killer, tmp_path)
    assert "op 3 (TFLite_Detection_PostProcess" in line
    assert ("was ended by SIG" in line) == (command == "bench")


@pytest.mark.shared
@pytest.mark.parametrize("command", rest_is_slow(_COMMANDS, 2))
def test_files_that_ended_their_runtime(command: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data.parent / "cases" / "hostile"
    if not folder.is_dir():
        pytest.skip(f"no {folder}, with the damaged files")
    for file in sorted(folder.glob("*.tflite")):
        _ends(command, file, tmp_path)
