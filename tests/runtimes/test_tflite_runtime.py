"""tflite-runtime needs NumPy 1 and an old Python, so it runs in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import ToolError
from mnedge.formats.tflite_write import write_tflite
from mnedge.runtimes import for_file, get
from mnedge.runtimes.litert import LiteRtSession

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph

_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from mnedge.runtimes import get
runtime = get("tflite-runtime")
session = runtime.open(Path(sys.argv[1]), 1)
np.save(sys.argv[3], np.stack([session.run(image[None])[0] for image in np.load(sys.argv[2])]))
print(session.version)
"""


def test_it_is_taken_only_when_it_is_named(tmp_path: Path) -> None:
    assert for_file(tmp_path / "a.tflite") == "litert"
    assert get("tflite-runtime").suffix == ".tflite"


def test_a_missing_package_says_how_to_get_it(tmp_path: Path) -> None:
    if get("tflite-runtime").version() is not None:
        pytest.skip("tflite-runtime is installed here")
    with pytest.raises(ToolError, match=r"mnedge\[tflite-runtime\]"):
        get("tflite-runtime").open(tmp_path / "a.tflite", 1)


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with tflite-runtime and NumPy 1."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for this Python")
    place = tmp_path_factory.mktemp("old") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    needs = ["tflite-runtime>=2.13,<3", "numpy<2", "psutil", "pyyaml"]
    done = subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:", *needs],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"no wheels to be had: {done.stderr.strip().splitlines()[-1]}")
    return place / "bin" / "python"


@pytest.mark.slow
def test_it_says_what_litert_says(old_python: Path, small_int8: Graph, tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(small_int8))
    images = np.random.default_rng(0).integers(-128, 128, (5, 8, 8, 3)).astype(np.int8)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [old_python, "-c", _SCRIPT, model, tmp_path / "images.npy", tmp_path / "said.npy"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tflite-runtime 2.")
    session = LiteRtSession(model, 1)
    due = np.stack([session.run(image[None])[0] for image in images])
    assert np.abs(np.load(tmp_path / "said.npy").astype(int) - due.astype(int)).max() <= 1
