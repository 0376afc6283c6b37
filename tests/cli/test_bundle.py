"""`mnedge build` with what CI asks of it, then `mnedge bundle` and `mnedge verify`, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.slow


_ROOT = Path(__file__).parents[2]
_RECIPE = """
variant: v1
alpha: 0.25
resolution: 48
weights: random
int8: true
effort: fast
targets: [cpu, cortex-m4]
gates: {int8_only: true}
bundles: [android, raspberry-pi]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli-bundle")
    (folder / "tiny.yaml").write_text(_RECIPE)
    done = _mnedge(
        folder, "build", "--recipe", "tiny.yaml", "--out", "out", "--junit", "gates.xml", "--markdown", "summary.md"
    )
    assert done.returncode == 0, done.stderr
    return folder


def _mnedge(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mnedge", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "MNEDGE_CACHE": str(folder / "cache"), "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip


def test_a_recipe_makes_its_bundles(place: Path) -> None:
    done = _mnedge(place, "verify", "out", "out/bundles/android", "out/bundles/raspberry-pi.tar.gz", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["bundle"] for row in json.loads(done.stdout)] == ["build", "android", "raspberry-pi"]


def test_ci_gets_its_files(place: Path) -> None:
    suite = ET.parse(place / "gates.xml").getroot()  # noqa: S314 - our own file
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("1", "0")
    assert (place / "summary.md").read_text().startswith("## mobilenet")


def test_a_worse_build_fails_against_the_baseline_and_still_reports(place: Path) -> None:
    baseline = json.loads((place / "out" / "report.json").read_text())
    for row in baseline["artifacts"]:
        row["bytes"] = int(row["bytes"] / 1.5)
    (place / "small.json").write_text(json.dumps(baseline))
    done = _mnedge(
        place, "build", "--recipe", "tiny.yaml", "--out", "worse", "--baseline", "small.json", "--junit", "worse.xml"
    )
    assert done.returncode == 1
    assert "baseline bytes mobilenet_v1_0.25_48.int8.tflite: limit" in done.stderr
    suite = ET.parse(place / "worse.xml").getroot()  # noqa: S314 - our own file
    assert int(suite.attrib["failures"]) == len(baseline["artifacts"])


def test_a_build_that_breaks_a_gate_ships_nothing(place: Path) -> None:
    (place / "strict.yaml").write_text(_RECIPE.replace("int8_only: true", "max_size_kib: 1"))
    done = _mnedge(place, "build", "--recipe", "strict.yaml", "--out", "strict")
    assert done.returncode == 1
    assert "no bundles were made: a gate failed" in done.stderr
    assert not (place / "strict" / "bundles").exists()
    done = _mnedge(place, "verify", "strict")
    assert done.returncode == 0, done.stderr
    assert "the build broke max_size_kib" in done.stdout


def test_a_build_that_dies_says_so_to_ci(place: Path) -> None:
    (place / "torn.yaml").write_text(_RECIPE.replace("random", "torn.h5"))
    (place / "torn.h5").write_bytes(b"no weights")
    done = _mnedge(place, "build", "--recipe", "torn.yaml", "--out", "torn", "--junit", "torn.xml")
    assert done.returncode == 2
    error = next(ET.parse(place / "torn.xml").getroot().iter("error"))  # noqa: S314 - our own file
    assert "torn.h5" in error.attrib["message"]


def test_the_same_build_again_passes_locked_and_against_itself_and_other_tools_are_refused(place: Path) -> None:
    done = _mnedge(place, "build", "--recipe", "tiny.yaml", "--out", "out", "--baseline", "out/report.json", "--locked")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    manifest["tools"]["keras"] = "1.2.3"
    (place / "old.json").write_text(json.dumps(manifest))
    done = _mnedge(place, "build", "--recipe", "tiny.yaml", "--out", "refused", "--locked-to", "old.json")
    assert done.returncode == 2
    assert "keras 1.2.3, here" in done.stderr
    assert not (place / "refused").exists()


def test_bundle_and_verify_say_what_they_did(place: Path) -> None:
    done = _mnedge(place, "bundle", "microcontroller", "out", "--out", "firmware")
    assert done.returncode == 0, done.stderr
    assert "library.properties" in done.stdout
    (place / "firmware" / "README.md").write_text("other")
    done = _mnedge(place, "verify", "firmware")
    assert done.returncode == 2
    assert "README.md was changed" in done.stderr
    done = _mnedge(place, "bundle", "andriod", "out", "--out", "x")
    assert done.returncode == 2
    assert "did you mean 'android'" in done.stderr
