"""The release workflow, step by step, as far as a machine without the forge's own services goes."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import mnedge

_ROOT = Path(__file__).parents[2]
_WORKFLOW = yaml.safe_load((_ROOT / ".github" / "workflows" / "release.yml").read_text())
_STEPS: dict[str, dict[str, Any]] = {
    step["id"]: step for job in _WORKFLOW["jobs"].values() for step in job["steps"] if "id" in step
}
_TAG = f"v{mnedge.__version__}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as git has it, with a `gh` and a `docker` that write down what they are asked for."""
    folder = tmp_path_factory.mktemp("release") / "checkout"
    if shutil.which("git") is None or not (_ROOT / ".git").exists():
        pytest.skip("no git checkout to release from")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / name, folder / name)
    tools = folder.parent / "tools"
    tools.mkdir()
    for name in ("gh", "docker"):
        (tools / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> "{folder.parent}/asked"\n')
        (tools / name).chmod(0o755)
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    return folder


def _run(checkout: Path, name: str, **values: str) -> subprocess.CompletedProcess[str]:
    step = _STEPS[name]
    known = {
        "github.ref_name": _TAG, "github.token": "t", "github.actor": "ada", "vars.IMAGE": "images.example/ada/mnedge",
        **values,
    }  # fmt: skip
    given = {
        key: re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda found: known[found[1]], text)
        for key, text in step.get("env", {}).items()
    }
    (checkout.parent / "step.sh").write_text(step["run"])
    environment = {
        **{key: value for key, value in os.environ.items() if key.startswith("PIP_")},
        "PATH": f"{checkout.parent / 'tools'}{os.pathsep}{os.environ['PATH']}", "HOME": str(checkout.parent),
        "MNEDGE_CACHE": str(checkout.parent / "cache"), **given,
    }  # fmt: skip
    if name == "try":
        # The dependencies are those of this environment.
        environment |= {"PIP_NO_DEPS": "1", "PYTHONPATH": os.pathsep.join(site.getsitepackages())}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", checkout.parent / "step.sh"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dist(checkout: Path) -> Path:
    """The sdist and the wheel, built and checked by the step itself."""
    for module in ("build", "twine"):
        pytest.importorskip(module)
    done = _run(checkout, "dist")
    if "No matching distribution found for setuptools" in done.stderr + done.stdout:
        pytest.skip("no package index to get the build backend from")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    return checkout / "dist"


def test_every_step_is_run_here() -> None:
    runs = [step for job in _WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    assert {step.get("id") for step in runs} == {"tools", "notes", "dist", "try", "release", "image"}


def test_notes_are_the_section_of_the_version(checkout: Path) -> None:
    done = _run(checkout, "notes")
    assert done.returncode == 0, done.stderr
    text = (checkout / "notes.md").read_text()
    assert text.startswith("### Added")
    assert "## [" not in text
    done = _run(checkout, "notes", **{"github.ref_name": "v9.9.9"})
    assert done.returncode == 1
    assert f"has version {mnedge.__version__}" in done.stderr


@pytest.mark.slow
def test_the_wheel_has_what_it_needs_and_no_tests(dist: Path) -> None:
    wheel = next(dist.glob("*.whl"))
    assert wheel.name.startswith(f"mnedge-{mnedge.__version__}-py3")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.split("/")[0] in ("tests", "docs", "scripts", "build")]
    assert {"mnedge/recipes/demo.yaml", "mnedge/recipes/schema.json", "mnedge/py.typed"} <= set(names)
    assert sum(name.endswith(".h5") for name in names) == 1
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        assert f"mnedge-{mnedge.__version__}/pyproject.toml" in archive.getnames()


@pytest.mark.soak
def test_the_wheel_alone_builds_the_demo(checkout: Path, dist: Path) -> None:
    assert dist.is_dir()
    done = _run(checkout, "try")
    assert done.returncode == 0, done.stderr
    assert "files as they were" in done.stdout


@pytest.mark.slow
def test_the_release_has_the_files_and_the_notes(checkout: Path, dist: Path) -> None:
    assert dist.is_dir()
    assert _run(checkout, "release").returncode == 0
    assert _run(checkout, "image").returncode == 0
    asked = (checkout.parent / "asked").read_text()
    release = next(line for line in asked.splitlines() if line.startswith("gh release create"))
    assert f"create {_TAG} --verify-tag" in release
    assert ".whl" in release
    assert ".tar.gz" in release
    assert "docs/schemas/report-1.json" in release
    assert f"docker push images.example/ada/mnedge:{_TAG}" in asked
    assert "docker login images.example" in asked


def test_the_tools_are_those_of_the_tests() -> None:
    pins = re.findall(r"'([a-z]+[^']+)'", _STEPS["tools"]["run"])
    listed = (_ROOT / "pyproject.toml").read_text()
    assert len(pins) == 2
    assert all(f'"{pin}"' in listed for pin in pins)
