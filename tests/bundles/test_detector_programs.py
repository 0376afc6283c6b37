"""Bundles of a detector: detect.py and the C decoder, as programs of their own, find what mnedge finds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge import runtimes
from mnedge.data.boxes import open_boxes
from mnedge.data.detections import detect
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode, encode
from mnedge.validation.detect import decoding_of
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

pytestmark = pytest.mark.slow

_SLUG = "ssdlite_mobilenet_v1_0.25_32"
_NAME = _SLUG.replace(".", "_")
_SANITIZERS = "-DCMAKE_C_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all"
_MAIN = """
#include <stdio.h>
#include "NAME.h"
#include "NAME_labels.h"
#include "NAME_objects.h"
static uint64_t arena[(UPPER_ARENA_BYTES + 7) / 8];
static int8_t picture[UPPER_INPUT_BYTES], output[UPPER_OUTPUT0_BYTES + UPPER_OUTPUT1_BYTES];
static NAME_object objects[UPPER_OBJECTS_MOST];
int main(void) {
    for (int at = 0; at < UPPER_INPUT_BYTES; at++) picture[at] = (int8_t)(at * 7);
    if (NAME_run(picture, output, arena)) return 1;
    const int found = NAME_objects(output, objects);
    for (int at = 0; at < found; at++) {
        const NAME_object *one = objects + at;
        if (one->score < 0.3f) continue;
        printf("%s %.6f ", NAME_labels[one->label], one->score);
        printf("%.6f %.6f %.6f %.6f\\n", one->y1, one->x1, one->y2, one->x2);
    }
    return 0;
}
"""
# Declarations only, so that the sketch is type-checked and compiled; linking is for the board's own package.
_ARDUINO = """
#include <stdint.h>
struct HardwareSerial { void begin(long); void print(const char *); void print(char); void print(unsigned long);
                        void print(float, int); void println(const char *); void println(); };
extern HardwareSerial Serial;
unsigned long micros();
void delay(unsigned long);
"""


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
def shipped(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
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
        targets=("cpu", "generic") if request.param == "outside" else ("cpu",),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(recipe, folder / "built", lambda *_: None)
        bundle(folder / "built", "raspberry-pi", folder / "bundle", Release())
        if request.param == "outside":
            bundle(folder / "built", "microcontroller", folder / "firmware", Release())
    return folder


def _detect(shipped: Path, *arguments: object) -> list[dict]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, shipped / "bundle" / "detect.py", "--json", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120, cwd=shipped / "bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_it_finds_what_mnedge_finds(shipped: Path, photos: Path, suffix: str, tmp_path: Path) -> None:
    dataset = open_boxes(photos)
    path = shipped / "bundle" / f"{_SLUG}.int8.{suffix}"
    rows = _detect(shipped, photos, "--model", path, "--least", 0.3, "--draw", tmp_path / "drawn")
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
    outputs = session.run(encode(pixels[None], session.input, SYMMETRIC))
    real = [decode(output[0], spec) for output, spec in zip(outputs, session.outputs, strict=True)]
    if len(real) == 4:
        rows = range(int(real[3]))
        every = [(int(real[1][row]), float(real[2][row]), np.clip(real[0][row], 0, 1)) for row in rows]
    else:
        objects = detect(real[1], real[0], decoding_of(path))
        every = list(zip(objects.classes.tolist(), objects.scores.tolist(), objects.corners, strict=True))
    return [one for one in every if one[1] >= 0.3]


def test_the_bundle_says_how_it_is_run(shipped: Path) -> None:
    about = json.loads((shipped / "bundle" / "model.json").read_text())
    assert about["fit"] == "stretch"
    assert len(about["detection"]["sides"]) == 6
    assert "detect.py photo.jpg" in (shipped / "bundle" / "README.md").read_text()
    assert "detect.py --camera" in (shipped / "bundle" / f"{_SLUG}.service").read_text()


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("gcc") is None, reason="no cmake and gcc")
def test_the_c_finds_what_mnedge_finds(shipped: Path, tmp_path: Path) -> None:
    if not (shipped / "firmware").is_dir():
        pytest.skip("C keeps its post-processing beside the network")
    (tmp_path / "main.c").write_text(_MAIN.replace("UPPER", _NAME.upper()).replace("NAME", _NAME))
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\n"
        f"add_subdirectory({shipped / 'firmware' / 'cmake'} model)\n"
        f"add_executable(app main.c)\ntarget_link_libraries(app PRIVATE {_NAME})\n"
    )
    subprocess.run(["cmake", _SANITIZERS, "-S", tmp_path, "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    said = subprocess.run([tmp_path / "b" / "app"], check=True, capture_output=True, text=True).stdout.split("\n")
    pixels = ((np.arange(32 * 32 * 3) * 7).astype(np.int8).astype(np.int16) + 128).astype(np.uint8).reshape(32, 32, 3)
    expected = _found(shipped / "firmware" / "cmake", pixels)
    rows = [line.split() for line in said if line]
    assert len(rows) == len(expected) > 0
    assert [row[0] for row in rows] == [("cup", "dog")[index] for index, _, _ in expected]
    np.testing.assert_allclose([float(row[1]) for row in rows], [score for _, score, _ in expected], atol=1e-4)
    np.testing.assert_allclose(
        [[float(at) for at in row[2:]] for row in rows], [box for _, _, box in expected], atol=1e-4
    )


@pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="no arm-none-eabi-g++")
def test_the_sketch_compiles_for_the_board(shipped: Path, tmp_path: Path) -> None:
    if not (shipped / "firmware").is_dir():
        pytest.skip("C keeps its post-processing beside the network")
    library = shipped / "firmware" / "arduino" / _NAME
    assert "detector of 2 classes" in (library / "library.properties").read_text()
    (tmp_path / "Arduino.h").write_text(_ARDUINO)
    sketch = (library / "examples" / "detect" / "detect.ino").read_text()
    (tmp_path / "sketch.cpp").write_text(f'#include "Arduino.h"\n{sketch}')
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os", "-Wall", "-Werror", "-c"]
    source = library / "src" / f"{_NAME}_objects.c"
    subprocess.run(
        ["arm-none-eabi-gcc", *flags, "-std=gnu11", source, "-o", tmp_path / "objects.o"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["arm-none-eabi-g++", *flags, "-std=gnu++11", "-I", library / "src", "-I", tmp_path, tmp_path / "sketch.cpp",
         "-o", tmp_path / "sketch.o"], check=True, capture_output=True,
    )  # fmt: skip
