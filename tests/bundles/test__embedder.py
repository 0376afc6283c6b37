"""Metadata that MediaPipe's ImageEmbedder accepts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles._embedder import with_embedder_metadata
from mnedge.bundles._metadata import Description
from mnedge.errors import InputError
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.cut import cut
from mnedge.pixels import SYMMETRIC
from mnedge.recipe import Recipe
from mnedge.runtimes._runtime import decode
from mnedge.runtimes.litert import LiteRtSession
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_EMBED = """
import json, sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision
model, *pictures = sys.argv[1:]
base = BaseOptions(model_asset_path=model)
options = vision.ImageEmbedderOptions(base_options=base, l2_normalize=True)
with vision.ImageEmbedder.create_from_options(options) as embedder:
    found = [embedder.embed(mediapipe.Image.create_from_file(picture)).embeddings[0] for picture in pictures]
    cosines = [[vision.ImageEmbedder.cosine_similarity(one, two) for two in found] for one in found]
rows = [[float(value) for value in one.embedding] for one in found]
print("RESULT" + json.dumps({"rows": rows, "head": found[0].head_name, "cosines": cosines}))
"""
_SIDE, _DIMENSIONS = 48, 16


def _description(resolution: int) -> Description:
    return Description("pets", "an embedding", "1.0.0", "who", "terms", (resolution, resolution), SYMMETRIC, ())


def _own(model: Path, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What LiteRT says of the same pictures, brought to length 1."""
    session = LiteRtSession(model, 1)
    rows = np.stack([decode(session.run(pixels[None])[0], session.outputs[0]).ravel() for pixels in pictures])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _saved(pictures: list[NDArray[np.uint8]], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Android bundle of an embedding with random weights."""
    folder = tmp_path_factory.mktemp("embedder")
    recipe = Recipe(
        task="embed", variant="v1", alpha=0.25, resolution=_SIDE, weights="random", classes=_DIMENSIONS, int8=True,
        effort="fast", targets=("android",),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(folder / "cache"))
        build(recipe, folder / "out", lambda *_: None)
    bundle(folder / "out", "android", folder / "bundle", Release(group="com.example.ml"))
    return folder / "bundle"


@pytest.mark.slow
def test_an_app_gets_what_an_embedder_takes(shipped: Path) -> None:
    assert verify(shipped).bundle == "android"
    camera = {"AnswerView.kt", "CameraActivity.kt", "CameraPictures.kt", "ModelFile.kt"}
    assert {path.name for path in (shipped / "kotlin").iterdir()} == {"TasksEmbedder.kt", *camera}
    assert sorted(path.suffixes[-2] for path in (shipped / "assets").iterdir()) == [".model", ".uint8"]
    for path in (shipped / "README.md", shipped / "gradle" / "build.gradle.kts", *(shipped / "kotlin").iterdir()):
        text = path.read_text()
        assert not re.search(r"@[A-Z_]+@", text)
        assert "Classifier" not in text
        assert "labels.txt" not in text
    for path in (shipped / "kotlin").iterdir():
        for asset in re.findall(r'"([\w.]+\.tflite)"', path.read_text()):
            assert (shipped / "assets" / asset).is_file()


def test_mediapipe_takes_the_shipped_model(shipped: Path, ask_mediapipe: Callable[..., Any], tmp_path: Path) -> None:
    (model,) = (shipped / "assets").glob("*.uint8.tflite")
    assert read_tflite(model).metadata[BUFFER][4:8] == b"M001"
    pictures = [np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8) for seed in range(3)]
    found = ask_mediapipe(_EMBED, model, *_saved(pictures, tmp_path))
    own = _own(model, pictures)
    assert found["head"] == "embedding"
    # Kernels may differ by a step or two of 1/128.
    np.testing.assert_allclose(found["rows"], own, atol=3 / 128)


@pytest.mark.shared
def test_mediapipe_sees_in_real_photos_what_litert_sees(
    ask_mediapipe: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    graph = read_tflite(shared_data / "models" / "imagenet" / "mobilenet_v1_0.25_128_quant.tflite")
    features = cut(graph, outputs=["MobilenetV1/Logits/AvgPool_1a/AvgPool"])
    model = tmp_path / "model.tflite"
    model.write_bytes(with_embedder_metadata(write_tflite(features), _description(128)))
    photos = sorted((shared_data / "small" / "pets_segmentation" / "images").glob("*.jpg"))[::80]
    # As large as the input: then nobody scales anything.
    pictures = [np.asarray(Image.open(photo).convert("RGB").resize((128, 128))) for photo in photos]
    found = ask_mediapipe(_EMBED, model, *_saved(pictures, tmp_path))
    own = _own(model, pictures)
    np.testing.assert_allclose(found["rows"], own, atol=0.03)
    np.testing.assert_allclose(found["cosines"], own @ own.T, atol=0.02)
    # Two animals are alike, but not the same.
    others = np.array(found["cosines"])[~np.eye(len(photos), dtype=bool)]
    assert 0.2 < others.min() < others.max() < 0.99


def test_mediapipes_schema_understands_every_field(
    ask_mediapipe: Callable[..., Any], shipped: Path, tmp_path: Path
) -> None:
    (model,) = (shipped / "assets").glob("*.uint8.tflite")
    (tmp_path / "m").write_bytes(read_tflite(model).metadata[BUFFER])
    script = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
root = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(open(sys.argv[1], "rb").read(), 0))
graph = root.subgraphMetadata[0]
image, (vector,) = graph.inputTensorMetadata[0], graph.outputTensorMetadata
print("RESULT" + json.dumps({
    "text": root.description.decode(),
    "size": [image.content.contentProperties.defaultSize.width, image.content.contentProperties.defaultSize.height],
    "vector": [vector.name.decode(), vector.content.contentPropertiesType, vector.associatedFiles],
}))
"""
    assert ask_mediapipe(script, tmp_path / "m") == {
        "text": f"MobileNet image embedder, int8, {_SIDE} px",
        "size": [_SIDE, _SIDE],
        "vector": ["embedding", 1, None],
    }


def test_what_is_no_vector_is_refused(shipped: Path) -> None:
    (path,) = (shipped.parent / "out").glob("*.int8.tflite")
    with pytest.raises(InputError, match=r"first int8 1x16; an image embedder gives one vector"):
        with_embedder_metadata(path.read_bytes(), _description(_SIDE))
    graph = parse_tflite(path.read_bytes(), "m")
    early = graph.replaced(outputs=(graph.ops[3].outputs[0],))
    with pytest.raises(InputError, match=r"gives 1 outputs, the first int8 1x\d+x\d+x\d+"):
        with_embedder_metadata(write_tflite(early), _description(_SIDE))
