"""The constraints of `lock`: what is installed, as pip takes it and `--locked-to` reads it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from mnedge import __version__
from mnedge.errors import InputError
from mnedge.validation.locked import check_tools
from mnedge.workflows.lock import lock

if TYPE_CHECKING:
    from pathlib import Path


def test_what_mnedge_needs_is_pinned_directly_and_through_others(tmp_path: Path) -> None:
    place = tmp_path / "pins.txt"
    pins = lock(place)
    assert pins["mnedge"] == __version__
    # h5py comes with Keras, and is named nowhere in mnedge's own list.
    for name in ("numpy", "tensorflow", "h5py"):
        assert pins[name] == version(name)
    assert len(pins) > 30
    check_tools(place)
    first = place.read_text()
    lock(place)
    assert place.read_text() == first
    place.write_text("mine")
    with pytest.raises(InputError, match="was changed since mnedge wrote it"):
        lock(place)


def test_pip_takes_the_file(tmp_path: Path) -> None:
    lock(tmp_path / "pins.txt")
    words = ["install", "--dry-run", "--no-index", "--quiet", "-c", str(tmp_path / "pins.txt"), "numpy", "h5py"]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
