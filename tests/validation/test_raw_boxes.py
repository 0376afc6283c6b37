"""Raw boxes of others' detectors, against LiteRT's own post-processing of the same model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run
from mnedge.data.anchors import encode
from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.formats.custom_options import DETECTION, decode_custom_options
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.cut import cut
from mnedge.runtimes import TensorSpec
from mnedge.runtimes._runtime import decode
from mnedge.runtimes.litert import LiteRtSession
from mnedge.validation.detect import found_in
from mnedge.validation.predict import Predictions
from mnedge.validation.raw_boxes import ListedAnchors, decoded, read_anchors, scores_and_boxes

if TYPE_CHECKING:
    from pathlib import Path

_ANCHORS = np.array([[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.4, 0.3], [0.5, 0.5, 0.9, 0.9]], np.float32)
_BOXES = np.array([[0.2, 0.2, 0.4, 0.5], [0.5, 0.4, 0.8, 0.9], [0.1, 0.1, 0.9, 0.8]], np.float32)


def _said(*outputs: np.ndarray) -> Predictions:
    arrays = [np.asarray(output, np.float32)[None] for output in outputs]
    specs = tuple(TensorSpec(f"out{place}", array.shape, "float32") for place, array in enumerate(arrays))
    info = ModelInfo("test", None, TensorSpec("image", (1, 8, 8, 3), "float32"), specs)
    return Predictions(arrays[0], tuple(arrays[1:]), 0.0, np.zeros(1, np.int64), np.zeros(1, np.int64), info, "local")


def _found(said: Predictions, listed: ListedAnchors) -> Any:
    return found_in(decoded(scores_and_boxes(said, listed), listed))[0]


@pytest.mark.parametrize("boxes_first", [False, True])
def test_boxes_are_decoded_by_the_anchors(*, boxes_first: bool) -> None:
    scores = np.array([[0.9, 0.0], [0.0, 0.8], [0.1, 0.0]])
    codes = encode(_BOXES, _ANCHORS)
    pair = (codes, scores) if boxes_first else (scores, codes)
    listed = ListedAnchors(_ANCHORS, most=5)
    found = _found(_said(*pair), listed)
    np.testing.assert_allclose(found.corners, _BOXES, atol=1e-6)
    assert found.classes.tolist() == [0, 1, 0]
    # Codes in other units, with a dimension between.
    halved = codes / np.array([10, 10, 5, 5], np.float32)
    plain = ListedAnchors(_ANCHORS, 1.0, 1.0, most=5)
    np.testing.assert_allclose(_found(_said(halved[:, None], scores), plain).corners, _BOXES, atol=1e-6)


def test_scores_become_shares() -> None:
    logits = np.array([[3.0, -3.0], [-3.0, 2.0], [-4.0, -5.0]], np.float32)
    said = _said(logits, encode(_BOXES, _ANCHORS))
    with pytest.raises(InputError, match=r'scores from -5 to 3, which are no shares of 1.*"activation": "sigmoid"'):
        scores_and_boxes(said, ListedAnchors(_ANCHORS))
    found = _found(said, ListedAnchors(_ANCHORS, activation="sigmoid"))
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-3)))
    found = _found(said, ListedAnchors(_ANCHORS, activation="softmax"))
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-6)))


def test_other_outputs_and_anchors_are_refused() -> None:
    scores, codes = np.zeros((3, 2)), np.zeros((3, 4))
    for outputs in ((scores,), (scores, scores), (scores, codes, codes)):
        with pytest.raises(InputError, match="--anchors is for detectors that give boxes"):
            scores_and_boxes(_said(*outputs), ListedAnchors(_ANCHORS))
    with pytest.raises(InputError, match="gives 3 boxes and 3 scores, but there are 2 anchors"):
        scores_and_boxes(_said(scores, codes), ListedAnchors(_ANCHORS[:2]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", r"holds no anchors.*it is \{\"anchors\""),
        ("[]", "holds no anchors"),
        ('{"boxes": []}', "holds no anchors"),
        ('{"anchors": [[1, 2], [3, 4]]}', "a table of 2x2"),
        ('{"anchors": [[0.5, 0.5, 0, 1]]}', "heights and widths below 0"),
        ('{"anchors": [[0.5, 0.5, 1, 1]], "activation": "relu"}', "unknown activation"),
        ('{"anchors": [[0.5, 0.5, 1, 1]], "extent_scale": 0}', "are above 0"),
        ('{"anchors": [[0.5, 0.5, 1, 1]], "nms": 1}', "holds no anchors"),
    ],
)
def test_what_is_no_file_of_anchors_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read_anchors(tmp_path / "a.json")


def test_a_file_that_is_not_there_and_another_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_anchors(tmp_path / "none.json")
    (tmp_path / "a.json").write_text('{"anchors": [[0.5, 0.5, 1, 1]]}')
    assert _run(["validate", "m.tflite", "--data", "demo", "--anchors", str(tmp_path / "a.json")]) == 2
    assert "--anchors is for detectors" in capsys.readouterr().err


@pytest.fixture
def raw_pets(shared_data: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A detector of 37 breeds with post-processing, the same without, and its anchors."""
    (whole,) = (shared_data / "models" / "tasks").glob("ssd_mobilenet_v1*.tflite")
    graph = read_tflite(whole)
    (op,) = (op for op in graph.ops if op.kind == DETECTION)
    options = decode_custom_options(op.options["custom_options"])
    raw = tmp_path / "raw.tflite"
    raw.write_bytes(write_tflite(cut(graph, outputs=[str(name) for name in op.inputs[:2]])))
    told = {
        "anchors": graph.tensors[str(op.inputs[2])].real().tolist(),
        "centre_scale": options["y_scale"],
        "extent_scale": options["h_scale"],
        "overlap": options["nms_iou_threshold"],
        "least_score": 0.05,
    }
    (tmp_path / "anchors.json").write_text(json.dumps(told))
    return whole, raw, tmp_path / "anchors.json"


@pytest.mark.shared
def test_what_is_surest_is_what_the_runtimes_own_post_processing_finds(
    raw_pets: tuple[Path, Path, Path], shared_data: Path
) -> None:
    whole, raw, file = raw_pets
    listed = read_anchors(file)
    photos = sorted((shared_data / "small" / "pets_segmentation" / "images").glob("*.jpg"))[::60]
    sessions = [LiteRtSession(path, 1) for path in (whole, raw)]
    for photo in photos:
        image = np.asarray(Image.open(photo).convert("RGB").resize((300, 300)))[None]
        theirs = [output[0] for output in sessions[0].run(image)]
        outputs = [decode(*pair)[0] for pair in zip(sessions[1].run(image), sessions[1].outputs, strict=True)]
        # Column 0 of the scores is the background.
        scores, boxes = (outputs[1], outputs[0]) if outputs[0].shape[-1] == 4 else (outputs[0], outputs[1])
        ours = _found(_said(boxes, scores[:, 1:]), listed)
        assert ours.scores[0] == pytest.approx(theirs[2][0], abs=1e-3)
        assert ours.classes[0] == theirs[1][0]
        np.testing.assert_allclose(ours.corners[0], np.clip(theirs[0][0], 0, 1), atol=2e-3)


@pytest.mark.shared
def test_the_command_scores_both_alike(
    raw_pets: tuple[Path, Path, Path], shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, raw, file = raw_pets
    pets = shared_data / "small" / "pets_segmentation"
    (tmp_path / "images").symlink_to(pets / "images")
    lines, cats = ["filename,split,class,x1,y1,x2,y2"], {0, 5, 6, 7, 9, 11, 20, 23, 26, 27, 32, 33}
    for photo in sorted((pets / "images").glob("*.jpg"))[::25]:
        mask = np.asarray(Image.open(pets / "masks" / f"{photo.stem}.png"))
        down, across = np.nonzero((mask == 1) | (mask == 2))
        # The model finds heads, which lie in the upper half.
        box = (across.min(), down.min(), across.max() + 1, (down.min() + down.max() + 1) // 2)
        kind = "cat" if (mask == 1).any() else "dog"
        lines.append(f"images/{photo.name},eval,{kind},{','.join(map(str, box))}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")

    def map50(model: Path, first: int, *arguments: str) -> float:
        classes = ",".join(f"{index + first}={'cat' if index in cats else 'dog'}" for index in range(37))
        data = ("--task", "detect", "--data", str(tmp_path / "labels.csv"), "--class-map", classes)
        assert _run(["validate", str(model), *data, *arguments, "--json"]) == 0, capsys.readouterr().err
        return float(json.loads(capsys.readouterr().out)["accuracy"][0]["map50"])

    # Suppression within a class and across classes differ in what is less sure.
    assert map50(raw, 1, "--anchors", str(file)) == pytest.approx(map50(whole, 0), abs=0.05)
    assert _run(["validate", str(raw), "--task", "detect", "--data", str(tmp_path / "labels.csv")]) == 2
    assert "or tell `mnedge validate` or `predict` --anchors FILE.json" in capsys.readouterr().err
