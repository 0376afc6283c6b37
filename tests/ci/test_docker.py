"""The images, built and run without a daemon by buildah, on a Debian that stands for python:3.12-slim."""

import json
import os
import re
import shutil
import subprocess
import sys
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
        "/usr/local/bin/run-model",
        "--json",
        "/photos",
        mount=f"{tmp_path}:/photos:ro",
    )
    assert len(json.loads(said.splitlines()[-1])["classes"]) == 1
    assert "model" in buildah.run(container, "id", "-un")


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


@pytest.mark.parametrize("program", ["classify.py", "detect.py"])
def test_the_runner_starts_the_program_of_the_model(program: str, tmp_path: Path) -> None:
    # The step of the image itself, with a folder here in the place of the image's.
    text = (_ROOT / "docker" / "runner.Dockerfile").read_text().replace("\\\n", "")
    step = next(line for line in text.splitlines() if line.startswith("RUN program="))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({"program": program}))
    (tmp_path / "model" / program).write_text("import sys; print(sys.argv)")
    script = step.removeprefix("RUN ").replace("/opt/venv/bin/python", sys.executable)
    script = script.replace("/opt/model", f"{tmp_path}/model").replace("/usr/local/bin", str(tmp_path))
    subprocess.run(["sh", "-ec", script], check=True)
    said = subprocess.run([tmp_path / "run-model", "a b", "--json"], check=True, capture_output=True, text=True).stdout
    assert said.strip() == str([f"{tmp_path}/model/{program}", "a b", "--json"])


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize("cache", ["", "read-only"])
def test_any_user_builds_into_any_mount(cache: str, tmp_path: Path) -> None:
    """The conditions of `docker run --user 12345 -v …`: no name, no home, and a cache that may be root's."""
    mount, kept = tmp_path / "mount", tmp_path / "cache"
    for place, mode in ((mount, 0o777), (kept, 0o755), (tmp_path, 0o755), (tmp_path.parent, 0o755)):
        place.mkdir(exist_ok=True)
        place.chmod(mode)
    (mount / "model.yaml").write_text(
        "{variant: v1, alpha: 0.25, resolution: 32, weights: random, int8: true, effort: fast}"
    )
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    # What root may read here all may read in the image; what is written is this user's.
    user += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONPATH": str(_ROOT)}
    environment |= {"MNEDGE_CACHE": str(kept)} if cache else {}
    done = subprocess.run(
        [*user, sys.executable, "-B", "-m", "mnedge", "build", "--recipe", "model.yaml", "--out", "built", "--json"],
        cwd=mount, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (mount / "built" / "report.html").stat().st_uid == 12345
    # Where the mount is not this user's, the message says so at once.
    mount.chmod(0o755)
    done = subprocess.run(
        [*user, sys.executable, "-B", "-m", "mnedge", "build", "--recipe", "model.yaml", "--out", "other"],
        cwd=mount, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
