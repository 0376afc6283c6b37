"""The Raspberry Pi bundle of a detector: detect.py as a program of its own finds what mnedge finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge import runtimes
from mnedge.data.boxes import open_boxes
from mnedge.data.detections import detect
from mnedge.pipeline import build
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode, encode
from mnedge.ship import Release, ship
from mnedge.validation.detect import decoding_of

_SLUG = "ssdlite_mobilenet_v1_0.25_32"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(5)
    rows = ["filename,split,class,x1,y1,x2,y2"]
    for number in range(6):
        Image.fromarray(chance.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{'val' if number % 2 else 'train'},{'cup' if number < 3 else 'dog'},10,5,50,40")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module", params=["outside", "inside"])
def pi(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pi")
    recipe = Recipe(
        task="detect",
        variant="v1",
        alpha=0.25,
        resolution=32,
        weights="random",
        data=str(photos),
        int8=True,
        effort="fast",
        post_processing=request.param,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(recipe, folder / "built", lambda *_: None)
        ship(folder / "built", "raspberry-pi", folder / "bundle", Release())
    return folder


def _detect(pi: Path, *arguments: object) -> list[dict]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, pi / "bundle" / "detect.py", "--json", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120, cwd=pi / "bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_it_finds_what_mnedge_finds(pi: Path, photos: Path, suffix: str, tmp_path: Path) -> None:
    dataset = open_boxes(photos)
    path = pi / "bundle" / f"{_SLUG}.int8.{suffix}"
    rows = _detect(pi, photos, "--model", path, "--least", 0.3, "--draw", tmp_path / "drawn")
    assert [Path(row["picture"]).name for row in rows] == list(dataset.sources)
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 6
    found = 0
    for number, row in enumerate(rows):
        expected = _found(path, dataset.read(number, 32))
        boxes = np.array([entry["box"] for entry in row["objects"]]).reshape(-1, 4)
        assert [entry["index"] for entry in row["objects"]] == [index for index, _, _ in expected]
        assert [entry["label"] for entry in row["objects"]] == [dataset.classes[index] for index, _, _ in expected]
        corners = np.array([box for _, _, box in expected]).reshape(-1, 4)
        np.testing.assert_allclose(boxes, corners * [60, 80, 60, 80], atol=0.01)
        found += len(expected)
    assert found > 0


def _found(path: Path, pixels: np.ndarray) -> list[tuple[int, float, np.ndarray]]:
    """By mnedge: of raw outputs its decoder, otherwise the file's own objects."""
    session = runtimes.get(runtimes.for_file(path)).open(path, 1)
    outputs = session.run(encode(pixels[None], session.input))
    real = [decode(output[0], spec) for output, spec in zip(outputs, session.outputs, strict=True)]
    if len(real) == 4:
        rows = range(int(real[3]))
        every = [(int(real[1][row]), float(real[2][row]), np.clip(real[0][row], 0, 1)) for row in rows]
    else:
        objects = detect(real[1], real[0], decoding_of(path))
        every = list(zip(objects.classes.tolist(), objects.scores.tolist(), objects.corners, strict=True))
    return [one for one in every if one[1] >= 0.3]


def test_the_bundle_says_how_it_is_run(pi: Path) -> None:
    about = json.loads((pi / "bundle" / "model.json").read_text())
    assert about["fit"] == "stretch"
    assert len(about["detection"]["sides"]) == 6
    assert "detect.py photo.jpg" in (pi / "bundle" / "README.md").read_text()
    assert "detect.py --camera" in (pi / "bundle" / f"{_SLUG}.service").read_text()
