"""COCO's polygons and run lengths, and what Label Studio and Roboflow make of its paths and categories."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.errors import InputError

_CATEGORIES = [{"id": 1, "name": "cup", "supercategory": ""}, {"id": 2, "name": "fork"}, {"id": 3, "name": "dog"}]


def _export(root: Path, annotations: list[dict[str, object]], name: str = "a.png", **more: object) -> Path:
    (root / "images").mkdir(exist_ok=True)
    for picture in ("a.png", "b.png"):
        Image.new("RGB", (40, 20)).save(root / "images" / picture)
    images = [
        {"id": 1, "file_name": name, "width": 40, "height": 20},
        {"id": 2, "file_name": name.replace("a.png", "b.png"), "width": 40, "height": 20},
    ]
    told = {"images": images, "categories": _CATEGORIES, "annotations": annotations, **more}
    (root / "result.json").write_text(json.dumps(told))
    return root


def _object(segmentation: object, category: int = 1, image: int = 1, **more: object) -> dict[str, object]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def test_polygons_and_run_lengths(tmp_path: Path) -> None:
    region = np.zeros((20, 40), np.uint8)
    region[3:9, 20:31] = 1
    region[5, 25] = 0
    packed = reference.encode(np.asfortranarray(region))
    text = {"counts": packed["counts"].decode(), "size": [20, 40]}
    flat = region.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    plain = {"counts": np.diff([0, *edges, flat.size]).tolist(), "size": [20, 40]}
    square = _object([[0, 0, 10, 0, 10, 10, 0, 10]], 3, bbox=[0, 0, 10, 10])
    root = _export(
        tmp_path, [_object(text, bbox=[20, 3, 11, 6]), square, _object(plain, image=2, bbox=[20, 3, 11, 6], iscrowd=1)]
    )
    found = open_masks(root)
    # A category that marks nothing keeps its place.
    assert found.classes == ("background", "cup", "fork", "dog")
    assert found.truths is not None
    expected = region.copy()
    expected[:10, :10] = 3
    assert (found.truths(0, 0) == expected).all()
    assert (found.truths(1, 0) == region).all()
    assert open_boxes(root).classes == ("cup", "fork", "dog")


@pytest.mark.parametrize(
    "name", ["images\\a.png", "C:\\Users\\me\\upload\\a.png", "../../label-studio/data/media/upload/1/a.png", "a.png"]
)
def test_paths_of_label_studio(tmp_path: Path, name: str) -> None:
    found = open_boxes(_export(tmp_path, [_object([], bbox=[10, 5, 20, 10])], name))
    assert found.sources == ("images/a.png", "images/b.png")


def test_notes_of_label_studio_are_no_annotations(tmp_path: Path) -> None:
    root = _export(tmp_path, [_object([], bbox=[10, 5, 20, 10])])
    (root / "notes.json").write_text(json.dumps({"categories": [], "info": {"year": 2024, "version": "1.0"}}))
    assert open_boxes(root).classes == ("cup", "fork", "dog")


def test_an_outline_without_box_has_one(tmp_path: Path) -> None:
    found = open_boxes(_export(tmp_path, [_object([[10, 5, 30, 5, 30, 15, 10, 15]])])).truths
    assert found is not None
    np.testing.assert_allclose(found(0, 96).corners, [[0.25, 0.25, 0.75, 0.75]])


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        (
            {"counts": [1, 2], "size": [20, 40]},
            r"annotations\[0\]: the run lengths add up to 3 pixels, their size is 40 x",
        ),
        ({"counts": "zz\x7fz", "size": [20, 40]}, "the run lengths add up to"),
        ({"counts": [-1, 801], "size": [20, 40]}, "the run lengths add up to"),
        ([[1, 2, 3]], "a polygon of segmentation has 3 numbers"),
        ([], r"annotations\[0\] \(id 1\): it has a box and no outline.*--task detect takes boxes"),
    ],
)
def test_what_an_outline_may_not_be(tmp_path: Path, segmentation: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_masks(_export(tmp_path, [_object(segmentation, bbox=[0, 0, 4, 4])]))


def test_run_lengths_of_another_size_are_refused(tmp_path: Path) -> None:
    root = _export(tmp_path, [_object({"counts": [10, 90], "size": [5, 20]}, bbox=[0, 0, 4, 4])])
    found = open_masks(root).truths
    assert found is not None
    # A region smaller than the picture lies at its upper left.
    assert int(found(0, 0).sum()) == 90
    root = _export(tmp_path, [_object({"counts": [0, 3200], "size": [40, 80]}, bbox=[0, 0, 4, 4])])
    with pytest.raises(InputError, match="its mask is 80 x 40 pixels at 0, 0, the picture 40 x 20"):
        open_masks(root).truths(0, 0)  # type: ignore[misc]
