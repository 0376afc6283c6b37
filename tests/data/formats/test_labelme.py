"""labelme's JSON, with every shape that encloses something."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.data.tags import open_tags, tags_of
from mnedge.errors import InputError


def _shape(label: str, kind: str, points: list[list[float]], **more: object) -> dict[str, object]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


_SHAPES = [
    _shape("plate", "rectangle", [[0.0, 0.0], [20.0, 20.0]]),
    _shape("egg", "polygon", [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]]),
    _shape("tip", "point", [[3.0, 3.0]]),
]


def _folder(root: Path, shapes: list[dict[str, object]], **more: object) -> Path:
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 20)).save(root / f"{name}.png")
    for name in ("a", "b"):
        told = {
            "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"..\\data\\{name}.png", "imageData": None,
            "imageHeight": 20, "imageWidth": 40, **more,
        }  # fmt: skip
        (root / f"{name}.json").write_text(json.dumps(told))
    return root


def test_shapes(tmp_path: Path) -> None:
    found = open_masks(_folder(tmp_path, _SHAPES))
    assert found.classes == ("background", "egg", "plate")
    assert found.truths is not None
    mask = found.truths(0, 0)
    # What was drawn later lies above.
    assert (mask[:10, :10] == 1).all()
    assert (mask[11:, :20] == 2).all()
    assert (mask[:, 21:] == 0).all()
    assert {finding.what: finding.where for finding in found.findings} == {
        "points and lines enclose nothing and were left out": ("a.json, shapes[2]", "b.json, shapes[2]"),
        "pictures have no .json and were left out": ("c.png",),
    }
    boxes = open_boxes(tmp_path)
    assert boxes.sources == ("a.png", "b.png")
    assert boxes.truths is not None
    np.testing.assert_allclose(boxes.truths(0, 96).corners, [[0, 0, 1, 0.5], [0, 0, 0.5, 0.25]])


def test_a_circle_and_a_mask(tmp_path: Path) -> None:
    inside = np.zeros((10, 8), np.uint8)
    inside[2:, 4:] = 255
    buffer = io.BytesIO()
    Image.fromarray(inside).save(buffer, "PNG")
    mask = _shape("m", "mask", [[4.0, 6.0], [11.0, 15.0]], mask=base64.b64encode(buffer.getvalue()).decode())
    circle = _shape("c", "circle", [[30.0, 10.0], [35.0, 10.0]])
    found = open_masks(_folder(tmp_path, [mask, circle])).truths
    assert found is not None
    values = found(0, 0)
    expected = np.zeros((20, 40), bool)
    expected[8:16, 8:12] = True
    assert ((values == 2) == expected).all()
    assert abs(int((values == 1).sum()) - np.pi * 25) < 6


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (_shape("a", "polygon", [[0, 0], [1, 1]]), r"shapes\[0\]: a polygon has 3 points, not 2"),
        (_shape("a", "blob", [[0, 0], [1, 1]]), "shape_type 'blob' is none of"),
        (_shape(" ", "rectangle", [[0, 0], [1, 1]]), "its label is empty"),
        (_shape("a", "mask", [[0, 0], [1, 1]], mask="nonsense"), "its mask is no PNG in base64"),
        ({"points": []}, r"shapes\[0\]: Object missing required field `label`"),
    ],
)
def test_what_a_shape_may_not_be(tmp_path: Path, shape: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_masks(_folder(tmp_path, [shape]))


def test_flags_of_whole_pictures(tmp_path: Path) -> None:
    root = _folder(tmp_path, _SHAPES, flags={"cat": True, "dog": False})
    told = json.loads((root / "b.json").read_text())
    (root / "b.json").write_text(json.dumps({**told, "flags": {"cat": True, "dog": True, "bird": False}}))
    found = open_tags(root)
    assert found.classes == ("cat", "dog", "bird")
    assert tags_of(found, np.arange(2)).tolist() == [[True, False, False], [True, True, False]]
    assert [finding.what for finding in found.findings] == ["pictures have no .json and were left out"]


def test_shapes_are_no_flags(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labelme file has flags of the whole picture, and 6 shapes; set flags"):
        open_tags(_folder(tmp_path, _SHAPES))
