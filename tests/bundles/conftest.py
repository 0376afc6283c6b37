"""One small build that the bundles are made of: random weights, nothing is trained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.bundles._app import SHIPPED
from mnedge.bundles._bundle import Parts
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.report.write import CHECKSUMS
from mnedge.results.manifest import FileRow
from mnedge.results.stored import as_json
from mnedge.workflows.build.pipeline import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RECIPE = Recipe(
    variant="v1", alpha=0.25, resolution=48, weights="random", int8=True, effort="fast", targets=("cpu", "cortex-m4")
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build with LiteRT, ONNX and C; not to be written to."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(_RECIPE, folder / "out", lambda *_: None)
    return folder / "out"


@pytest.fixture
def program_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a program of the Raspberry Pi by its name there, with the modules that lie beside it."""
    # The programs set both for themselves.
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("pictures", "video4linux", "cameras", "models", "program"):
        monkeypatch.setitem(sys.modules, name, import_module(f"mnedge.bundles._{name}"))
    return lambda name: import_module(f"mnedge.bundles._{name}")


@pytest.fixture
def own_build(built: Path, tmp_path: Path) -> Path:
    """A copy of the build that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "own-build"))


@pytest.fixture
def changed_manifest() -> Callable[[Path, Callable[[dict], None]], None]:
    """Edits the manifest.json of a build."""

    def edit(folder: Path, change: Callable[[dict], None]) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        # As if `build` itself had written it so.
        record = json.loads((folder / CHECKSUMS).read_text())
        record["files"] = [as_json(FileRow.of(folder / row["path"])) for row in record["files"]]
        (folder / CHECKSUMS).write_text(json.dumps(record))

    return edit


@pytest.fixture(scope="session")
def ask_mediapipe() -> Callable[..., Any]:
    """Runs a script with arguments in a Python that has MediaPipe, and gives the JSON that it prints after RESULT."""
    chosen = os.environ.get("MNEDGE_MEDIAPIPE_PYTHON", sys.executable)
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [chosen, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)

    loaded = run("from mediapipe.tasks.python import vision")
    if loaded.returncode != 0:
        last = (loaded.stderr.strip().splitlines() or ["no word"])[-1]
        pytest.skip(f"no MediaPipe: pip install 'mnedge[bundle-test]' ({last})")

    def ask(script: str, *arguments: str | Path) -> Any:
        done = run(script, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.partition("RESULT")[2])

    return ask


@pytest.fixture(scope="session")
def parts_of() -> Callable[..., Parts]:
    """Parts of a bundle, of a build that there is not; what differs is given by name."""

    def made(**more: Any) -> Parts:
        values: dict[str, Any] = {
            "slug": "net-v1.0", "task": "classify", "size": (96, 128), "pixels": SYMMETRIC, "takes_pixels": True,
            "head": "softmax", "labels": ("cat", "dog"), "preprocessing": {"crop_fraction": 0.875},
            "tools": {"mnedge": "0.1.0"}, "tflite": lambda _: b"model", "onnx": None, "sources": {},
            "group": "models.mnedge", "version": "1.0.0", "license": "Apache-2.0",
        }  # fmt: skip
        return Parts(**{**values, **more})

    return made


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The programs of the Raspberry Pi under the names that they ship under, where `import pictures` finds them."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("program", "models", "pictures", "cameras", "video4linux", "classify", "detect", "segment", "embed"):
        shutil.copy(SHIPPED / f"_{name}.py", folder / f"{name}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
