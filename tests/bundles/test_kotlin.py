"""The Kotlin of Android bundles: compiled against stubs of the public signatures, and run on the JVM against Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import Parts
from mnedge.bundles._android_runtimes import NAMES
from mnedge.bundles.android import kotlin_of, model_json
from mnedge.data.detections import METADATA as DETECTION
from mnedge.data.detections import Decoding, detect, metadata_of
from mnedge.data.preprocess import Preprocessing, fit, rgb
from mnedge.errors import UnsupportedError
from mnedge.formats.tflite_write import write_tflite
from mnedge.pixels import SYMMETRIC

if TYPE_CHECKING:
    from mnedge.choices import AndroidRuntime
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head

pytestmark = pytest.mark.slow

_STUBS = Path(__file__).parent / "android_stubs"
# Android's own org.json, and the part of Kotlin's library that closes what is AutoCloseable.
_JARS = [Path("/usr/share/java") / name for name in ("com.android.json.jar", "kotlin-stdlib-jdk7.jar")]
# ONNX Runtime's Kotlin differs from LiteRT's in the engine alone.
_APPS: tuple[tuple[str, AndroidRuntime], ...] = (
    ("classify", "tasks"), ("classify", "litert"), ("classify", "onnx"), ("detect", "tasks"), ("detect", "litert"),
    ("segment", "tasks"), ("segment", "litert"), ("embed", "tasks"), ("embed", "litert"),
)  # fmt: skip
_PARTS = Parts(
    slug="net_1.0_8", task="classify", size=(8, 8), pixels=SYMMETRIC, takes_pixels=True, head="softmax",
    labels=("a", "b", "c", "100 % d"), preprocessing={"crop_fraction": 0.875, "interpolation": "bilinear"}, tools={},
    tflite=lambda _io: b"", onnx=None, sources={}, group="in.example", version="1.0.0", license="terms",
)  # fmt: skip
_READ = """
import java.io.File

fun main() {
    val context = android.content.Context()
    val reader = @PACKAGE@.PictureReader(@PACKAGE@.ModelFile(context))
    val folder = File(System.getProperty("assets"))
    val (width, height) = File(folder, "size").readText().split(" ").map { it.toInt() }
    val bytes = java.nio.ByteBuffer.wrap(File(folder, "argb").readBytes()).asIntBuffer()
    val argb = IntArray(bytes.remaining()).also { bytes.get(it) }
    val picture = android.graphics.Bitmap.createBitmap(argb, width, height, android.graphics.Bitmap.Config.ARGB_8888)
    File(folder, "rgb").writeBytes(reader.read(picture))
    if (File(folder, "scores").isFile) {
        val file = @PACKAGE@.ModelFile(context)
        val scores = File(folder, "scores").readText().split(" ").map { it.toFloat() }
        val found = file.ordered(scores.mapIndexed { index, score -> file.labels[index] to score })
        File(folder, "ordered").writeText(found.joinToString(" ") { it.first })
    }
    if (File(folder, "output0").isFile) {
        val detector = @PACKAGE@.Detector(context)
        File(folder, "found").writeText(detector.detect(picture, 0.3f).joinToString("\\n") {
            "${it.label} ${it.score} ${it.box.top} ${it.box.left} ${it.box.bottom} ${it.box.right}"
        })
    }
}
"""


def _package(task: str, runtime: AndroidRuntime) -> Parts:
    return replace(_PARTS, task=task, runtime=runtime, slug=f"net_{task}_{runtime}")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiles the Kotlin of tasks and runtimes, each in a package of its own, and a program that runs it."""
    if not all(map(shutil.which, ("kotlinc", "javac", "java"))) or not all(path.is_file() for path in _JARS):
        pytest.skip("no Kotlin compiler: apt install kotlin default-jdk-headless libandroid-json-java")
    place = tmp_path_factory.mktemp("kotlin")
    stubs = place / "stubs"
    subprocess.run(["javac", "-d", str(stubs), *map(str, _STUBS.rglob("*.java"))], check=True)
    assert {runtime for _, runtime in _APPS} == set(NAMES)
    for task, runtime in _APPS:
        folder = place / task / runtime
        folder.mkdir(parents=True)
        for name, code in kotlin_of(_package(task, runtime)).items():
            (folder / name).write_text(code)
    (place / "Main.kt").write_text(_READ.replace("@PACKAGE@", "`in`.example.net_detect_litert"))
    path = ":".join(map(str, [stubs, *_JARS]))
    command = ["kotlinc", "-nowarn", "-cp", path, str(place), "-include-runtime", "-d", str(place / "all.jar")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if "error:" in line]
    assert done.returncode == 0, "\n".join(said)
    return place


def _run(classes: Path, folder: Path, picture: Image.Image) -> np.ndarray:
    """Gives the RGB that PictureReader makes of a picture, by model.json of the folder."""
    red, green, blue, alpha = np.moveaxis(np.asarray(picture.convert("RGBA")).astype(np.uint32), -1, 0)
    argb = alpha << 24 | red << 16 | green << 8 | blue
    (folder / "argb").write_bytes(argb.astype(">u4").tobytes())
    (folder / "size").write_text(f"{picture.width} {picture.height}")
    path = ":".join(map(str, [classes / "all.jar", classes / "stubs", *_JARS]))
    subprocess.run(["java", f"-Dassets={folder}", "-cp", path, "MainKt"], check=True)
    about = json.loads(next(folder.glob("*.model.json")).read_text())
    return np.fromfile(folder / "rgb", np.uint8).reshape(about["height"], about["width"], 3)


def _picture(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 4), np.uint8), "RGBA").resize(size, Image.Resampling.BICUBIC)
    noise = rng.integers(-20, 20, (*np.asarray(coarse).shape,))
    made = Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8), "RGBA")
    return made if mode == "RGBA" else made.convert(mode)


@pytest.mark.parametrize(
    ("mode", "size", "shape", "preprocessing"),
    [
        ("RGB", (640, 480), (96, 96), Preprocessing()),
        ("RGB", (33, 50), (48, 64), Preprocessing(1.0, "bilinear", "crop")),
        ("RGB", (200, 131), (96, 64), Preprocessing(0.9, "bicubic", "stretch")),
        ("RGBA", (70, 41), (24, 24), Preprocessing(0.875, "bilinear", "crop")),
        ("RGB", (97, 64), (30, 20), Preprocessing(0.8, "nearest", "crop")),
        ("RGB", (16, 16), (16, 16), Preprocessing(1.0, "bicubic", "crop")),
    ],
)
def test_apps_read_pictures_as_they_were_measured(
    classes: Path,
    tmp_path: Path,
    small_int8: Graph,
    mode: str,
    size: tuple[int, int],
    shape: tuple[int, int],
    preprocessing: Preprocessing,
) -> None:
    said = {
        "crop_fraction": preprocessing.crop_fraction,
        "interpolation": preprocessing.interpolation,
        "fit": preprocessing.fit,
    }
    parts = replace(
        _package("classify", "litert"), size=shape, preprocessing=said, tflite=lambda _io: write_tflite(small_int8)
    )
    (tmp_path / "net_detect_litert.model.json").write_text(json.dumps(model_json(parts)))
    picture = _picture(mode, size, 3)
    made, due = _run(classes, tmp_path, picture), fit(rgb(picture), shape, preprocessing)
    # Pillow's releases differ in whether they resize rows or columns first, and each pass rounds.
    assert np.abs(made.astype(int) - due.astype(int)).max() <= 1
    assert (made == due).mean() > 0.7


@pytest.mark.parametrize(
    ("head", "threshold", "due"),
    [("softmax", None, "a b"), ("softmax", 0.25, "b a"), ("softmax", 0.5, "a b"), ("multi-label", 0.25, "a b")],
)
def test_an_app_names_the_second_of_two_classes_from_the_threshold_on(
    classes: Path, tmp_path: Path, small_int8: Graph, head: Head, threshold: float | None, due: str
) -> None:
    parts = replace(
        _package("classify", "litert"), labels=("a", "b"), head=head, threshold=threshold,
        preprocessing={"crop_fraction": 1.0, "interpolation": "bilinear", "fit": "crop"},
        tflite=lambda _io: write_tflite(small_int8),
    )  # fmt: skip
    (tmp_path / "net_detect_litert.model.json").write_text(json.dumps(model_json(parts)))
    (tmp_path / "scores").write_text("0.75 0.25")
    _run(classes, tmp_path, _picture("RGB", (8, 8), 0))
    assert (tmp_path / "ordered").read_text() == due


def test_an_app_finds_the_objects_that_python_finds(classes: Path, tmp_path: Path, small_int8: Graph) -> None:
    decoding = Decoding([(4, 5), (2, 2)], np.array([[[0.3, 0.2], [0.2, 0.4]], [[0.6, 0.5], [0.9, 0.8]]], np.float32))
    rng = np.random.default_rng(8)
    outputs = [
        rng.integers(-128, 128, (len(decoding.anchors), 4)).astype(np.int8),
        rng.integers(-60, 60, (len(decoding.anchors), 4)).astype(np.int8),
    ]
    parts = replace(_package("detect", "litert"), tflite=lambda _io: write_tflite(small_int8))
    about = {
        **model_json(replace(parts, task="classify")),
        "detection": json.loads(metadata_of(decoding)),
        "output_scales": [1 / 256, 0.1],
        "output_zero_points": [-128, 3],
    }
    (tmp_path / "net_detect_litert.model.json").write_text(json.dumps(about))
    for number, output in enumerate(outputs):
        (tmp_path / f"output{number}").write_bytes(output.tobytes())
    picture = _picture("RGB", (50, 40), 1)
    pixels = _run(classes, tmp_path, picture)
    given = np.fromfile(tmp_path / "input", np.int8).reshape(pixels.shape)
    np.testing.assert_array_equal(given, (pixels.astype(np.int16) - 128).astype(np.int8))
    rows = [line.rsplit(" ", 5) for line in (tmp_path / "found").read_text().splitlines()]
    limit = replace(decoding, least_score=0.3)
    scores = (outputs[0].astype(np.float32) + 128) / np.float32(256)
    due = detect((outputs[1].astype(np.float32) - np.float32(3)) * np.float32(0.1), scores, limit)
    assert len(rows) == len(due.classes) > 5
    assert [row[0] for row in rows] == [parts.labels[index] for index in due.classes]
    np.testing.assert_allclose([float(row[1]) for row in rows], due.scores, rtol=1e-6)
    corners = np.array([[float(value) for value in row[2:]] for row in rows])
    np.testing.assert_allclose(corners, due.corners * [40, 50, 40, 50], atol=1e-3)


def test_a_detector_without_anchors_has_no_kotlin_of_its_own(small_int8: Graph) -> None:
    parts = replace(_package("detect", "litert"), tflite=lambda _io: write_tflite(small_int8))
    with pytest.raises(UnsupportedError, match="--runtime tasks"):
        model_json(parts)
    decoding = Decoding([(1, 1)], np.array([[[0.3, 0.2]]], np.float32))
    told = replace(small_int8, metadata={DETECTION: metadata_of(decoding)})
    assert "detection" in model_json(replace(parts, runtime="tasks", tflite=lambda _io: write_tflite(told)))


def test_a_build_that_does_not_say_its_crop_is_refused(small_int8: Graph) -> None:
    parts = replace(_package("classify", "litert"), preprocessing={}, tflite=lambda _io: write_tflite(small_int8))
    with pytest.raises(UnsupportedError, match="the crop_fraction and interpolation of its pictures"):
        model_json(parts)
