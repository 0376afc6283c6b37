"""Bundles of segmenters and embeddings: their programs, run as they ship, say what mnedge says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.bundles.onnxruntime_mobile import BUNDLE
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode, encode
from mnedge.runtimes.litert import LiteRtSession
from mnedge.validation.segment import enlarged
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle, read_build
from mnedge.workflows.release import Release

pytestmark = pytest.mark.slow

_SIDE = 32
_LABELS = ("ground", "cat", "dog")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with masks, of which the first is twice as wide as high."""
    root = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(4)
    for number in range(6):
        shape = (40, 80) if number == 0 else (50, 60)
        for kind, pixels in (("images", chance.integers(0, 256, (*shape, 3))), ("masks", chance.integers(0, 3, shape))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(_LABELS) + "\n")
    return root


def _shipped(folder: Path, **recipe: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        network = Recipe(
            variant="v1",
            alpha=0.25,
            resolution=_SIDE,
            weights="random",
            int8=True,
            effort="fast",
            targets=("cpu", "generic"),
            **recipe,
        )
        build(network, folder / "built", lambda *_: None)
    bundle(folder / "built", "raspberry-pi", folder / "bundle", Release())
    return folder / "bundle"


def _run(shipped: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, shipped / program, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip


def _rows(shipped: Path, program: str, *arguments: object) -> list[dict[str, Any]]:
    done = _run(shipped, program, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=["outside", "inside"])
def segmenter(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("segmenter")
    return _shipped(where, task="segment", data=str(data), classes=3, post_processing=request.param)


def test_masks_are_those_that_are_validated(segmenter: Path, data: Path, tmp_path: Path) -> None:
    (model,) = segmenter.glob("*.int8.tflite")
    session = LiteRtSession(model, 1)
    rows = _rows(segmenter, "segment.py", "--masks", tmp_path, data / "images")
    dataset = tasks.get("segment").open_dataset(str(data))
    assert len(rows) == 6
    for number, row in enumerate(rows):
        output = decode(
            session.run(encode(dataset.read(number, _SIDE)[None], session.input, SYMMETRIC))[0], session.outputs[0]
        )[0]
        mask = np.asarray(Image.open(tmp_path / f"{number}.png"))
        assert mask.shape == ((40, 80) if number == 0 else (50, 60))
        expected = enlarged(output, mask.shape, is_indices=output.ndim == 2)
        # Scores of random weights may tie to the last bit.
        assert (mask == expected).mean() > 0.99
        assert [entry["label"] for entry in row["classes"]] == list(_LABELS)
        shares = [entry["fraction"] for entry in row["classes"]]
        np.testing.assert_allclose(shares, np.bincount(mask.ravel(), minlength=3) / mask.size, atol=1e-6)


def test_the_onnx_model_segments_alike(segmenter: Path, data: Path) -> None:
    (onnx,) = segmenter.glob("*.int8.onnx")
    picture = data / "images" / "0.png"
    shares = [
        [entry["fraction"] for entry in _rows(segmenter, "segment.py", *model, picture)[0]["classes"]]
        for model in ((), ("--model", onnx))
    ]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.1)


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _shipped(tmp_path_factory.mktemp("embedding"), task="embed", classes=16)


def test_similarities_are_cosines_of_what_the_model_says(embedding: Path, data: Path, tmp_path: Path) -> None:
    shipped = Path(shutil.copytree(embedding, tmp_path / "shipped"))
    (model,), (onnx,) = shipped.glob("*.int8.tflite"), shipped.glob("*.int8.onnx")
    rows = _rows(shipped, "embed.py", data / "images")
    vectors = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert rows[0]["similarity"] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose([row["similarity"] for row in rows], vectors @ vectors[0], atol=1e-5)
    about = json.loads((shipped / "model.json").read_text())
    assert about["model"] == model.name
    assert not (shipped / "labels.txt").exists()
    session = LiteRtSession(model, 1)
    dataset = tasks.get("segment").open_dataset(str(data))
    Image.fromarray(dataset.read(0, _SIDE)).save(tmp_path / "square.png")
    (shipped / "model.json").write_text(json.dumps({**about, "crop_fraction": 1.0}))
    (row,) = _rows(shipped, "embed.py", tmp_path / "square.png")
    own = decode(session.run(encode(dataset.read(0, _SIDE)[None], session.input, SYMMETRIC))[0], session.outputs[0])[0]
    np.testing.assert_allclose(row["embedding"], own / np.linalg.norm(own), atol=1e-5)
    (again,) = _rows(shipped, "embed.py", "--model", onnx, tmp_path / "square.png")
    assert float(np.dot(again["embedding"], row["embedding"])) > 0.9


def test_a_broken_picture_is_told_and_the_rest_done(
    segmenter: Path, embedding: Path, data: Path, tmp_path: Path
) -> None:
    pictures = Path(shutil.copytree(data / "images", tmp_path / "pictures"))
    (pictures / "2.png").write_bytes((pictures / "2.png").read_bytes()[:200])
    for shipped, program in ((segmenter, "segment.py"), (embedding, "embed.py")):
        done = _run(shipped, program, pictures)
        assert done.returncode == 1
        assert f"{pictures / '2.png'}: " in done.stderr
        assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
            str(pictures / f"{number}.png") for number in (0, 1, 3, 4, 5)
        ]


def test_pictures_or_the_camera(segmenter: Path, embedding: Path) -> None:
    for shipped, program in ((segmenter, "segment.py"), (embedding, "embed.py")):
        for arguments in ((), ("a.png", "--camera")):
            done = _run(shipped, program, *arguments)
            assert done.returncode == 2
            assert f"{program}: error: give pictures, or --camera" in done.stderr


# Enough of Arduino to run a sketch here: what it prints goes to standard output.
_ARDUINO = """
#include <cstdio>
#include <cstdint>
struct HardwareSerial {
    void begin(long) {}
    void print(const char *text) { std::printf("%s", text); }
    void print(char one) { std::printf("%c", one); }
    void print(unsigned long number) { std::printf("%lu", number); }
    void print(float number, int digits) { std::printf("%.*f", digits, (double)number); }
    void println(const char *text) { std::printf("%s\\n", text); }
    void println() { std::printf("\\n"); }
};
static HardwareSerial Serial;
static unsigned long micros() { return 0; }
static void delay(unsigned long) {}
"""
_MAIN = """
int main() {
    setup();
    for (int turn = 0; turn < 2; turn++) {
        for (unsigned at = 0; at < sizeof picture; at++) picture[at] = (int8_t)(at * 7 * (turn + 1));
        loop();
    }
    return 0;
}
"""


def _sketch_says(built: Path, task: str, folder: Path) -> tuple[list[str], list[np.ndarray]]:
    """What the sketch of a firmware bundle prints for two pictures, and those pictures as the model takes them."""
    bundle(built, "microcontroller", folder / "firmware", Release())
    (library,) = (path for path in (folder / "firmware" / "arduino").iterdir() if path.is_dir())
    sketch = (library / "examples" / task / f"{task}.ino").read_text()
    (folder / "app.cpp").write_text(_ARDUINO + sketch + _MAIN)
    (source,) = (library / "src").glob("*.c")
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", "-std=gnu11", "-O1", *sanitizers, "-c", source, "-o", folder / "model.o"], check=True)
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", *sanitizers]
    parts: list[str | Path] = ["-I", library / "src", folder / "app.cpp", folder / "model.o", "-o", folder / "app"]
    subprocess.run(["g++", *flags, *parts], check=True)
    done = subprocess.run([folder / "app"], check=True, capture_output=True, text=True)
    steps = np.arange(_SIDE * _SIDE * 3)
    pictures = [(steps * 7 * turn).astype(np.int8).reshape(1, _SIDE, _SIDE, 3) for turn in (1, 2)]
    return done.stdout.splitlines(), pictures


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_sketch_of_a_segmenter_counts_the_pixels(segmenter: Path, tmp_path: Path) -> None:
    built = segmenter.parent / "built"
    said, pictures = _sketch_says(built, "segment", tmp_path)
    (model,) = segmenter.glob("*.int8.tflite")
    session = LiteRtSession(model, 1)
    rows = [line.split() for line in said if line.endswith("%")]
    assert [row[0] for row in rows] == [*_LABELS, *_LABELS]
    for place, picture in enumerate(pictures):
        output = decode(session.run(picture)[0], session.outputs[0])[0]
        found = np.asarray(output if output.ndim == 2 else output.argmax(axis=-1), np.int64)
        shares = 100 * np.bincount(found.ravel(), minlength=3) / found.size
        # Kernels differ by a step, which may turn a pixel.
        np.testing.assert_allclose([float(row[1]) for row in rows[3 * place : 3 * place + 3]], shares, atol=3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_sketch_of_an_embedding_compares(embedding: Path, tmp_path: Path) -> None:
    said, pictures = _sketch_says(embedding.parent / "built", "embed", tmp_path)
    assert not list((tmp_path / "firmware").rglob("*_labels.h"))
    (model,) = embedding.glob("*.int8.tflite")
    session = LiteRtSession(model, 1)
    one, two = (decode(session.run(picture)[0], session.outputs[0])[0] for picture in pictures)
    alike = float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
    assert said[0].startswith("alike 1.000")
    assert float(said[1].split()[1]) == pytest.approx(alike, abs=0.05)


def test_the_bundle_for_onnxruntime_keeps_what_the_model_holds(embedding: Path, tmp_path: Path) -> None:
    import onnx

    (path,) = embedding.glob("*.int8.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="MNEDGE_DETECTION", value="anchors")
    parts, _ = read_build(embedding.parent / "built", Release())
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "phone").mkdir()
    BUNDLE.write(replace(parts, onnx=tmp_path / "m.onnx"), tmp_path / "phone")
    (made,) = (tmp_path / "phone").glob("*.onnx")
    held = {entry.key: entry.value for entry in onnx.load(made).metadata_props}
    assert held["MNEDGE_DETECTION"] == "anchors"
    assert held["name"] == parts.slug


def test_the_bundle_for_onnxruntime_says_what_comes_out(embedding: Path, tmp_path: Path) -> None:
    bundle(embedding.parent / "built", "onnxruntime-mobile", tmp_path / "phone", Release())
    text = (tmp_path / "phone" / "README.md").read_text()
    assert "Output: a vector of length 1." in text
    assert "labels" not in text
    assert "@" not in text
    assert not list((tmp_path / "phone").glob("*.labels.txt"))
