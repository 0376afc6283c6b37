"""Metadata that MediaPipe's ImageSegmenter accepts."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import Parts
from mnedge.bundles._metadata import Description
from mnedge.bundles._segmenter import segmenter_metadata_bytes, with_segmenter_metadata
from mnedge.bundles.android import BUNDLE
from mnedge.errors import InputError
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.cut import cut
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.runtimes.litert import LiteRtSession
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SEGMENT = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions, vision
model, *pictures = sys.argv[1:]
base = BaseOptions(model_asset_path=model)
options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True, output_confidence_masks=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    found = {"labels": list(segmenter.labels), "masks": [], "largest": []}
    for picture in pictures:
        result = segmenter.segment(mediapipe.Image.create_from_file(picture))
        found["masks"].append(numpy.squeeze(result.category_mask.numpy_view()).tolist())
        found["largest"].append([float(mask.numpy_view().max()) for mask in result.confidence_masks])
print("RESULT" + json.dumps(found))
"""
_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def _description(*labels: str, resolution: int = 16) -> Description:
    return Description("pets", "a segmenter", "1.0.0", "who", "terms", (resolution, resolution), SYMMETRIC, labels)


def _red_or_blue(dtype: str = "uint8") -> Graph:
    """Scores of two classes: how red and how blue each pixel is."""
    uint8 = Quantization.per_tensor(1 / 127.5, 128)
    weights = np.array([[[[100, 0, -100]]], [[[-100, 0, 100]]]], np.int16) + 128
    tensors = {
        "image": Tensor("image", (1, 16, 16, 3), "uint8", uint8),
        "w": constant("w", weights.astype(np.uint8), Quantization.per_tensor(0.05, 128)),
        "b": constant("b", np.zeros(2, np.int32), Quantization.per_tensor(0.05 / 127.5, 0)),
        "scores": Tensor("scores", (1, 16, 16, 2), "uint8", Quantization.per_tensor(0.1, 128)),
        "real": Tensor("real", (1, 16, 16, 2), "float32"),
        "axis": constant("axis", np.array(3, np.int32)),
        "classes": Tensor("classes", (1, 16, 16), "int64"),
    }
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    ops = [Op("CONV_2D", ("image", "w", "b"), ("scores",), {**options, "activation": "NONE"})]
    ends = {"uint8": "scores", "float32": "real", "int64": "classes"}
    ops += [Op("DEQUANTIZE", ("scores",), ("real",))] if dtype == "float32" else []
    ops += [Op("ARG_MAX", ("scores", "axis"), ("classes",), {"output_type": 4})] if dtype == "int64" else []
    return Graph(tensors, tuple(ops), ("image",), (ends[dtype],)).replaced()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_mediapipe_segments_with_the_labels(dtype: str, ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(with_segmenter_metadata(write_tflite(_red_or_blue(dtype)), _description("red", "blue")))
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8, 0], pixels[:, 8:, 2] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "halves.png")
    found = ask_mediapipe(_SEGMENT, model, tmp_path / "halves.png")
    assert found["labels"] == ["red", "blue"]
    mask = np.array(found["masks"][0])
    assert mask.shape == (16, 16)
    assert not mask[:, :8].any()
    assert (mask[:, 8:] == 1).all()
    # Logits of plus and minus ten: the softmax that the metadata asks for makes a share of almost one.
    assert all(0.99 < largest <= 1.001 for largest in found["largest"][0])


@pytest.mark.shared
def test_mediapipe_sees_in_real_photos_what_litert_sees(
    ask_mediapipe: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    (path,) = (shared_data / "models" / "tasks").glob("deeplabv3_mnv2_dm05*.tflite")
    graph = cut(read_tflite(path), outputs=["ResizeBilinear_2"])
    model = tmp_path / "model.tflite"
    model.write_bytes(with_segmenter_metadata(write_tflite(graph), _description(*_VOC, resolution=513)))
    session = LiteRtSession(model, 1)
    photos = sorted((shared_data / "small" / "pets_segmentation" / "images").glob("*.jpg"))[::150]
    pictures, expected = [], []
    for photo in photos:
        # As large as the input: then nobody scales anything.
        picture = Image.open(photo).convert("RGB").resize((513, 513), Image.Resampling.BILINEAR)
        picture.save(tmp_path / f"{photo.stem}.png")
        pictures.append(tmp_path / f"{photo.stem}.png")
        expected.append(session.run(np.asarray(picture)[None])[0][0].argmax(axis=-1))
    found = ask_mediapipe(_SEGMENT, model, *pictures)
    assert found["labels"] == list(_VOC)
    for mask, own in zip(found["masks"], expected, strict=True):
        # Softmax in float16 may tie where the scores are a step apart.
        assert (np.array(mask) == own).mean() > 0.99
        assert own.any()


def test_mediapipes_schema_understands_every_field(ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(segmenter_metadata_bytes(_description("a", "b")))
    script = """
import json, sys
from mediapipe.tasks.metadata import image_segmenter_metadata_schema_py_generated as segmenter
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
root = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(open(sys.argv[1], "rb").read(), 0))
graph = root.subgraphMetadata[0]
image, masks, custom = graph.inputTensorMetadata[0], graph.outputTensorMetadata[0], graph.customMetadata[0]
data = bytes(bytearray(custom.data))
options = segmenter.ImageSegmenterOptionsT.InitFromObj(segmenter.ImageSegmenterOptions.GetRootAs(data, 0))
print("RESULT" + json.dumps({
    "size": [image.content.contentProperties.defaultSize.width, image.content.contentProperties.defaultSize.height],
    "custom": [custom.name.decode(), data[4:8].decode(), options.activation],
    "mask": [masks.content.contentPropertiesType, masks.content.contentProperties.colorSpace],
    "extent": [masks.content.range.min, masks.content.range.max],
    "labels": [masks.associatedFiles[0].name.decode(), masks.associatedFiles[0].type],
}))
"""
    assert ask_mediapipe(script, tmp_path / "m") == {
        "size": [16, 16],
        "custom": ["SEGMENTER_METADATA", "V001", 2],
        "mask": [2, 2],
        "extent": [1, 2],
        "labels": ["labels.txt", 2],
    }


def test_the_model_stays_what_it_was_and_carries_its_labels(tmp_path: Path) -> None:
    plain = write_tflite(_red_or_blue())
    path = tmp_path / "model.tflite"
    path.write_bytes(with_segmenter_metadata(plain, _description("red", "blue")))
    graph = read_tflite(path)
    assert graph.metadata[BUFFER][4:8] == b"M001"
    assert [op.kind for op in graph.ops] == [op.kind for op in parse_tflite(plain, "plain").ops]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"red\nblue\n"


@pytest.mark.parametrize(
    ("dtype", "labels", "said"),
    [("uint8", ("red",), "2 classes apart, but labels.txt has 1"), ("int64", ("red", "blue"), "argmax outside")],
)
def test_what_is_no_map_of_scores_is_refused(dtype: str, labels: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        with_segmenter_metadata(write_tflite(_red_or_blue(dtype)), _description(*labels))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Android bundle of a segmenter with random weights."""
    folder = tmp_path_factory.mktemp("segmenter")
    rng = np.random.default_rng(0)
    for number in range(6):
        for kind, pixels in (("images", rng.integers(0, 256, (64, 64, 3))), ("masks", rng.integers(0, 3, (64, 64)))):
            (folder / "data" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "data" / kind / f"{number}.png")
    (folder / "data" / "classes.txt").write_text("ground\ncat\ndog\n")
    recipe = Recipe(
        task="segment", variant="v2", alpha=0.35, resolution=64, weights="random", classes=3, int8=True, effort="fast",
        data=str(folder / "data"), targets=("android",),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(recipe, folder / "out", lambda *_: None)
    bundle(folder / "out", "android", folder / "bundle", Release(group="com.example.ml"))
    return folder / "bundle"


def test_an_app_gets_what_a_segmenter_takes(tmp_path: Path) -> None:
    parts = Parts(
        slug="lraspp_mobilenet_v2_0.35_16", task="segment", size=(16, 16), pixels=SYMMETRIC,
        takes_pixels=True, head="map", labels=("red", "blue"),
        preprocessing={"crop_fraction": 1.0, "interpolation": "bilinear", "fit": "stretch"},
        tools={}, tflite=lambda _io: write_tflite(_red_or_blue()), onnx=None, sources={}, group="com.example.ml",
        version="1.0.0", license="terms",
    )  # fmt: skip
    BUNDLE.write(parts, tmp_path)
    camera = {"AnswerView.kt", "CameraActivity.kt", "CameraPictures.kt", "ModelFile.kt"}
    assert {path.name for path in (tmp_path / "kotlin").iterdir()} == {"TasksSegmenter.kt", *camera}
    for path in (tmp_path / "README.md", tmp_path / "gradle" / "build.gradle.kts", *(tmp_path / "kotlin").iterdir()):
        text = path.read_text()
        assert not re.search(r"@[A-Z_]+@", text)
        assert "Classifier" not in text
    for path in (tmp_path / "kotlin").iterdir():
        for asset in re.findall(r'"([\w.]+\.(?:tflite|txt))"', path.read_text()):
            assert (tmp_path / "assets" / asset).is_file()


@pytest.mark.soak
def test_mediapipe_takes_the_shipped_model(shipped: Path, ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    (model,) = (shipped / "assets").glob("*.uint8.tflite")
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    found = ask_mediapipe(_SEGMENT, model, tmp_path / "picture.png")
    assert found["labels"] == ["ground", "cat", "dog"]
    own = LiteRtSession(model, 1).run(picture[None])[0][0].argmax(axis=-1)
    # Scores of random weights may tie.
    assert (np.array(found["masks"][0]) == own).mean() > 0.9
