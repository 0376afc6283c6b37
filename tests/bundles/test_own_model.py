"""Bundles of models that were not built here: other ranges, orders, proportions and heads than a MobileNet's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge import devices
from mnedge.bundles._bundle import described
from mnedge.data import open_dataset
from mnedge.errors import UnsupportedError
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import CHANNELS, Pixels
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import TensorSpec, takes_pixels
from mnedge.validation.predict import predict
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle, read_build
from mnedge.workflows.release import Release

if TYPE_CHECKING:
    from mnedge.choices import IoDtype
    from mnedge.validation.predict import Predictions

pytestmark = pytest.mark.slow

_CLASSES = ("dark", "light")
# Enough of Arduino to run a sketch here: what it prints goes to standard output.
_ARDUINO = """
#include <cstdio>
#include <cstdint>
struct HardwareSerial {
    void begin(long) {}
    void print(const char *text) { std::printf("%s", text); }
    void print(char one) { std::printf("%c", one); }
    void print(unsigned long number) { std::printf("%lu", number); }
    void println(const char *text) { std::printf("%s\\n", text); }
};
static HardwareSerial Serial;
static unsigned long micros() { return 0; }
static void delay(unsigned long) {}
"""
_MAIN = """
int main() {
    for (int turn = 0; turn < 2; turn++) {
        for (unsigned at = 0; at < sizeof picture; at++) picture[at] = (int8_t)(turn ? 127 : -128);
        loop();
    }
    return 0;
}
"""


@dataclass(frozen=True)
class _Case:
    """A model: its range, the size and the head."""

    pixels: str
    size: tuple[int, int]
    head: str
    io: IoDtype = "int8"


_CASES = {
    "unit": _Case("0..1", (16, 16), "softmax"),
    "grey": _Case("0..255 GREY", (12, 20), "sigmoid"),
    "caffe": _Case("caffe", (20, 12), "logits"),
    "float ends": _Case("imagenet", (16, 16), "softmax", io="float32"),
}


def _network(case: _Case) -> Graph:
    """Tells light pictures from dark ones by their mean, a float network."""
    pixels = Pixels.parse(case.pixels)
    channels, columns = CHANNELS[pixels.order], 1 if case.head == "sigmoid" else 2
    rng = np.random.default_rng(8)
    height, width = case.size
    # The first channel of the convolution is the brightness about its middle; the others are noise that is averaged.
    weights = rng.normal(0, 0.02, (4, 3, 3, channels)) / pixels.deviation[0] / np.asarray(pixels.scale).mean()
    weights[0] = 0
    weights[0, 1, 1] = 1 / channels / (255 * np.asarray(pixels.scale))
    low = np.mean(np.asarray(pixels.offset) / (255 * np.asarray(pixels.scale)))
    bias = np.array([-low - 0.5, 0.1, 0.1, 0.1])
    head = np.zeros((columns, 4))
    head[-1, 0] = 9
    last = {"softmax": "SOFTMAX", "sigmoid": "LOGISTIC", "logits": ""}[case.head]
    tensors = [
        Tensor("image", (1, height, width, channels), "float32"),
        constant("weights", weights.astype(np.float32)),
        constant("bias", bias.astype(np.float32)),
        Tensor("conv", (1, height, width, 4), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 4), "float32"),
        constant("head", head.astype(np.float32)),
        constant("head_bias", np.zeros(columns, np.float32)),
        Tensor("plain", (1, columns), "float32"),
        Tensor("scores", (1, columns), "float32"),
    ]
    conv = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    ops = [
        Op("CONV_2D", ("image", "weights", "bias"), ("conv",), {**conv, "activation": "NONE"}),
        Op("MEAN", ("conv", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "head", "head_bias"), ("plain",), {"activation": "NONE"}),
        *([Op(last, ("plain",), ("scores",), {"beta": 1.0} if last == "SOFTMAX" else {})] if last else []),
    ]
    output = "scores" if last else "plain"
    return Graph({one.name: one for one in tensors if last or one.name != "scores"}, tuple(ops), ("image",), (output,))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two proportions, dark and light ones."""
    root, chance = tmp_path_factory.mktemp("data"), np.random.default_rng(6)
    for index, name in enumerate(_CLASSES):
        (root / name).mkdir()
        for number in range(12):
            shape = (40, 60, 3) if number % 2 else (50, 30, 3)
            middle = 80 + 90 * index + chance.integers(-30, 30)
            pixels = np.clip(chance.normal(middle, 40, shape) + np.array([20, 0, -20]), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@dataclass(frozen=True)
class _Built:
    case: _Case
    folder: Path
    data: Path

    def bundle(self, kind: str) -> Path:
        out = self.folder.parent / kind
        if not out.exists():
            bundle(self.folder, kind, out, Release())
        return out


@pytest.fixture(scope="module")
def builds(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Built]:
    found = {}
    for name, case in _CASES.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        (folder / "net.tflite").write_bytes(write_tflite(_network(case)))
        recipe = Recipe(
            model=str(folder / "net.tflite"), data=str(data), pixels=case.pixels, int8=True, effort="fast",
            io=case.io, targets=("cpu", "android", "generic"),
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
            build(recipe, folder / "built", lambda *_: None)
        found[name] = _Built(case, folder / "built", data)
    return found


@pytest.fixture(params=list(_CASES))
def built(request: pytest.FixtureRequest, builds: dict[str, _Built]) -> _Built:
    return builds[request.param]


def _rows(pi: Path, *arguments: object) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", pi / "classify.py", "--json", "--top", "2", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _said(model: Path, data: Path) -> tuple[Predictions, list[Path]]:
    dataset = open_dataset(str(data))
    numbers = np.arange(len(dataset.labels))
    return predict(model, dataset, numbers, device=devices.get("local")), [data / name for name in dataset.sources]


@pytest.mark.parametrize("suffix", ["int8.tflite", "int8.onnx"])
def test_the_program_says_what_validate_says(built: _Built, suffix: str) -> None:
    pi = built.bundle("raspberry-pi")
    said, pictures = _said(pi / f"net.{suffix}", built.data)
    rows = _rows(pi, "--model", pi / f"net.{suffix}", *pictures)
    outputs = said.outputs
    if built.case.head == "sigmoid":
        assert [row["classes"][0]["label"] for row in rows] == ["light"] * 24
        assert [row["classes"][0]["yes"] for row in rows] == (outputs[:, 0] >= 0.5).tolist()
        assert 0 < sum(row["classes"][0]["yes"] for row in rows) < 24
    else:
        if built.case.head == "logits":
            outputs = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        assert [row["classes"][0]["index"] for row in rows] == outputs.argmax(1).tolist()
    found = [[entry["score"] for entry in sorted(row["classes"], key=lambda one: one["index"])] for row in rows]
    np.testing.assert_allclose(found, outputs, atol=1e-5)
    # The network knows light from dark, so that a wrong range, order or part of the picture would show.
    right = (outputs[:, -1] >= 0.5) == (said.labels == 1)
    assert right.mean() > 0.9


def test_another_model_is_taken_where_model_json_says_its_pixels(builds: dict[str, _Built], tmp_path: Path) -> None:
    for name in ("unit", "grey", "caffe"):
        pi = Path(shutil.copytree(builds[name].bundle("raspberry-pi"), tmp_path / name))
        model = Path(shutil.copy(builds[name].folder / "net.fp32.tflite", pi))
        said, pictures = _said(model, builds[name].data)
        done = subprocess.run([sys.executable, "-I", pi / "classify.py", "--model", model, *pictures],
                              capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
        assert done.returncode == 2
        assert "does not say what a picture is to net.fp32.tflite; it does of net.int8.tflite" in done.stderr
        about = json.loads((pi / "model.json").read_text())
        pixels = pixels_of(model)
        assert pixels is not None
        about["models"][model.name] = described(pixels)
        (pi / "model.json").write_text(json.dumps(about))
        rows = _rows(pi, "--model", model, *pictures)
        found = [[entry["score"] for entry in sorted(row["classes"], key=lambda one: one["index"])] for row in rows]
        outputs = said.outputs
        if name == "caffe":
            outputs = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        np.testing.assert_allclose(found, outputs, atol=1e-4)


def test_a_yes_or_no_is_said_in_words(builds: dict[str, _Built]) -> None:
    pi = builds["grey"].bundle("raspberry-pi")
    done = subprocess.run(
        [sys.executable, "-I", pi / "classify.py", builds["grey"].data / "dark"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert re.search(r": light no 0\.\d{3} \(", done.stdout)
    assert (pi / "labels.txt").read_text() == "light\n"


def test_onnx_runtime_is_told_the_range(built: _Built) -> None:
    mobile = built.bundle("onnxruntime-mobile")
    pixels = pixels_of(mobile / "net.int8.onnx")
    assert pixels is not None
    about = json.loads((mobile / "model.json").read_text())
    assert (about["height"], about["width"]) == built.case.size
    assert Pixels(tuple(about["pixels"]["scale"]), tuple(about["pixels"]["offset"]), about["pixels"]["order"]) == pixels
    text = (mobile / "README.md").read_text()
    assert f"Input: float32, {pixels.formula}" in text
    assert "127.5" not in text
    assert ("channels" in text) == (pixels.order != "RGB")


def test_the_header_says_how_a_picture_becomes_the_input(built: _Built) -> None:
    (folder,) = built.folder.glob("net.generic")
    header = (folder / "net.h").read_text()
    pixels = pixels_of(folder)
    assert pixels is not None
    height, width = built.case.size
    assert f"a picture of {height} rows of {width} pixels, from the top left, {_layout(pixels)}" in header
    assert f"real = {pixels.formula}. */" in header
    assert ("Each step is pixel - 128" in header) == (built.case.io == "int8")


def _layout(pixels: Pixels) -> str:
    return "grey, one byte a pixel" if pixels.order == "GREY" else f"{pixels.order}, interleaved"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_sketch_of_one_output_says_yes_or_no(builds: dict[str, _Built], tmp_path: Path) -> None:
    library = builds["grey"].bundle("microcontroller") / "arduino" / "net"
    sketch = (library / "examples" / "classify" / "classify.ino").read_text()
    assert "// grey, row by row; an int8 model takes pixel - 128" in sketch
    (tmp_path / "app.cpp").write_text(_ARDUINO + sketch + _MAIN)
    subprocess.run(["gcc", "-std=gnu11", "-c", library / "src" / "net.c", "-o", tmp_path / "net.o"], check=True)
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror"]
    parts: list[str | Path] = ["-I", library / "src", tmp_path / "app.cpp", tmp_path / "net.o", "-o", tmp_path / "app"]
    subprocess.run(["g++", *flags, *parts], check=True)
    said = subprocess.run([tmp_path / "app"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[:2] for line in said] == [["light", "no"], ["light", "yes"]]


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize(
    ("name", "threshold", "words"),
    [
        ("grey", 0.0, [["light", "yes"], ["light", "yes"]]),
        ("grey", 1.0, [["light", "no"], ["light", "no"]]),
        ("unit", 0.5, [["dark"], ["light"]]),
        ("unit", 1.0, [["dark"], ["dark"]]),
        ("unit", 0.0, [["light"], ["light"]]),
        ("caffe", 0.0, [["light"], ["light"]]),
        ("caffe", 1.0, [["dark"], ["dark"]]),
    ],
)
def test_the_sketch_takes_the_threshold(
    builds: dict[str, _Built], tmp_path: Path, name: str, threshold: float, words: list[list[str]]
) -> None:
    bundle(builds[name].folder, "microcontroller", tmp_path / "mcu", Release(threshold=threshold))
    library = tmp_path / "mcu" / "arduino" / "net"
    sketch = (library / "examples" / "classify" / "classify.ino").read_text()
    (tmp_path / "app.cpp").write_text(_ARDUINO + sketch + _MAIN)
    subprocess.run(["gcc", "-std=gnu11", "-c", library / "src" / "net.c", "-o", tmp_path / "net.o"], check=True)
    parts: list[str | Path] = ["-I", library / "src", tmp_path / "app.cpp", tmp_path / "net.o", "-o", tmp_path / "app"]
    subprocess.run(["g++", "-std=gnu++11", "-Wall", "-Wextra", "-Werror", *parts], check=True)
    said = subprocess.run([tmp_path / "app"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[: len(words[0])] for line in said] == words


def test_programs_take_the_threshold_of_model_json(builds: dict[str, _Built], tmp_path: Path) -> None:
    for kind in ("raspberry-pi", "onnxruntime-mobile", "web", "android"):
        bundle(builds["unit"].folder, kind, tmp_path / kind, Release(threshold=0.0))
    abouts = [*tmp_path.glob("*/model.json"), *tmp_path.glob("android/assets/*.model.json")]
    assert [json.loads(path.read_text())["threshold"] for path in abouts] == [0.0] * 4
    dark = builds["unit"].data / "dark" / "0.png"
    assert _rows(builds["unit"].bundle("raspberry-pi"), dark)[0]["classes"][0]["label"] == "dark"
    assert _rows(tmp_path / "raspberry-pi", dark)[0]["classes"][0]["label"] == "light"
    assert _rows(tmp_path / "raspberry-pi", "--threshold", "1", dark)[0]["classes"][0]["label"] == "dark"
    assert "from a probability of 0 on it is light" in (tmp_path / "onnxruntime-mobile" / "README.md").read_text()


def test_an_app_gets_the_range_in_the_models_metadata(builds: dict[str, _Built]) -> None:
    android = builds["unit"].bundle("android")
    graph = read_tflite(android / "assets" / "net.uint8.tflite")
    source = graph.tensors[graph.inputs[0]]
    assert takes_pixels(TensorSpec("", source.shape, source.dtype, source.quantization), Pixels.between(0, 1))
    # Where nothing of mnedge's own is read, the normalization says the range: mean 0, deviation 255.
    assert np.array([255], np.float32).tobytes() in graph.metadata[BUFFER]
    assert np.array([127.5], np.float32).tobytes() not in graph.metadata[BUFFER]
    assert "pixel / 255." in (android / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("grey", "android", "takes GREY pictures, and MediaPipe and ML Kit hand over RGB"),
        ("caffe", "android", "takes BGR pictures"),
        ("float ends", "android", "steps are not 8-bit pixels .*--io int8"),
        ("float ends", "microcontroller", "steps are no pixels .*--io int8"),
    ],
)
def test_what_cannot_be_shipped_yet_is_refused_with_a_way_out(
    builds: dict[str, _Built], tmp_path: Path, name: str, kind: str, words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        bundle(builds[name].folder, kind, tmp_path / "out", Release())
    assert not (tmp_path / "out").exists()


def test_numbers_are_no_classes(builds: dict[str, _Built], tmp_path: Path) -> None:
    from dataclasses import replace

    from mnedge import bundles

    parts, _ = read_build(builds["unit"].folder, Release())
    for kind in ("android", "raspberry-pi", "microcontroller"):
        with pytest.raises(UnsupportedError, match="gives numbers"):
            bundles.get(kind).write(replace(parts, head="numbers", labels=()), tmp_path)
