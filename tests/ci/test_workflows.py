"""Every shell block of the action, the workflows and the GitLab template, run as the runner runs it."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_ACTION = yaml.safe_load((_ROOT / "action.yml").read_text())
_WORKFLOWS = sorted((_ROOT / ".github" / "workflows").glob("*.yml"))
_GITLAB = list(yaml.safe_load_all((_ROOT / "ci" / "mnedge.gitlab-ci.yml").read_text()))
_RECIPE = """
variant: v1
alpha: 0.25
resolution: 48
weights: random
int8: true
effort: fast
gates: {int8_only: true, max_size_kib: LIMIT}
bundles: [raspberry-pi]
"""


def _filled(text: str, values: dict[str, str]) -> str:
    """Puts values in the place of GitHub's ${{ … }} and GitLab's $[[ … ]]; one without a value is a mistake."""
    return re.sub(r"\$\{\{\s*(.*?)\s*\}\}|\$\[\[\s*(.*?)\s*\]\]", lambda found: values[found[1] or found[2]], str(text))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's working folder on a runner, with the caller's recipes in it."""
    folder = tmp_path_factory.mktemp("runner")
    (folder / "temp").mkdir()
    # A copy, as on a runner: two workers of pytest that build the wheel in one tree at once disturb each other.
    (folder / "checkout").mkdir()
    for name in ("mnedge", "calibration", "recipes"):
        shutil.copytree(_ROOT / name, folder / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, folder / "checkout" / name)
    (folder / "good.yaml").write_text(_RECIPE.replace("LIMIT", "1024"))
    (folder / "bad.yaml").write_text(_RECIPE.replace("LIMIT", "1"))
    return folder


def _environment(runner: Path, given: dict[str, str]) -> dict[str, str]:
    # The dependencies are those of this environment; mnedge itself is installed by the block, from the checkout.
    return {
        "PATH": os.environ["PATH"], "HOME": str(runner), "PIP_NO_DEPS": "1", "MNEDGE_CACHE": str(runner / "cache"),
        "PYTHONPATH": os.pathsep.join(site.getsitepackages()),
        **{key: value for key, value in os.environ.items() if key.startswith("PIP_")}, **given,
    }  # fmt: skip


def _run(step: dict[str, Any], runner: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a step's block as GitHub does: in a file, with `bash -e -o pipefail`."""
    (runner / "output").write_text("")
    (runner / "summary").write_text("")
    given = {key: _filled(text, values) for key, text in step.get("env", {}).items()}
    given |= {"GITHUB_OUTPUT": str(runner / "output"), "GITHUB_STEP_SUMMARY": str(runner / "summary")}
    given |= {"GITHUB_PATH": str(runner / "path")}
    (runner / "step.sh").write_text(_filled(step["run"], values))
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", runner / "step.sh"],
        cwd=runner, env=_environment(runner, given), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index to get the build backend from")
    return done


def _outputs(runner: Path) -> dict[str, str]:
    """GITHUB_OUTPUT, read as the runner reads it."""
    found, lines = {}, iter((runner / "output").read_text().splitlines())
    for line in lines:
        if "<<" in line:
            name, end = line.split("<<")
            rows = []
            while (row := next(lines)) != end:
                rows.append(row)
            found[name] = "\n".join(rows)
        else:
            name, _, found[name] = line.partition("=")
    return found


def _step(name: str) -> dict[str, Any]:
    return next(step for step in _ACTION["runs"]["steps"] if step.get("id") == name)


def _values(runner: Path, recipe: str, **inputs: str) -> dict[str, str]:
    defaults = {f"inputs.{name}": str(entry.get("default", "")) for name, entry in _ACTION["inputs"].items()}
    return {
        **defaults, "inputs.recipe": recipe, "steps.python.outputs.python-path": sys.executable,
        "github.action_path": str(runner / "checkout"), "runner.temp": str(runner / "temp"), "github.token": "t",
        **{f"inputs.{name}": value for name, value in inputs.items()},
    }  # fmt: skip


@pytest.fixture(scope="module")
def installed(runner: Path) -> Path:
    done = _run(_step("install"), runner, _values(runner, "good.yaml"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mnedge ")
    # Later steps call it by its name.
    added = Path((runner / "path").read_text().splitlines()[-1])
    assert [path.name for path in added.iterdir()] == ["mnedge"]
    return runner


@pytest.fixture(scope="module")
def built(installed: Path) -> dict[str, str]:
    """The outputs of a build by the action."""
    done = _run(_step("build"), installed, _values(installed, "good.yaml"))
    assert done.returncode == 0, done.stderr
    return _outputs(installed)


@pytest.mark.slow
def test_the_action_builds_and_hands_out_paths(installed: Path, built: dict[str, str]) -> None:
    assert set(built) == set(_ACTION["outputs"])
    for name, entry in _ACTION["outputs"].items():
        assert entry["value"] == f"${{{{ steps.build.outputs.{name} }}}}"
    paths = built["artifacts"].splitlines()
    assert len(paths) == 4
    assert all((installed / path).is_file() for path in [*paths, built["report"]])
    assert [Path(path).name for path in built["bundles"].splitlines()] == ["raspberry-pi", "raspberry-pi.tar.gz"]
    assert (installed / "summary").read_text().startswith("## mobilenet")
    assert (installed / "artifacts" / "gates.xml").is_file()
    report = json.loads((installed / built["report"]).read_text())
    assert all(row["passed"] for row in report["gates"])


@pytest.mark.slow
def test_a_failed_gate_fails_the_job_after_the_summary(installed: Path, built: dict[str, str]) -> None:
    values = _values(installed, "bad.yaml", out="out dir", baseline=built["report"])
    done = _run(_step("build"), installed, values)
    assert done.returncode == 1
    assert "max_size_kib: limit 1" in done.stderr
    assert "max" in (installed / "summary").read_text()
    assert _outputs(installed)["out"] == "out dir"


@pytest.mark.slow
def test_the_last_release_is_the_baseline_where_there_is_one(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The forge's own program: it gives a report of another build, or says that there is no release.
    (tmp_path / "gh").write_text('#!/bin/sh\n[ -n "$NONE" ] && exit 1\ncp "$REPORT" "$6/report.json"\n')
    (tmp_path / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    values = _values(installed, "good.yaml", baseline="last-release", version="3.1.4", out="released")
    step = _step("build")
    done = _run({**step, "env": {**step["env"], "NONE": "1"}}, installed, values)
    assert done.returncode == 0, done.stderr
    assert "nothing to hold this build against" in done.stdout
    bundled = json.loads((installed / "released" / "bundles" / "raspberry-pi" / "manifest.json").read_text())
    assert bundled["version"] == "3.1.4"
    report = json.loads((installed / "released" / "report.json").read_text())
    for row in report["artifacts"]:
        row["bytes"] = int(row["bytes"] / 2)
    (tmp_path / "report.json").write_text(json.dumps(report))
    done = _run({**step, "env": {**step["env"], "REPORT": str(tmp_path / "report.json")}}, installed, values)
    assert done.returncode == 1
    assert "baseline bytes" in done.stderr


@pytest.mark.slow
def test_an_input_is_never_code(installed: Path) -> None:
    done = _run(_step("build"), installed, _values(installed, "$(touch owned); `touch owned`.yaml", out="fresh"))
    assert done.returncode == 2, "mnedge's own status, also where nothing was built"
    assert _outputs(installed)["artifacts"] == _outputs(installed)["bundles"] == ""
    assert not (installed / "owned").exists()
    for step in (step for step in _ACTION["runs"]["steps"] if "run" in step):
        assert "${{" not in step["run"], "inputs go through env"
        assert step["shell"] == "bash"


@pytest.mark.slow
def test_the_workflow_packs_what_was_built(installed: Path) -> None:
    shared = yaml.safe_load((_ROOT / ".github" / "workflows" / "mnedge.yml").read_text())
    packs = [step for job in shared["jobs"].values() for step in job.get("steps", []) if "run" in step]
    assert len(packs) == 1, "a new block needs a test that runs it"
    (installed / "packed").mkdir()
    (installed / "packed" / "file").write_text("1")
    done = _run(packs[0], installed, {"inputs.out": "packed", "matrix.machine": "arm64"})
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["tar", "-tzf", installed / "mnedge-arm64.tar.gz"], capture_output=True, text=True, check=True
    )
    assert "./file" in listed.stdout.split()
    assert _run(packs[0], installed, {"inputs.out": "nowhere", "matrix.machine": "x"}).returncode == 0


def test_the_workflow_runs_the_action_on_both_machines() -> None:
    workflow = yaml.safe_load((_ROOT / ".github" / "workflows" / "mnedge.yml").read_text())
    # YAML 1.1 reads `on` as true.
    declared = workflow[True]["workflow_call"]["inputs"]
    machines = workflow["jobs"]["build"]["strategy"]["matrix"]["include"]
    assert {row["machine"]: row["runner"] for row in machines} == {
        "x86-64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm",
    }  # fmt: skip
    used = next(step for step in workflow["jobs"]["build"]["steps"] if step.get("id") == "mnedge")
    assert set(used["with"]) <= set(_ACTION["inputs"])
    text = (_ROOT / ".github" / "workflows" / "mnedge.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(declared)
    demo = yaml.safe_load((_ROOT / ".github" / "workflows" / "demo.yml").read_text())["jobs"]["demo"]
    assert {name for name, entry in declared.items() if entry.get("required")} <= set(demo["with"]) <= set(declared)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "status"), [("good.yaml", 0), ("bad.yaml", 1)])
def test_the_gitlab_job_runs(installed: Path, recipe: str, status: int) -> None:
    spec, jobs = _GITLAB
    values = {f"inputs.{name}": str((entry or {}).get("default", "")) for name, entry in spec["spec"]["inputs"].items()}
    values |= {"inputs.recipe": recipe, "inputs.package": str(installed / "checkout"), "inputs.out": f"gitlab-{status}"}
    job = jobs["mnedge"]
    given = {key: _filled(text, values) for key, text in job["variables"].items()}
    given |= {"CI_PROJECT_DIR": str(installed), "MNEDGE_CACHE": str(installed / "cache")}
    # GitLab joins the lines into one script for sh, with -e.
    (installed / "job.sh").write_text("".join(f"{_filled(line, values)}\n" for line in job["script"]))
    done = subprocess.run(
        ["sh", "-e", installed / "job.sh"],
        cwd=installed, env=_environment(installed, given), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert (installed / f"gitlab-{status}" / "gates.xml").is_file()
    assert job["artifacts"]["reports"]["junit"] == "$OUT/gates.xml"


def test_actions_of_others_are_pinned_by_digest() -> None:
    texts = [path.read_text() for path in (*_WORKFLOWS, _ROOT / "action.yml")]
    used = [line.split("uses:")[1] for text in texts for line in text.splitlines() if "uses:" in line]
    others = [name.strip() for name in used if not name.strip().startswith("./") and "OWNER/" not in name]
    assert len(others) > 5
    for name in others:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", name)


def test_the_pythons_of_the_project_are_tested() -> None:
    jobs = yaml.safe_load((_ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    listed = re.findall(r'Python :: (3\.\d+)"', (_ROOT / "pyproject.toml").read_text())
    assert jobs["test"]["strategy"]["matrix"]["python"] == listed
