"""The example workflows, from the build to the release: every block, run as the runner runs it."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "ci" / "examples"
_GITHUB = yaml.safe_load((_EXAMPLES / "release-model.github.yml").read_text())
_GITLAB = yaml.safe_load((_EXAMPLES / "release-model.gitlab-ci.yml").read_text())
_STEPS = {step["id"]: step for step in _GITHUB["jobs"]["release"]["steps"] if "run" in step}
_RECIPE = """
variant: v1
alpha: 0.25
resolution: 32
weights: random
int8: true
effort: fast
gates: {int8_only: true, max_size_kib: 1024}
bundles: [raspberry-pi]
"""
# What the forges' own programs are asked.
_ASKED = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@" > "$ASKED"\n'


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a recipe and a key, and mnedge checked out beside it."""
    pytest.importorskip("model_signing")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("repository")
    (folder / "model.yaml").write_text(_RECIPE)
    key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "given.pem"]
    subprocess.run(list(map(str, key)), check=True, capture_output=True)
    public = ["openssl", "ec", "-in", folder / "given.pem", "-pubout", "-out", folder / "public.pem"]
    subprocess.run(list(map(str, public)), check=True, capture_output=True)
    (folder / ".mnedge").mkdir()
    for name in ("mnedge", "calibration", "recipes"):
        shutil.copytree(_ROOT / name, folder / ".mnedge" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, folder / ".mnedge" / name)
    (folder / "bin").mkdir()
    for name in ("gh", "curl"):
        (folder / "bin" / name).write_text(_ASKED)
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin" / "python3").symlink_to(sys.executable)
    return folder


def _environment(repository: Path, **given: str) -> dict[str, str]:
    # The dependencies are those of this environment; mnedge itself is installed by the block.
    return {
        "PATH": f"{repository / 'bin'}:{os.environ['PATH']}", "HOME": str(repository), "PIP_NO_DEPS": "1",
        "PYTHONPATH": os.pathsep.join(site.getsitepackages()), "MNEDGE_CACHE": str(repository / "cache"),
        "ASKED": str(repository / "asked"), **given,
        **{key: value for key, value in os.environ.items() if key.startswith("PIP_")},
    }  # fmt: skip


def _run(repository: Path, command: list[str], script: str, **given: str) -> None:
    (repository / "block.sh").write_text(script)
    done = subprocess.run(
        [*command, repository / "block.sh"], cwd=repository, env=_environment(repository, **given),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index to get the build backend from")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_github_example_builds_gates_signs_and_releases(repository: Path) -> None:
    assert list(_STEPS) == ["install", "build", "sign", "release"]
    values = {
        "github.ref_name": "v3.1.4",
        "github.token": "t",
        "secrets.SIGNING_KEY": (repository / "given.pem").read_text(),
    }
    given = {"RUNNER_TEMP": str(repository), "GITHUB_PATH": str(repository / "path")}
    given["GITHUB_STEP_SUMMARY"] = str(repository / "summary.md")
    for step in _STEPS.values():
        assert "${{" not in step["run"], "inputs go through env"
        own = {
            key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text)
            for key, text in step.get("env", {}).items()
        }
        added = (repository / "path").read_text().split() if (repository / "path").exists() else []
        path = ":".join([*added, f"{repository / 'bin'}", os.environ["PATH"]])
        _run(
            repository,
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"],
            step["run"],
            **given,
            **own,
            PATH=path,
        )
    assert (repository / "built-gates.xml").is_file()
    assert (repository / "summary.md").is_file()
    assert not (repository / "key.pem").exists()
    asked = (repository / "asked").read_text().splitlines()
    assert asked[:4] == ["gh", "release", "create", "v3.1.4"]
    assert "signed/raspberry-pi.tar.gz" in asked
    assert "built/report.json" in asked
    assert '"version": "3.1.4"' in (repository / "signed" / "raspberry-pi" / "manifest.json").read_text()


@pytest.mark.slow
def test_the_gitlab_example_builds_gates_signs_and_releases(repository: Path) -> None:
    for place in ("built", "signed"):
        shutil.rmtree(repository / place, ignore_errors=True)
    given = {
        "CI_PROJECT_DIR": str(repository), "CI_COMMIT_TAG": "v3.1.4", "SIGNING_KEY": str(repository / "given.pem"),
        "CI_PROJECT_URL": "https://forge.example/ada/model", "CI_API_V4_URL": "https://forge.example/api/v4",
        "CI_PROJECT_ID": "7", "CI_JOB_TOKEN": "t",
        "MNEDGE": f"mnedge[sign] @ file://{repository / '.mnedge'}",
    }  # fmt: skip
    for job in ("model", "release"):
        # GitLab joins the lines into one script for sh, with -e.
        _run(repository, ["sh", "-e"], "".join(f"{line}\n" for line in _GITLAB[job]["script"]), **given)
    asked = (repository / "asked").read_text().splitlines()
    assert asked[-1] == "https://forge.example/api/v4/projects/7/releases"
    assert "JOB-TOKEN: t" in asked
    release = json.loads((repository / "release.json").read_text())
    assert release["tag_name"] == "v3.1.4"
    assert release["description"]
    place = "https://forge.example/ada/model/-/jobs/artifacts/v3.1.4/raw"
    assert release["assets"]["links"] == [
        {"name": "raspberry-pi.tar.gz", "url": f"{place}/signed/raspberry-pi.tar.gz?job=model"},
        {"name": "report.json", "url": f"{place}/built/report.json?job=model"},
    ]
    assert (repository / "gates.xml").is_file()


def test_no_template_installs_a_name_of_an_index_that_is_not_the_projects() -> None:
    for path in (*_EXAMPLES.iterdir(), _ROOT / "ci" / "mnedge.gitlab-ci.yml", _ROOT / "action.yml"):
        for line in path.read_text().splitlines():
            if "pip install " in line and not line.lstrip().startswith("#"):
                what = line.split("pip install")[1].replace('"', "").replace("'", "").split()
                names = [word for word in what if not word.startswith("-")]
                assert all(name.startswith(("./", "$")) for name in names), f"{path.name}: {line}"


def test_actions_of_others_are_pinned_by_digest() -> None:
    used = [step["uses"] for step in _GITHUB["jobs"]["release"]["steps"] if "uses" in step]
    assert len(used) == 3
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in used)
