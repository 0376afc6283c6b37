"""The Raspberry Pi bundle, run as it ships: classify.py as a program of its own, in an environment without mnedge."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mnedge.bundles._archive import archive_path
from mnedge.data.preprocess import Preprocessing, read_pixels
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify

_SLUG = "mobilenet_v1_0.25_48"


@pytest.fixture(scope="module")
def pi(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pi") / "bundle"
    bundle(built, "raspberry-pi", out, Release())
    return out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    chance = np.random.default_rng(5)
    Image.fromarray(chance.integers(0, 256, (90, 70, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(chance.integers(0, 256, (60, 80, 4), np.uint8)).save(folder / "deep" / "b.png")
    turned = Image.fromarray(chance.integers(0, 256, (40, 80, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "c.jpg", exif=exif)
    (folder / "notes.txt").write_text("no picture")
    return folder


def _classify(pi: Path, *arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PATH"] = path
    # -P would need 3.11; -I keeps PYTHONPATH and the current folder out as well.
    return subprocess.run(
        [sys.executable, "-I", pi / "classify.py", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


def _rows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_says_what_mnedge_measured(pi: Path, photos: Path) -> None:
    about = json.loads((pi / "model.json").read_text())
    preprocessing = Preprocessing(about["crop_fraction"], about["interpolation"])
    interpreter = Interpreter(str(pi / f"{_SLUG}.int8.tflite"))
    interpreter.allocate_tensors()
    rows = _rows(_classify(pi, "--json", "--top", 10, photos))
    assert [Path(row["picture"]).name for row in rows] == ["a.png", "c.jpg", "b.png"]
    for row in rows:
        pixels = read_pixels(Path(row["picture"]), 48, preprocessing)
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], (pixels.astype(np.int16) - 128).astype(np.int8)[None]
        )
        interpreter.invoke()
        scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        assert [entry["index"] for entry in row["classes"]] == np.argsort(-scores.astype(int), kind="stable").tolist()
        for entry in row["classes"]:
            assert entry["score"] == pytest.approx((int(scores[entry["index"]]) + 128) / 256, abs=1e-6)
            assert entry["label"] == str(entry["index"])


def test_the_onnx_model_agrees(pi: Path, photos: Path) -> None:
    tflite, onnx = (
        _rows(_classify(pi, "--json", "--top", 10, *model, photos / "a.png"))[0]["classes"]
        for model in ((), ("--model", pi / f"{_SLUG}.int8.onnx"))
    )
    scores = [sorted((entry["index"], entry["score"]) for entry in rows) for rows in (tflite, onnx)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1.01 / 256)


def test_a_broken_picture_is_said_and_the_rest_done(pi: Path, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = _classify(pi, photos)
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_camera_is_the_boards_own_program(pi: Path, photos: Path, tmp_path: Path) -> None:
    camera = tmp_path / "bin" / "rpicam-still"
    camera.parent.mkdir()
    camera.write_text(f"#!/bin/sh\ncat {photos / 'c.jpg'}\n")
    camera.chmod(0o755)
    shown = _rows(_classify(pi, "--json", "--camera", path=f"{camera.parent}:/usr/bin:/bin"))
    filed = _rows(_classify(pi, "--json", photos / "c.jpg"))
    assert shown[0]["classes"] == filed[0]["classes"]
    camera.write_text("#!/bin/sh\necho 'no cameras available' >&2; exit 255\n")
    done = _classify(pi, "--camera", path=f"{camera.parent}:/usr/bin:/bin")
    assert done.returncode != 0
    assert "no cameras available" in done.stderr
    assert "rpicam-apps" in _classify(pi, "--camera", path=str(tmp_path)).stderr


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--camera"]])
def test_pictures_or_the_camera(pi: Path, arguments: list[str]) -> None:
    assert _classify(pi, *arguments).returncode == 2


def test_it_needs_no_mnedge_and_nothing_that_is_not_pinned(pi: Path) -> None:
    pins = dict(line.split("==") for line in (pi / "requirements.txt").read_text().splitlines())
    assert set(pins) == {"ai-edge-litert", "numpy", "pillow"}
    assert all(pins.values())
    assert "mnedge" not in (pi / "classify.py").read_text()


def test_the_archive_is_the_folder(pi: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", archive_path(pi), "-C", tmp_path], check=True)
    unpacked = tmp_path / f"{_SLUG}-raspberry-pi"
    found = [replace(verify(path), path="") for path in (unpacked, pi, archive_path(pi))]
    assert found[0] == found[1] == found[2]
    assert os.access(unpacked / "classify.py", os.X_OK)
    assert os.access(unpacked / "install.sh", os.X_OK)


def test_install_copies_and_makes_an_environment(pi: Path, tmp_path: Path) -> None:
    # The packages themselves are the index's; what is tested is the script, so pip is asked for nothing.
    copy = Path(shutil.copytree(pi, tmp_path / "copy"))
    (copy / "requirements.txt").write_text("")
    place = tmp_path / "opt"
    subprocess.run(["sh", copy / "install.sh", place], check=True, capture_output=True)
    assert (place / "venv" / "bin" / "python").exists()
    assert (place / "classify.py").read_bytes() == (pi / "classify.py").read_bytes()


def test_the_unit_is_systemds(pi: Path) -> None:
    unit = pi / f"{_SLUG}.service"
    text = unit.read_text()
    assert f"ExecStart=/opt/{_SLUG}/venv/bin/python /opt/{_SLUG}/classify.py --camera --every 10 --json" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    # The program itself is not installed here, which is the one thing it may say.
    assert not [line for line in done.stderr.splitlines() if _SLUG in line and "is not executable" not in line]
