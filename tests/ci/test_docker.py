"""The images, built and run without a daemon by buildah, on a Debian that stands for python:3.12-slim."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.recipe import Recipe
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle as make_bundle
from mnedge.workflows.release import Release

_ROOT = Path(__file__).parents[2]
_FILES = sorted((_ROOT / "docker").glob("*.Dockerfile"))
_BASE = "docker.io/library/python:3.12-slim"


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_an_image_is_small_and_does_not_run_as_root(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(bases) == {"python:3.12-slim"}
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] != "root"
    for command in re.findall(r"pip (?:install|wheel) .*", text):
        assert "--no-cache-dir" in command


def test_the_context_holds_what_the_wheel_needs_and_no_more() -> None:
    kept = [line[1:] for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((_ROOT / name).exists() for name in kept)
    assert {"mnedge", "calibration", "recipes", "pyproject.toml", "README.md", "LICENSE"} == set(kept)


class _Buildah:
    def __init__(self, store: Path) -> None:
        self.store = ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", "vfs"]
        # pip in the image asks the index that pip here asks.
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and "/" not in value}
        self.options = ["--isolation", "chroot"]
        self.mounts = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        self.environment = {**os.environ, **pip}

    def __call__(self, program: str, *arguments: object) -> str:
        done = subprocess.run(
            [program, *self.store, *map(str, arguments)], capture_output=True, text=True, check=False,
            env=self.environment,
        )  # fmt: skip
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def build(self, file: str, context: Path) -> str:
        """Builds an image and gives a container of it."""
        name = file.partition(".")[0]
        place = _ROOT / "docker" / file
        arguments = ["--network", "host", "--pull-never", *self.mounts, "-t", name, "-f", place, context]
        self("buildah", "build", *self.options, *arguments)
        return self("buildah", "from", "--pull-never", f"localhost/{name}")

    def run(self, container: str, *command: object, mount: str = "") -> str:
        return self("buildah", "run", *self.options, *(["-v", mount] if mount else []), container, "--", *command)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Buildah]:
    """buildah with a store of its own that holds the base image."""
    for program in ("buildah", "podman", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install buildah podman mmdebstrap")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("images")
    base = folder / "base.tar"
    if given := os.environ.get("MNEDGE_BASE_TAR"):
        base = Path(given)
    else:
        command = ["mmdebstrap", "--quiet", "--variant=apt", "--include=python3,python3-venv,ca-certificates"]
        subprocess.run([*command, "bookworm", base], check=True, capture_output=True)
    found = _Buildah(folder / "store")
    found("podman", "import", base, _BASE)
    yield found
    # Layers hold files that only buildah's own clean-up may remove.
    found("buildah", "rm", "--all")
    found("buildah", "rmi", "--all", "--force")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    recipe = Recipe(variant="v1", alpha=0.25, resolution=48, weights="random", int8=True, effort="fast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(recipe, folder / "out", lambda *_: None)
    make_bundle(folder / "out", "raspberry-pi", folder / "pi", Release())
    return folder / "pi"


@pytest.mark.soak
def test_the_runner_classifies(buildah: _Buildah, bundle: Path, tmp_path: Path) -> None:
    container = buildah.build("runner.Dockerfile", bundle)
    Image.fromarray(np.full((60, 60, 3), 99, np.uint8)).save(tmp_path / "photo.png")
    tmp_path.chmod(0o755)
    said = buildah.run(
        container,
        "/opt/classify/bin/python",
        "/opt/model/classify.py",
        "--json",
        "/photos",
        mount=f"{tmp_path}:/photos:ro",
    )
    assert len(json.loads(said.splitlines()[-1])["classes"]) == 1
    assert "classify" in buildah.run(container, "id", "-un")


@pytest.mark.soak
def test_the_builder_builds_the_demo_without_a_network(buildah: _Buildah) -> None:
    container = buildah.build("build.Dockerfile", _ROOT)
    assert buildah.run(container, "id", "-un") == "mnedge"
    # A network namespace of its own with nothing in it.
    done = subprocess.run(
        ["unshare", "--net", "buildah", *buildah.store, "run", *buildah.options, "--network", "host", container, "--",
         "mnedge", "build", "--recipe", "demo", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slug"] == "mobilenet_v3_small_1.0_96"
