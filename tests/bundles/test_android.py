"""The Android bundle, read by others: LiteRT, zipfile, MediaPipe, Maven's layout, aapt and zipalign."""

import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mnedge.bundles._metadata import Description, metadata_bytes
from mnedge.choices import AndroidRuntime
from mnedge.data import open_dataset
from mnedge.errors import InputError
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_read import read_tflite
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify

_SLUG = "mobilenet_v1_0.25_48"
_RELEASE = Release(group="com.example.ml", version="2.3.4", license="CC-BY-4.0 & more")
_MEDIAPIPE = """
import json, sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision
model, *pictures = sys.argv[1:]
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=10)
found = []
with vision.ImageClassifier.create_from_options(options) as classifier:
    for picture in pictures:
        result = classifier.classify(mediapipe.Image.create_from_file(picture))
        found.append([(row.index, row.category_name, row.score) for row in result.classifications[0].categories])
print("RESULT" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_litert(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for LiteRT's CompiledModel."""
    out = tmp_path_factory.mktemp("litert") / "bundle"
    bundle(built, "android", out, replace(_RELEASE, runtime="litert"))
    return out


@pytest.fixture(scope="module")
def android(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("android") / "bundle"
    bundle(built, "android", out, _RELEASE)
    return out


def _run(model: Path, pixels: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def _pixels(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((48, 48), Image.Resampling.NEAREST))


@pytest.mark.slow
def test_the_uint8_model_says_what_the_int8_one_says(android: Path, on_litert: Path) -> None:
    for seed in range(5):
        pixels = _pixels(seed)
        eight = _run(android / "assets" / f"{_SLUG}.uint8.tflite", pixels)
        int8 = _run(on_litert / "assets" / f"{_SLUG}.int8.tflite", (pixels.astype(np.int16) - 128).astype(np.int8))
        assert eight.dtype == np.uint8
        np.testing.assert_array_equal(eight.astype(np.int16) - 128, int8)


@pytest.mark.slow
def test_labels_are_a_zip_behind_the_model(android: Path) -> None:
    with zipfile.ZipFile(android / "assets" / f"{_SLUG}.uint8.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode().split() == [str(digit) for digit in range(10)]


def test_the_metadata_is_where_readers_look(android: Path) -> None:
    data = read_tflite(android / "assets" / f"{_SLUG}.uint8.tflite").metadata[BUFFER]
    assert data[4:8] == b"M001"
    for said in (b"CC-BY-4.0 & more", b"2.3.4", b"labels.txt", _SLUG.encode()):
        assert said in data


@functools.cache
def _mediapipe_python() -> str:
    """A Python whose MediaPipe can be loaded, which takes libEGL and libGLES as well."""
    chosen = os.environ.get("MNEDGE_MEDIAPIPE_PYTHON", sys.executable)
    script = "from mediapipe.tasks.python import vision"
    done = subprocess.run([chosen, "-c", script], capture_output=True, text=True, check=False, env=_plain_environment())
    if done.returncode != 0:
        pytest.skip(f"no MediaPipe: pip install 'mnedge[bundle-test]' ({done.stderr.strip().splitlines()[-1]})")
    return chosen


def _plain_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def _ask_mediapipe(model: Path, pictures: list[Path], script: str = _MEDIAPIPE) -> Any:
    done = subprocess.run(
        [_mediapipe_python(), "-c", script, model, *pictures],
        capture_output=True,
        text=True,
        check=False,
        env=_plain_environment(),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("RESULT")[2])


def test_mediapipe_classifies_with_the_labels(android: Path, tmp_path: Path) -> None:
    model = android / "assets" / f"{_SLUG}.uint8.tflite"
    pictures = []
    for seed in range(3):
        Image.fromarray(_pixels(seed)).save(tmp_path / f"{seed}.png")
        pictures.append(tmp_path / f"{seed}.png")
    for seed, rows in enumerate(_ask_mediapipe(model, pictures)):
        own = _run(model, _pixels(seed))
        assert len(rows) == 10
        for index, label, score in rows:
            assert label == str(index)
            assert score == pytest.approx(own[index] / 256, abs=1.01 / 256)


@pytest.mark.shared
@pytest.mark.soak
def test_mediapipe_sees_in_real_photos_what_the_int8_model_sees(shared_data: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        variant="v1", alpha=0.25, int8=True, effort="fast", targets=("android",),
        weights=str(shared_data / "weights" / "mobilenet_2_5_224_tf.h5"),
        data=str(shared_data / "imagenet" / "labels.csv"),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
        report = build(recipe, tmp_path / "out", lambda *_: None)
    bundle(tmp_path / "out", "android", tmp_path / "bundle", Release())
    dataset = open_dataset(recipe.data)
    numbers = dataset.split("eval", 20)
    pixels, labels = dataset.pixels(numbers, 224)
    pictures = [tmp_path / f"{number}.png" for number in numbers]
    for picture, image in zip(pictures, pixels, strict=True):
        Image.fromarray(image).save(picture)
    assets = tmp_path / "bundle" / "assets"
    answers = _ask_mediapipe(assets / f"{report.slug}.uint8.tflite", pictures)
    right = 0
    for rows, image, label in zip(answers, pixels, labels, strict=True):
        scores = _run(tmp_path / "out" / f"{report.slug}.int8.tflite", (image.astype(np.int16) - 128).astype(np.int8))
        best = scores.max()
        assert scores[rows[0][0]] == best
        assert rows[0][2] == pytest.approx((int(best) + 128) / 256, abs=1e-3)
        right += rows[0][0] == label
    assert right >= 6


def test_mediapipe_metadata_reader_understands_every_field(tmp_path: Path) -> None:
    described = Description("name", "text", "9.8", "who", "terms", (48, 48), SYMMETRIC, ("a", "b"))
    (tmp_path / "m").write_bytes(metadata_bytes(described))
    script = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
root = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(open(sys.argv[1], "rb").read(), 0))
graph = root.subgraphMetadata[0]
image, scores = graph.inputTensorMetadata[0], graph.outputTensorMetadata[0]
text = lambda value: value.decode()
print("RESULT" + json.dumps({
    "model": [text(root.name), text(root.description), text(root.version), text(root.author), text(root.license),
              text(root.minParserVersion)],
    "colour": image.content.contentProperties.colorSpace,
    "size": [image.content.contentProperties.defaultSize.width, image.content.contentProperties.defaultSize.height],
    "normalization": [list(image.processUnits[0].options.mean), list(image.processUnits[0].options.std)],
    "stats": [list(image.stats.min), list(image.stats.max), list(scores.stats.min), list(scores.stats.max)],
    "labels": [text(scores.associatedFiles[0].name), scores.associatedFiles[0].type],
    "content": [image.content.contentPropertiesType, scores.content.contentPropertiesType],
}, default=float))
"""
    assert _ask_mediapipe(tmp_path / "m", [], script) == {
        "model": ["name", "text", "9.8", "who", "terms", "1.0.0"],
        "colour": 1,
        "size": [48, 48],
        "normalization": [[127.5], [127.5]],
        "stats": [[0.0], [255.0], [0.0], [255.0]],
        "labels": ["labels.txt", 2],
        "content": [2, 1],
    }


def _aar(android: Path) -> Path:
    return android / "maven" / "com" / "example" / "ml" / _SLUG / "2.3.4" / f"{_SLUG}-2.3.4.aar"


def test_the_aar_holds_the_assets_uncompressed_and_no_code(android: Path) -> None:
    with zipfile.ZipFile(_aar(android)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        for path in (android / "assets").iterdir():
            assert archive.read(f"assets/{path.name}") == path.read_bytes()
        manifest = ET.fromstring(archive.read("AndroidManifest.xml"))  # noqa: S314 - our own file
        with zipfile.ZipFile(io.BytesIO(archive.read("classes.jar"))) as classes:
            assert classes.namelist() == ["META-INF/MANIFEST.MF"]
        assert archive.read("R.txt") == b""
        assert not [name for name in archive.namelist() if name.endswith((".so", ".dex", ".class"))]
    assert manifest.attrib["package"] == "com.example.ml.mobilenet_v1_0_25_48"
    sdk = manifest.find("uses-sdk")
    assert sdk is not None
    assert sdk.attrib["{http://schemas.android.com/apk/res/android}minSdkVersion"] == "24"


def test_the_repository_is_mavens(android: Path) -> None:
    place = _aar(android).parent
    spaces = {"m": "http://maven.apache.org/POM/4.0.0"}
    pom = ET.parse(place / f"{_SLUG}-2.3.4.pom").getroot()  # noqa: S314
    said = {
        name: pom.findtext(f"m:{name}", namespaces=spaces) for name in ("groupId", "artifactId", "version", "packaging")
    }
    assert said == {"groupId": "com.example.ml", "artifactId": _SLUG, "version": "2.3.4", "packaging": "aar"}
    assert pom.findtext("m:licenses/m:license/m:name", namespaces=spaces) == "CC-BY-4.0 & more"
    listed = ET.parse(place.parent / "maven-metadata.xml").getroot()  # noqa: S314
    assert [version.text for version in listed.iter("version")] == ["2.3.4"]
    sums = list((android / "maven").rglob("*.sha1")) + list((android / "maven").rglob("*.sha256"))
    assert len(sums) == 6
    for path in sums:
        assert path.read_text() == hashlib.new(path.suffix[1:], path.with_suffix("").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("runtime", "dependency", "least", "kept"),
    [
        ("tasks", "com.google.mediapipe:tasks-vision", (0, 10, 26), "com.google.mediapipe.**"),
        ("litert", "com.google.ai.edge.litert:litert", (1, 4, 0), "com.google.ai.edge.litert.**"),
        ("onnx", "com.microsoft.onnxruntime:onnxruntime-android", (1, 22, 0), "ai.onnxruntime.**"),
    ],
)
def test_each_runtime_has_its_model_library_and_rules(
    built: Path, tmp_path: Path, runtime: AndroidRuntime, dependency: str, least: tuple[int, ...], kept: str
) -> None:
    android = tmp_path / "bundle"
    bundle(built, "android", android, replace(_RELEASE, runtime=runtime))
    text = (android / "gradle" / "build.gradle.kts").read_text()
    # Releases from these on have libraries aligned to 16 KB pages.
    found = re.search(rf'"{re.escape(dependency)}:(\d+)\.(\d+)\.(\d+)"', text)
    assert found
    assert tuple(map(int, found.groups())) >= least
    assert f'"com.example.ml:{_SLUG}:2.3.4@aar"' in text
    models = [path for path in (android / "assets").iterdir() if path.suffix in {".tflite", ".onnx"}]
    assert len(models) == 1
    rules = (android / "gradle" / "proguard-rules.pro").read_text()
    assert f"-keep class {kept} {{ *; }}" in rules
    with zipfile.ZipFile(_aar(android)) as archive:
        assert archive.read("proguard.txt").decode() == rules
    for path in (android / "kotlin").iterdir():
        code = path.read_text()
        assert not re.search(r"@[A-Z_]+@", code)
        for asset in re.findall(rf'"({re.escape(_SLUG)}[^"]+)"', code):
            assert (android / "assets" / asset).is_file()
    assert verify(android).bundle == "android"


def test_model_json_says_how_a_picture_is_read(on_litert: Path) -> None:
    about = json.loads((on_litert / "assets" / f"{_SLUG}.model.json").read_text())
    assert about["labels"] == [str(digit) for digit in range(10)]
    assert (about["height"], about["width"], about["layout"], about["fit"]) == (48, 48, "NHWC", "crop")
    assert (about["crop_fraction"], about["interpolation"]) == (1.0, "bicubic")
    assert about["pixels"]["scale"] == pytest.approx([1 / 127.5] * 3)
    assert about["output_scales"] == [1 / 256]
    assert about["output_zero_points"] == [-128]


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("com.example.new", "new, which Java keeps for itself.*new_"),
        ("int.default", "default, int, which Java"),
    ],
)
def test_a_java_word_is_no_part_of_a_group(built: Path, tmp_path: Path, group: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bundle(built, "android", tmp_path / "out", Release(group=group))


def test_a_kotlin_word_stands_in_backticks(built: Path, tmp_path: Path) -> None:
    bundle(built, "android", tmp_path / "out", Release(group="in.example.object"))
    for path in (tmp_path / "out" / "kotlin").iterdir():
        assert path.read_text().startswith("package `in`.example.`object`.mobilenet_v1_0_25_48\n")


def test_an_unknown_runtime_is_named(built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'litert'"):
        bundle(built, "android", tmp_path / "out", Release(runtime="lite"))  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("aapt") is None or shutil.which("zipalign") is None, reason="no aapt and zipalign")
def test_androids_own_tools_package_it(android: Path, tmp_path: Path) -> None:
    framework = Path("/usr/share/android-framework-res/framework-res.apk")
    if not framework.is_file():
        pytest.skip("no android-framework-res")
    with zipfile.ZipFile(_aar(android)) as archive:
        archive.extractall(tmp_path / "aar")
    manifest = tmp_path / "aar" / "AndroidManifest.xml"
    manifest.write_text(manifest.read_text().replace("</manifest>", "<application /></manifest>"))
    unaligned, apk = tmp_path / "u.apk", tmp_path / "a.apk"
    subprocess.run(
        ["aapt", "package", "-f", "-M", manifest, "-A", tmp_path / "aar" / "assets", "-I", framework, "-0", "tflite",
         "-F", unaligned], check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["zipalign", "-f", "4", unaligned, apk], check=True, capture_output=True)
    subprocess.run(["zipalign", "-c", "4", apk], check=True, capture_output=True)
    said = subprocess.run(["aapt", "dump", "badging", apk], check=True, capture_output=True, text=True).stdout
    assert "sdkVersion:'24'" in said
    with zipfile.ZipFile(apk) as archive:
        models = [entry for entry in archive.infolist() if entry.filename.endswith(".tflite")]
        assert len(models) == 1
        assert {entry.compress_type for entry in models} == {zipfile.ZIP_STORED}
