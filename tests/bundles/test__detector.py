"""Metadata that MediaPipe's ObjectDetector accepts, with post-processing inside a file and without."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import Parts
from mnedge.bundles._detector import with_detector_metadata
from mnedge.bundles._metadata import Description
from mnedge.bundles.android import BUNDLE
from mnedge.data.anchors import decode as decode_boxes
from mnedge.data.detections import METADATA, Decoding, metadata_of
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode
from mnedge.runtimes.litert import LiteRtSession
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DETECT = """
import json, sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision
model, *pictures = sys.argv[1:]
options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=model), max_results=10)
found = []
with vision.ObjectDetector.create_from_options(options) as detector:
    for picture in pictures:
        rows = []
        for one in detector.detect(mediapipe.Image.create_from_file(picture)).detections:
            box = one.bounding_box
            corners = [box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width]
            rows.append([one.categories[0].category_name, one.categories[0].score, corners])
        found.append(rows)
print("RESULT" + json.dumps(found))
"""
_SIDE = 96
_DECODING = Decoding([(3, 3)], np.array([[[0.3, 0.2], [0.2, 0.4]]], np.float32))
_CLASSES, _ANCHORS = 2, 18


def _raw() -> Graph:
    """Scores and boxes of two anchors in each of nine cells, uint8, from random weights."""
    rng = np.random.default_rng(5)
    pixel, weight = Quantization.per_tensor(1 / 127.5, 128), Quantization.per_tensor(0.001, 128)
    tensors = [Tensor("image", (1, _SIDE, _SIDE, 3), "uint8", pixel)]
    ops = []
    options = {"padding": "VALID", "stride_h": 32, "stride_w": 32, "dilation_h_factor": 1, "dilation_w_factor": 1}
    for name, each, step in (("scores", _CLASSES, 0.03), ("boxes", 4, 0.05)):
        made = Quantization.per_tensor(step, 128)
        weights = rng.integers(0, 256, (2 * each, 32, 32, 3)).astype(np.uint8)
        tensors += [
            constant(f"{name}/w", weights, weight),
            constant(f"{name}/b", np.zeros(2 * each, np.int32), Quantization.per_tensor(0.001 / 127.5, 0)),
            Tensor(f"{name}/map", (1, 3, 3, 2 * each), "uint8", made),
            Tensor(f"{name}/rows", (1, _ANCHORS, each), "uint8", made),
            constant(f"{name}/shape", np.array([1, _ANCHORS, each], np.int32)),
        ]
        inputs = ("image", f"{name}/w", f"{name}/b")
        ops += [
            Op("CONV_2D", inputs, (f"{name}/map",), {**options, "activation": "NONE"}),
            Op("RESHAPE", (f"{name}/map", f"{name}/shape"), (f"{name}/rows",), {"new_shape": (1, _ANCHORS, each)}),
        ]
    tensors.append(Tensor("shares", (1, _ANCHORS, _CLASSES), "uint8", Quantization.per_tensor(1 / 256, 0)))
    ops.append(Op("LOGISTIC", ("scores/rows",), ("shares",)))
    metadata = {METADATA: metadata_of(_DECODING)}
    return Graph(
        {tensor.name: tensor for tensor in tensors}, tuple(ops), ("image",), ("shares", "boxes/rows"), metadata
    )


def _described(*labels: str, resolution: int = _SIDE) -> Description:
    return Description("pets", "a detector", "1.0.0", "who", "terms", (resolution, resolution), SYMMETRIC, labels)


def test_an_app_gets_what_a_detector_takes(tmp_path: Path) -> None:
    parts = Parts(
        slug="ssdlite_mobilenet_v2_0.35_96", task="detect", size=(_SIDE, _SIDE), pixels=SYMMETRIC,
        takes_pixels=True, head="map", labels=("cat", "dog"),
        preprocessing={"crop_fraction": 1.0, "interpolation": "bilinear", "fit": "stretch"},
        tools={}, tflite=lambda _io: write_tflite(_raw()), onnx=None, sources={}, group="com.example.ml",
        version="1.0.0", license="terms",
    )  # fmt: skip
    BUNDLE.write(parts, tmp_path)
    camera = {"AnswerView.kt", "CameraActivity.kt", "CameraPictures.kt", "ModelFile.kt"}
    assert {path.name for path in (tmp_path / "kotlin").iterdir()} == {"TasksDetector.kt", *camera}
    for path in (tmp_path / "README.md", tmp_path / "gradle" / "build.gradle.kts", *(tmp_path / "kotlin").iterdir()):
        text = path.read_text()
        assert not re.search(r"@[A-Z_]+@", text)
        assert "Classifier" not in text
    (model,) = (tmp_path / "assets").glob("*.uint8.tflite")
    with zipfile.ZipFile(model) as archive:
        assert archive.read("labels.txt") == b"cat\ndog\n"
    assert read_tflite(model).metadata[BUFFER][4:8] == b"M001"
    with pytest.raises(UnsupportedError, match="built to paint"):
        BUNDLE.write(replace(parts, task="paint"), tmp_path / "other")


def test_mediapipe_decodes_raw_boxes_by_the_anchors(ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(with_detector_metadata(write_tflite(_raw()), _described("cat", "dog")))
    picture = np.random.default_rng(1).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (found,) = ask_mediapipe(_DETECT, model, tmp_path / "picture.png")
    session = LiteRtSession(model, 1)
    raw = zip(session.run(picture[None]), session.outputs, strict=True)
    scores, codes = (decode(output[0], spec) for output, spec in raw)
    corners = decode_boxes(codes, _DECODING.anchors) * _SIDE
    # Where a box begins outside the picture, the reader moves its corner and keeps its extent.
    inside = [row for row in found if min(row[2][:2]) > 0]
    assert len(inside) >= 2
    for name, score, box in inside:
        # One of the anchors says just this; corner and extent are cut to pixels one after the other.
        near = np.abs(corners - np.array(box)).max(axis=1) <= 2
        agreeing = scores[near, ["cat", "dog"].index(name)]
        assert agreeing.size, box
        assert np.abs(agreeing - score).min() < 1 / 128


@pytest.mark.shared
@pytest.mark.parametrize("sorted_by_name", [False, True])
def test_mediapipe_sees_in_real_photos_what_litert_sees(
    sorted_by_name: bool, ask_mediapipe: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    tasks = shared_data / "models" / "tasks"
    (path,) = tasks.glob("ssd_mobilenet_v1*.tflite")
    labels = re.findall(r"name: '(\w+)'", (tasks / "pet_label_map.pbtxt").read_text())
    model = tmp_path / "model.tflite"
    graph = read_tflite(path)
    if sorted_by_name:
        boxes, classes, scores, count = graph.outputs
        graph = graph.replaced(outputs=(scores, boxes, count, classes))
    model.write_bytes(with_detector_metadata(write_tflite(graph), _described(*labels, resolution=300)))
    session = LiteRtSession(path, 1)
    pictures, expected = [], []
    for photo in sorted((shared_data / "small" / "pets_segmentation" / "images").glob("*.jpg"))[::100]:
        small = Image.open(photo).convert("RGB").resize((300, 300), Image.Resampling.BILINEAR)
        small.save(tmp_path / f"{photo.stem}.png")
        pictures.append(tmp_path / f"{photo.stem}.png")
        boxes, classes, scores, _ = (output[0] for output in session.run(np.asarray(small)[None]))
        expected.append((labels[int(classes[0])], float(scores[0]), boxes[0] * 300))
    found = ask_mediapipe(_DETECT, model, *pictures)
    breeds = 0
    for rows, (label, score, box), picture in zip(found, expected, pictures, strict=True):
        assert rows[0][:2] == [label, pytest.approx(score, abs=1e-3)]
        assert np.abs(np.clip(box, 0, 300) - np.clip(rows[0][2], 0, 300)).max() <= 2
        breeds += picture.stem.lower().startswith(label.lower())
    assert breeds >= len(pictures) / 2


@pytest.mark.soak
def test_mediapipe_takes_what_a_build_ships(ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    lines = ["filename,split,class,x1,y1,x2,y2"]
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
        split, name = ("train", "cat") if number % 2 else ("val", "dog")
        lines.append(f"images/{number}.png,{split},{name},10,10,50,60")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    recipe = Recipe(
        task="detect", variant="v2", alpha=0.35, resolution=_SIDE, weights="random", classes=2, int8=True,
        effort="fast", data=str(tmp_path / "labels.csv"), targets=("android",),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
        build(recipe, tmp_path / "out", lambda *_: None)
    bundle(tmp_path / "out", "android", tmp_path / "bundle", Release(group="com.example.ml"))
    (model,) = (tmp_path / "bundle" / "assets").glob("*.uint8.tflite")
    (found,) = ask_mediapipe(_DETECT, model, tmp_path / "images" / "0.png")
    assert {name for name, _, _ in found} <= {"cat", "dog"}
    assert found


def test_what_is_no_detector_is_refused(small_int8: Graph) -> None:
    with pytest.raises(InputError, match="its outputs are 1x4"):
        with_detector_metadata(write_tflite(small_int8), _described("a", "b"))
    with pytest.raises(InputError, match="2 classes apart, but labels"):
        with_detector_metadata(write_tflite(_raw()), _described("a", "b", "c"))
    without = replace(_raw(), metadata={})
    with pytest.raises(InputError, match="the anchors in the file"):
        with_detector_metadata(write_tflite(without), _described("a", "b"))
