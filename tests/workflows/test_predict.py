"""What a model says of pictures, held against the runtimes' own outputs for the same pixels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import mnedge
from mnedge.artifact import Artifact
from mnedge.data.anchors import encode
from mnedge.data.detections import METADATA as ANCHORS
from mnedge.data.detections import Decoding, detect, metadata_of
from mnedge.data.preprocess import WHOLE, Preprocessing, read_pixels
from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.ort import write_ort
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import METADATA, SYMMETRIC, Pixels
from mnedge.results.manifest import BuildManifest, DatasetRow
from mnedge.results.report import ArtifactRow
from mnedge.results.stored import to_json
from mnedge.workflows.named_pictures import NamedPictures
from mnedge.workflows.predict import predict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Of Pascal VOC.
_CAT = 8
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _graph(ops: list[Op], tensors: list[Tensor], outputs: tuple[str, ...], **metadata: bytes) -> Graph:
    """A network of a 4 x 4 picture, whose pixels it takes as 0..1."""
    source = Tensor("image", (1, 4, 4, 3), "float32")
    known = {METADATA: Pixels.between(0.0, 1.0).to_bytes(), **metadata}
    return Graph({tensor.name: tensor for tensor in (source, *tensors)}, tuple(ops), ("image",), outputs, known)


def _reshape(source: str, made: str, shape: tuple[int, ...]) -> tuple[Op, list[Tensor]]:
    sides = constant(f"{made}_shape", np.array(shape, np.int32))
    return Op("RESHAPE", (source, sides.name), (made,), {}), [sides, Tensor(made, shape, "float32")]


def _labels(kind: str, columns: int) -> Graph:
    """Means of the channels, dense to some columns, then an activation."""
    op, made = _reshape("image", "flat", (1, 48))
    weights = np.zeros((columns, 48), np.float32)
    for column in range(columns):
        weights[column, column % 3 :: 3] = 0.5
    tensors = [
        *made,
        constant("weights", weights),
        constant("bias", np.linspace(-4, -2, columns, dtype=np.float32)),
        Tensor("dense", (1, columns), "float32"),
        Tensor("scores", (1, columns), "float32"),
    ]
    last: dict[str, dict[str, Any]] = {
        "LOGISTIC": {},
        "SOFTMAX": {"beta": 1.0},
        "L2_NORMALIZATION": {"activation": "NONE"},
    }
    ops = [op, Op("FULLY_CONNECTED", ("flat", "weights", "bias"), ("dense",), {"activation": "NONE"})]
    if kind in last:
        ops.append(Op(kind, ("dense",), ("scores",), last[kind]))
        return _graph(ops, tensors, ("scores",))
    return _graph(ops, tensors[:-1], ("dense",))


def _picture(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def _noise(path: Path, width: int, height: int, seed: int = 0) -> Path:
    return _picture(path, np.random.default_rng(seed).integers(0, 256, (height, width, 3)))


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _litert(model: Path, values: Any) -> list[Any]:
    """The real outputs of LiteRT's own interpreter for real inputs."""
    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    if source["dtype"] == np.int8:
        scale, zero = source["quantization"]
        # Half a step is up: the step of a pixel is that pixel less 128.
        values = np.clip(np.floor(np.float64(values) / scale + zero + 0.5 + 1e-4), -128, 127)
    interpreter.set_tensor(source["index"], values.astype(source["dtype"]))
    interpreter.invoke()
    found = []
    for output in interpreter.get_output_details():
        value = interpreter.get_tensor(output["index"])
        scale, zero = output["quantization"]
        found.append((value.astype(np.float32) - zero) * scale if scale else value)
    return found


def _own(model: Path, picture: Path, side: int, how: Preprocessing, pixels: Pixels) -> list[Any]:
    """What LiteRT's own interpreter says of a picture."""
    return _litert(model, pixels.real(read_pixels(picture, side, how)[None]))


@pytest.fixture
def digits(tmp_path: Path, digits_fp32: Graph) -> Path:
    path = tmp_path / "digits.tflite"
    path.write_bytes(write_tflite(digits_fp32))
    (tmp_path / "labels.txt").write_text("\n".join(_NAMES) + "\n")
    return path


def test_the_best_classes_are_those_of_litert_itself(digits: Path, tmp_path: Path) -> None:
    files = [_noise(tmp_path / f"p/{place}.png", 40 + 9 * place, 30, place) for place in range(4)]
    found = predict(digits, [tmp_path / "p"], crop=0.875)
    assert [row.picture for row in found.pictures] == [str(file) for file in files]
    assert (found.task, found.broken, found.notes) == ("classify", (), ())
    for row, file in zip(found.pictures, files, strict=True):
        scores = _own(digits, file, 16, Preprocessing(), SYMMETRIC)[0][0]
        assert row.answer.classes is not None
        best = np.argsort(-scores)[:3]
        assert [answer.label for answer in row.answer.classes] == [_NAMES[place] for place in best]
        assert [answer.score for answer in row.answer.classes] == pytest.approx(scores[best].tolist(), abs=1e-5)
        with Image.open(file) as image:
            assert (row.width, row.height) == image.size


def test_int8_onnx_and_ort_say_the_same(small_int8: Graph, digits_fp32: Graph, tmp_path: Path) -> None:
    picture = _noise(tmp_path / "a.png", 20, 20)
    (tmp_path / "i.tflite").write_bytes(write_tflite(small_int8))
    (tmp_path / "i.onnx").write_bytes(write_onnx(small_int8))
    (tmp_path / "f.onnx").write_bytes(write_onnx(digits_fp32))
    for name in ("i", "f"):
        (tmp_path / f"{name}.ort").write_bytes(write_ort(tmp_path / f"{name}.onnx").data)
    values = SYMMETRIC.real(read_pixels(picture, 8, Preprocessing(0.5))[None])
    for name in ("i.tflite", "i.onnx", "i.ort"):
        own = _litert(tmp_path / "i.tflite", values)[0][0]
        if name == "i.ort":
            # Whose fused pooling rounds in another way.
            session = onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
            own = np.asarray(session.run(None, {session.get_inputs()[0].name: values.astype(np.float32)})[0])[0]
        (row,) = predict(tmp_path / name, [picture], crop=0.5, top=4).pictures
        assert row.answer.classes is not None
        said = {answer.index: answer.score for answer in row.answer.classes}
        assert [said[place] for place in range(4)] == pytest.approx(own.tolist(), abs=1e-6), name
    # A softmax that is not read would be taken twice.
    onnx, ort = (predict(tmp_path / f"f.{suffix}", [picture], crop=0.5).pictures[0] for suffix in ("onnx", "ort"))
    assert ort.answer.said == onnx.answer.said


def test_logits_become_probabilities_and_labels_yes_or_no(tmp_path: Path) -> None:
    picture = _picture(tmp_path / "a.png", np.full((8, 8, 3), (255, 128, 0)))
    for kind in ("logits", "LOGISTIC", "SOFTMAX"):
        (tmp_path / f"{kind}.tflite").write_bytes(write_tflite(_labels(kind, 3)))
    names = ("red", "green", "blue")
    logits, softmax = (
        predict(tmp_path / f"{kind}.tflite", [picture], crop="stretch", labels=names) for kind in ("logits", "SOFTMAX")
    )
    assert logits.pictures[0].answer.said == softmax.pictures[0].answer.said
    labels = predict(tmp_path / "LOGISTIC.tflite", [picture], crop="stretch", labels=names).pictures[0].answer
    own = _own(tmp_path / "LOGISTIC.tflite", picture, 4, WHOLE, Pixels.between(0.0, 1.0))[0][0]
    assert labels.classes is not None
    assert [(row.label, row.yes) for row in labels.classes] == [("red", True), ("green", True), ("blue", False)]
    assert [row.score for row in labels.classes] == pytest.approx(own.tolist(), abs=1e-5)
    strict = predict(tmp_path / "LOGISTIC.tflite", [picture], crop="stretch", labels=names, threshold=0.9)
    assert strict.pictures[0].answer.said == (
        f"red yes {own[0]:.3f}, green no {own[1]:.3f}, blue no {own[2]:.3f}"
    )  # fmt: skip


def test_one_output_takes_the_name_of_the_yes_or_both(tmp_path: Path) -> None:
    picture = _picture(tmp_path / "a.png", np.full((8, 8, 3), 255))
    (tmp_path / "m.tflite").write_bytes(write_tflite(_labels("LOGISTIC", 1)))
    for names in (("cat",), ("dog", "cat")):
        said = predict(tmp_path / "m.tflite", [picture], crop=1, labels=names).pictures[0].answer.said
        assert said.startswith("cat yes 0.9"), said


def _detector(decoding: Decoding, corners: list[list[float]], scores: list[list[float]], *, carries: bool) -> Graph:
    """A detector with the same raw outputs for every picture: reshaped inputs, times 0, plus what is to come out."""
    codes = encode(np.array(corners, np.float32), decoding.anchors)
    tensors: list[Tensor] = [constant("none", np.zeros(1, np.float32)), constant("axes", np.array([1, 2, 3], np.int32))]
    tensors += [Tensor("sum", (1,), "float32"), Tensor("zero", (1,), "float32")]
    ops = [
        Op("SUM", ("image", "axes"), ("sum",), {"keep_dims": False}),
        Op("MUL", ("sum", "none"), ("zero",), {"activation": "NONE"}),
    ]
    for name, values in (("scores", np.array(scores, np.float32)), ("boxes", codes.astype(np.float32))):
        tensors += [constant(f"own_{name}", values[None]), Tensor(name, (1, *values.shape), "float32")]
        ops.append(Op("ADD", (f"own_{name}", "zero"), (name,), {"activation": "NONE"}))
    metadata = {ANCHORS: metadata_of(decoding)} if carries else {}
    return _graph(ops, tensors, ("scores", "boxes"), **metadata)


_DECODING = Decoding(((2, 2),), np.array([[[0.5, 0.5]]], np.float32))
_CORNERS = [[0.0, 0.0, 0.5, 0.5], [0.1, 0.5, 0.4, 1.0], [0.5, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 1.0]]
_SCORES = [[0.9, 0.1], [0.0, 0.6], [0.3, 0.0], [0.0, 0.0]]


def test_objects_have_their_place_in_the_picture(tmp_path: Path) -> None:
    picture = _noise(tmp_path / "a.png", 200, 100)
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(_detector(_DECODING, _CORNERS, _SCORES, carries=True)))
    found = predict(model, [picture], crop="stretch", labels=("cup", "dog"))
    assert found.task == "detect"
    outputs = _own(model, picture, 4, WHOLE, Pixels.between(0.0, 1.0))
    scores, boxes = (next(one[0] for one in outputs if one.shape[-1] == columns) for columns in (2, 4))
    own = detect(boxes, scores, _DECODING)
    objects = found.pictures[0].answer.objects
    assert objects is not None
    assert [(row.label, row.score) for row in objects] == [("cup", pytest.approx(0.9)), ("dog", pytest.approx(0.6))]
    for one, corners in zip(objects, own.corners, strict=False):
        assert one.box == pytest.approx((corners * [100, 200, 100, 200]).tolist(), abs=1e-3)
    assert found.pictures[0].answer.said == (
        "cup 0.900 at x 0 to 100, y 0 to 50; dog 0.600 at x 100 to 200, y 10 to 40"
    )  # fmt: skip
    # Of a crop to the middle the model sees x 50 to 150.
    (row,) = predict(model, [picture], crop=1.0, labels=("cup", "dog"), threshold=0.8).pictures
    assert row.answer.said == "cup 0.900 at x 50 to 100, y 0 to 50"


def test_anchors_that_the_file_lacks_are_asked_for_and_told(tmp_path: Path) -> None:
    picture = _noise(tmp_path / "a.png", 20, 10)
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(_detector(_DECODING, _CORNERS, _SCORES, carries=False)))
    with pytest.raises(InputError, match="or tell `mnedge validate` or `predict` --anchors"):
        predict(model, [picture], crop="stretch")
    (tmp_path / "a.json").write_text(json.dumps({"anchors": _DECODING.anchors.tolist()}))
    (row,) = predict(model, [picture], crop="stretch", anchors=tmp_path / "a.json", top=1).pictures
    assert row.answer.said == "class 0 0.900 at x 0 to 10, y 0 to 5"


def _segmenter() -> Graph:
    """Its three scores of a pixel are the pixel's channels."""
    op = Op("MUL", ("image", "one"), ("map",), {"activation": "NONE"})
    return _graph([op], [constant("one", np.ones(1, np.float32)), Tensor("map", (1, 4, 4, 3), "float32")], ("map",))


def test_shares_are_of_the_pixels_and_the_mask_is_drawn(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20, 0], pixels[:, 20:, 1] = 255, 255
    picture, model = _picture(tmp_path / "a.png", pixels), tmp_path / "m.tflite"
    model.write_bytes(write_tflite(_segmenter()))
    found = predict(model, [picture], crop="stretch", labels=("sky", "grass", "cat"), save=tmp_path / "out")
    assert found.task == "segment"
    shares = found.pictures[0].answer.shares
    assert shares is not None
    # Three quarters are green; the border lies where interpolation has it.
    assert [row.label for row in shares] == ["grass", "sky"]
    assert shares[0].fraction == pytest.approx(0.75, abs=0.02)
    drawn = _pixels(tmp_path / "out" / "a.png")
    assert drawn.shape == pixels.shape
    assert (drawn[30, 10] == (255, 0, 0)).all(), "the background stays"
    assert not (drawn[39, 70] == (0, 255, 0)).all()


def test_the_part_that_is_not_seen_does_not_count(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20, 0], pixels[:, 20:60, 1], pixels[:, 60:, 2] = 255, 255, 255
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(_segmenter()))
    (row,) = predict(model, [_picture(tmp_path / "a.png", pixels)], crop=1.0, labels=("sky", "grass", "cat")).pictures
    assert row.answer.said == "grass 100.0 %"


def test_vectors_are_compared_with_the_first(tmp_path: Path) -> None:
    files = [_noise(tmp_path / f"{name}.png", 8, 8, seed) for name, seed in (("a", 0), ("b", 1), ("c", 0))]
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(_labels("L2_NORMALIZATION", 3)))
    with pytest.raises(
        InputError, match=r"gives 1x3 \(numbers\).*say it with --task: classify, detect, embed, segment"
    ):
        predict(model, files, crop="stretch")
    found = predict(model, files, crop="stretch", task="embed")
    own = [_own(model, file, 4, WHOLE, Pixels.between(0.0, 1.0))[0][0] for file in files]
    for row, vector in zip(found.pictures, own, strict=True):
        assert row.answer.vector is not None
        assert row.answer.vector.similarity == pytest.approx(float(vector @ own[0]), abs=1e-5)
        assert row.answer.vector.embedding == pytest.approx(vector.tolist(), abs=1e-5)
        assert row.answer.vector.length == pytest.approx(1.0, abs=1e-5)
    assert found.notes == ()


def test_a_picture_on_its_side_is_told_upright(tmp_path: Path, digits: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    # So large that it is decoded at a fraction of its size.
    Image.new("RGB", (5000, 3600)).save(tmp_path / "b.jpg", exif=exif)
    found = predict(digits, [tmp_path / "a.jpg", tmp_path / "b.jpg"], crop=0.875)
    assert [(row.width, row.height) for row in found.pictures] == [(20, 30), (3600, 5000)]


def test_broken_pictures_are_named_and_left_out(tmp_path: Path, digits: Path) -> None:
    good = _noise(tmp_path / "p/b.png", 20, 20)
    (tmp_path / "p/a.jpg").write_bytes(b"nothing")
    found = predict(digits, [tmp_path / "p"], crop=0.875)
    assert [row.picture for row in found.pictures] == [str(good)]
    (broken,) = found.broken
    assert broken.picture.endswith("a.jpg")
    assert "is broken or not a picture" in broken.error
    assert "--skip-broken" not in broken.error
    good.unlink()
    with pytest.raises(InputError, match=r"none of the pictures can be read:\n.*a\.jpg is broken"):
        predict(digits, [tmp_path / "p"], crop=0.875)


def test_what_is_not_there_or_no_picture_is_refused(tmp_path: Path, digits: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "clip.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no pictures, but 1 \.mp4; .*name videos one by one"):
        predict(digits, [tmp_path / "empty"], crop=0.875)
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        predict(digits, [tmp_path / "none.png"], crop=0.875)
    with pytest.raises(InputError, match="no pictures are given"):
        predict(digits, [], crop=0.875)
    with pytest.raises(InputError, match=r"none\.tflite does not exist"):
        predict(tmp_path / "none.tflite", [tmp_path], crop=0.875)


def test_what_is_not_known_is_asked_for(tmp_path: Path, digits_fp32: Graph) -> None:
    picture, model = _noise(tmp_path / "a.png", 20, 20), tmp_path / "m.tflite"
    model.write_bytes(write_tflite(replace(digits_fp32, metadata={})))
    with pytest.raises(InputError, match="nothing is assumed; state it with --crop"):
        predict(model, [picture])
    with pytest.raises(InputError, match="nothing is assumed; state it with --pixels"):
        predict(model, [picture], crop=0.875)
    with pytest.raises(InputError, match="--crop is '2'; it is stretch, or a share"):
        predict(model, [picture], crop="2")
    with pytest.raises(InputError, match=r"--labels has 2 names, and .* gives 1x10"):
        predict(model, [picture], crop=0.875, pixels="-1..1", labels=("a", "b"))
    with pytest.raises(InputError, match="--anchors is for detectors; leave it out of --task embed"):
        predict(model, [picture], crop=0.875, pixels="-1..1", task="embed", anchors=_anchors(tmp_path))
    found = predict(model, [picture], crop=0.875, pixels="-1..1")
    assert "give them with --labels FILE" in found.notes[0]
    assert found.pictures[0].answer.said.startswith("class ")


def _anchors(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps({"anchors": [[0.5, 0.5, 1, 1]]}))
    return folder / "a.json"


def test_a_build_says_how_pictures_are_prepared_and_what_for(tmp_path: Path, digits: Path) -> None:
    picture = _noise(tmp_path / "a.png", 60, 40)
    how: dict[str, float | str] = {"crop_fraction": 0.5, "interpolation": "nearest", "fit": "crop", "white": 65535.0}
    row = ArtifactRow.of(Artifact(digits, "tflite", "fp32", "float32", "cpu"))
    manifest = BuildManifest(
        slug="digits",
        recipe={"task": "embed"},
        tools={},
        weights_sha256=None,
        dataset=DatasetRow("photos", how),
        calibration_sha256=None,
        artifacts=(row,),
    )
    (tmp_path / "manifest.json").write_text(to_json(manifest))
    found = predict(digits, [picture])
    assert found.task == "embed"
    vector = found.pictures[0].answer.vector
    assert vector is not None
    read = read_pixels(picture, 16, Preprocessing(0.5, "nearest"))
    (own,) = _litert(digits, SYMMETRIC.real(read[None]))
    assert vector.embedding == pytest.approx((own[0] / np.linalg.norm(own[0])).tolist(), abs=1e-5)
    assert predict(digits, [picture], task="classify").task == "classify"
    # Another file in its place is not that of the build.
    digits.write_bytes(digits.read_bytes() + bytes(4))
    with pytest.raises(InputError, match="state it with --crop"):
        predict(digits, [picture])


def test_a_bundle_says_how_pictures_are_prepared(tmp_path: Path, digits: Path) -> None:
    picture = _noise(tmp_path / "a.png", 60, 40)
    about = {"models": {"digits.tflite": {}}, "crop_fraction": 0.5, "interpolation": "bilinear", "fit": "crop"}
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert predict(digits, [picture]) == predict(digits, [picture], crop=0.5)
    (tmp_path / "model.json").write_text(json.dumps({**about, "crop_fraction": 2}))
    with pytest.raises(InputError, match=r"model\.json: crop_fraction is 2; it is a number above 0"):
        predict(digits, [picture])


def test_a_folder_of_c_is_run_too(tmp_path: Path, small_int8: Graph) -> None:
    picture = _noise(tmp_path / "a.png", 20, 20)
    (tmp_path / "m.tflite").write_bytes(write_tflite(small_int8))
    mnedge.compile(tmp_path / "m.tflite", tmp_path / "c", "generic")
    found = predict(tmp_path / "c", [picture], crop=0.5, top=4)
    assert found.runtime.startswith("generated C")
    assert found.pictures[0].answer.said == predict(
        tmp_path / "m.tflite", [picture], crop=0.5, top=4
    ).pictures[0].answer.said  # fmt: skip


def test_what_is_drawn_stands_beside_nothing_of_others(tmp_path: Path, digits: Path) -> None:
    files = [_noise(tmp_path / name, 60, 40, seed) for seed, name in enumerate(("p/a.png", "p/q/a.png", "p/a.jpg"))]
    out = tmp_path / "out"
    found = predict(digits, [tmp_path / "p"], crop=0.875, save=out)
    saved = {row.picture: row.saved for row in found.pictures}
    assert saved == {
        str(files[2]): str(out / "a.png"), str(files[0]): str(out / "a-2.png"), str(files[1]): str(out / "q" / "a.png"),
    }  # fmt: skip
    before = _pixels(files[1])
    drawn = _pixels(out / "q" / "a.png")
    assert drawn.shape == before.shape
    assert (drawn != before).any()
    # Its own, unchanged work is replaced; a file of the user's is not.
    predict(digits, [tmp_path / "p"], crop=0.875, save=out)
    (out / "a.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="was changed since mnedge wrote it"):
        predict(digits, [tmp_path / "p"], crop=0.875, save=out)
    assert (out / "a.png").read_bytes() == b"mine"
    with pytest.raises(InputError, match="whose pictures are looked at"):
        predict(digits, [tmp_path / "p"], crop=0.875, save=tmp_path / "p" / "marked")
    kept = files[0].read_bytes()
    predict(digits, [files[0]], crop=0.875, save=tmp_path / "p", force=True)
    assert files[0].read_bytes() == kept, "a picture is never drawn over"


@pytest.mark.shared
def test_a_real_detector_finds_the_cat_where_litert_does(shared_data: Path) -> None:
    (model,) = (shared_data / "models" / "tasks").glob("ssd_mobilenet_v1*.tflite")
    picture = shared_data / "small" / "pets_segmentation" / "images" / "Abyssinian_10.jpg"
    names = re.findall(r"name: '(.+)'", (model.parent / "pet_label_map.pbtxt").read_text())
    (row,) = predict(model, [picture], crop="stretch", labels=names).pictures
    assert row.answer.objects is not None
    best = row.answer.objects[0]
    assert best.label == "Abyssinian"
    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    side = int(source["shape"][1])
    # Its uint8 input is the pixel itself.
    interpreter.set_tensor(source["index"], read_pixels(picture, side, WHOLE)[None])
    interpreter.invoke()
    boxes, _, scores, _ = (interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details())
    assert best.score == pytest.approx(float(scores[0]), abs=0.02)
    sides = np.array([row.height, row.width] * 2)
    assert best.box == pytest.approx((np.clip(boxes[0], 0, 1) * sides).tolist(), abs=0.03 * max(row.width, row.height))


@pytest.mark.shared
def test_a_real_segmenter_sees_the_cat_where_litert_does(shared_data: Path) -> None:
    model = shared_data / "models" / "tasks" / "deeplabv3_mnv2_pascal_quant.tflite"
    picture = shared_data / "small" / "pets_segmentation" / "images" / "Abyssinian_1.jpg"
    (row,) = predict(model, [picture], crop="stretch").pictures
    assert row.answer.shares is not None
    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    interpreter.set_tensor(source["index"], read_pixels(picture, int(source["shape"][1]), WHOLE)[None])
    interpreter.invoke()
    # It holds an ARG_MAX.
    indices = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    own = float((indices == _CAT).mean())
    cat = next(share for share in row.answer.shares if share.index == _CAT)
    assert cat.fraction == pytest.approx(own, abs=0.02)
    assert own > 0.05


def test_pictures_that_cannot_all_be_drawn_are_not_drawn(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [_noise(tmp_path / "p" / f"{number}.png", 60, 40, number) for number in range(3)]
    upright = NamedPictures.upright

    def gone_after_the_first(shown: NamedPictures, number: int) -> NDArray[np.uint8]:
        if not files[number].is_file():
            raise InputError(f"{files[number]} cannot be read")
        files[1].unlink(missing_ok=True)
        return upright(shown, number)

    monkeypatch.setattr(NamedPictures, "upright", gone_after_the_first)
    with pytest.raises(InputError, match=r"1\.png"):
        predict(digits, [tmp_path / "p"], crop=0.875, save=tmp_path / "new" / "marked")
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(find_spec("cv2") is None, reason="OpenCV is not installed: mnedge[video]")
def test_frames_of_a_video_are_answered_in_their_order(tmp_path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for number in range(30):
        writer.write(np.full((32, 32, 3), 8 * number, np.uint8))
    writer.release()
    (tmp_path / "labels.tflite").write_bytes(write_tflite(_labels("LOGISTIC", 1)))
    Image.new("RGB", (32, 32)).save(tmp_path / "still.png")
    found = predict(
        tmp_path / "labels.tflite",
        [tmp_path / "clip.avi", tmp_path / "still.png"],
        crop="stretch",
        save=tmp_path / "drawn",
        labels=["bright"],
    )
    assert [row.at_s for row in found.pictures] == [0.0, 1.0, 2.0, None]
    scores = [row.answer.classes[0].score for row in found.pictures if row.answer.classes]
    assert scores[0] < scores[1] < scores[2]
    assert found.pictures[1].name == f"{tmp_path / 'clip.avi'} at 1.00 s"
    names = [f"clip-{second:09d}ms.png" for second in (0, 1000, 2000)]
    assert sorted(path.name for path in (tmp_path / "drawn").glob("*.png")) == [*names, "still.png"]
