import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes, read_boxes
from mnedge.errors import InputError

COCO_TOY = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
        {"id": 9, "file_name": "b.png", "width": 40, "height": 20},
    ],
    "categories": [
        {"id": 0, "name": "things", "supercategory": "none"},
        {"id": 3, "name": "cup", "supercategory": "things"},
        {"id": 18, "name": "dog", "supercategory": "things"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 2], "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 18, "bbox": [0, 0, 40, 20], "iscrowd": 1},
    ],
}


def _picture(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def _csv(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _table(root: Path, *rows: str, header: str = "filename,split,class,x1,y1,x2,y2") -> Path:
    for name in ("a.png", "b.png"):
        _picture(root / name)
    _csv(root / "labels.csv", header, *rows)
    return root


def _coco(root: Path, name: str = "boxes.json", content: dict[str, object] | None = None) -> Path:
    for picture in ("a.png", "b.png"):
        _picture(root / picture)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content or COCO_TOY))
    return root


def _object(name: str, corners: tuple[float, ...], extra: str = "") -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, corners, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>"


def _voc(path: Path, picture: str, *objects: str, size: tuple[int, int] = (40, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    path.write_text(f"<annotation><filename>{picture}</filename>{told}{''.join(objects)}</annotation>")


def test_csv_of_corners(tmp_path: Path) -> None:
    root = _table(tmp_path, "a.png,train,dog,10,5,30,15", "a.png,train,cup,0,0,4,2", "b.png,val,dog,0,0,40,20")
    found = open_boxes(root)
    assert found.classes == ("cup", "dog")
    assert found.sources == ("a.png", "b.png")
    assert {name: numbers.tolist() for name, numbers in found.splits.items()} == {
        "train": [0],
        "calibration": [0],
        "eval": [1],
    }
    assert found.truths is not None
    truth = found.truths(0, 96)
    np.testing.assert_allclose(truth.corners, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.1]], atol=1e-7)
    assert truth.corners.dtype == np.float32
    assert truth.classes.tolist() == [1, 0]
    assert truth.size == (40, 20)
    # The whole picture, stretched: nothing that is marked is lost.
    assert found.preprocessing.fit == "stretch"
    assert found.read(0, 32).shape == (32, 32, 3)


def test_images_csv_adds_pictures_without_boxes(tmp_path: Path) -> None:
    root = _table(tmp_path, "a.png,train,dog,10,5,30,15")
    _csv(root / "images.csv", "filename,split,width,height", "a.png,train,40,20", "b.png,val,40,20")
    found, findings = read_boxes(root)
    assert found.splits["eval"].tolist() == [1]
    assert found.truths is not None
    assert found.truths(1, 224).corners.shape == (0, 4)
    assert findings.empty == ("b.png",)
    assert "1 pictures have no boxes" in findings.told()[0].sentence()


def test_classes_txt_fixes_the_order_and_what_is_allowed(tmp_path: Path) -> None:
    root = _table(tmp_path, "a.png,train,dog,10,5,30,15", "b.png,val,cup,0,0,4,2")
    (root / "classes.txt").write_text("dog\ncup\nfork\n")
    assert open_boxes(root).classes == ("dog", "cup", "fork")
    (root / "classes.txt").write_text("dog\ncups\n")
    with pytest.raises(InputError, match=r"labels.csv line 3 .*classes.txt.* 'cup'; did you mean 'cups'"):
        open_boxes(root)


def test_coco(tmp_path: Path) -> None:
    found, findings = read_boxes(_coco(tmp_path))
    # The category that stands for the others is no class; these stand in the order of their ids.
    assert found.classes == ("cup", "dog")
    assert found.truths is not None
    truth = found.truths(0, 96)
    np.testing.assert_allclose(truth.corners[0], [0.25, 0.25, 0.75, 0.75])
    assert truth.crowd.tolist() == [False, False, True]
    assert len(findings.crowd) == 1
    assert findings.empty == ("b.png",)


def test_coco_folders_name_splits(tmp_path: Path) -> None:
    for split, number in (("train2017", 7), ("val2017", 9)):
        entry = {"id": number, "file_name": "p.png"}
        marked = {"id": 1, "image_id": number, "category_id": 18, "bbox": [1, 1, 5, 5]}
        content = {"images": [entry], "annotations": [marked], "categories": COCO_TOY["categories"]}
        _picture(tmp_path / split / "p.png")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    found = open_boxes(tmp_path)
    assert found.sources == ("train2017/p.png", "val2017/p.png")
    assert found.splits["train"].tolist() == [0]
    assert found.splits["eval"].tolist() == [1]


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    _picture(tmp_path / "JPEGImages" / "a.jpg")
    _picture(tmp_path / "JPEGImages" / "b.jpg")
    hard = _object("cup", (1, 1, 4, 2), "<difficult>1</difficult>")
    _voc(tmp_path / "Annotations" / "a.xml", "a.jpg", _object("dog", (11, 6, 30, 15)), hard)
    _voc(tmp_path / "Annotations" / "b.xml", "b.jpg", _object("dog", (1, 1, 40, 20)))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    (tmp_path / "ImageSets" / "Main" / "dog_train.txt").write_text("a 1\n")
    found = open_boxes(tmp_path)
    assert found.splits["train"].tolist() == [0]
    assert found.splits["eval"].tolist() == [1]
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.1]], atol=1e-7)
    assert found.truths(0, 96).crowd.tolist() == [False, True]
    np.testing.assert_allclose(found.truths(1, 96).corners, [[0, 0, 1, 1]])


def test_voc_of_tools_that_count_from_zero(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        _picture(tmp_path / split / "p.png")
        _voc(tmp_path / split / "p.xml", "p.png", _object("dog", (0, 5, 30, 15)))
    found = open_boxes(tmp_path)
    assert found.splits["eval"].tolist() == [1]
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0, 0.75, 0.75]])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,train,dog,30,5,10,15", r"labels.csv line 2: box 30, 5, 10, 15 has its corners swapped"),
        ("a.png,train,dog,10,5,10,15", "has no area"),
        ("a.png,train,dog,50,5,60,15", r"lies outside the picture \(picture a.png, 40 x 20\)"),
        ("a.png,train,dog,38,5,60,15", "lies mostly outside"),
        ("a.png,train,dog,x,5,30,15", "line 2: x1 is 'x'; it is a number of pixels"),
        ("a.png,train,dog,nan,5,30,15", "line 2: x1 is 'nan'"),
        ("a.png,lesson,dog,10,5,30,15", "line 2: split 'lesson' is not one of train"),
        ("c.png,train,dog,10,5,30,15", r"1 of 2 pictures are not there \(labels.csv line 2: c.png\)"),
        (",train,dog,10,5,30,15", "line 2: no filename"),
    ],
)
def test_what_a_csv_may_not_say(tmp_path: Path, row: str, said: str) -> None:
    root = _table(tmp_path, row, "b.png,val,dog,0,0,40,20")
    with pytest.raises(InputError, match=said):
        open_boxes(root)


def test_skip_broken_leaves_out_and_tells(tmp_path: Path) -> None:
    rows = ("a.png,train,dog,30,5,10,15", "a.png,train,dog,1,5,10,15", "c.png,train,dog,1,5,10,15")
    root = _table(tmp_path, *rows, "b.png,val,dog,0,0,40,20")
    found, findings = read_boxes(root, skip_broken=True)
    assert found.sources == ("a.png", "b.png")
    assert found.truths is not None
    assert len(found.truths(0, 96).corners) == 1
    assert len(findings.left_out) == 2
    (tmp_path / "a.png").write_bytes(b"no picture")
    found, findings = read_boxes(root, skip_broken=True)
    assert found.sources == ("b.png",)
    assert any("broken or not a picture" in line for line in findings.left_out)
    (tmp_path / "labels.csv").write_text(f"filename,split,class,x1,y1,x2,y2\n{rows[1]}\n")
    with pytest.raises(InputError, match="broken or not a picture"):
        read_boxes(root)


def test_boxes_that_stick_out_a_little_are_cut_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _table(tmp_path, "a.png,train,dog,-1,5,30,15", "b.png,val,dog,0,0,40,20")
    (told,) = open_boxes(root).findings
    assert told.sentence() == "1 boxes stick out of their picture and were cut at its edge (labels.csv line 2)"
    assert told.sentence() in caplog.text
    found, findings = read_boxes(root)
    assert findings.cut == ("labels.csv line 2",)
    assert found.truths is not None
    assert found.truths(0, 96).corners.min() == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [{"id": 1, "image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "image_id 8 is none"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]}]}, "category_id 4 is none"),
        (
            {"annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}]},
            r"bbox is \[0.0, 0.0, 1.0\]",
        ),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, -2, 1]}]}, "corners swapped"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [3, 3, 0, 1]}]}, "has no area"),
        ({"annotations": []}, "none of its 2 pictures has a box"),
        ({"categories": None}, "categories: Expected `array`, got `null`"),
        ({"images": [{"id": 7}]}, r"images\[0\]: Object missing required field `file_name`"),
        ({"images": []}, "image_id 7 is none of its images"),
    ],
)
def test_what_a_coco_file_may_not_say(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_boxes(_coco(tmp_path, content={**COCO_TOY, **change}))


def test_boxes_for_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    root = _coco(tmp_path)
    _picture(root / "a.png", (20, 40))
    with pytest.raises(InputError, match=r"has boxes for 40 x 20 pixels, but a.png is 20 x 40 \(it is stored turned"):
        open_boxes(root)


def test_broken_files_are_named_with_their_line(tmp_path: Path) -> None:
    root = _coco(tmp_path)
    (root / "boxes.json").write_text('{"images": [],\n "annotations": [}')
    with pytest.raises(InputError, match=r"boxes.json line 2 is no JSON"):
        open_boxes(root)
    (root / "boxes.json").unlink()
    (root / "a.xml").write_text("<annotation>\n<object></annotation>")
    with pytest.raises(InputError, match=r"a.xml line 2 is no XML"):
        open_boxes(root)
    (root / "a.xml").write_text('<!DOCTYPE x [<!ENTITY e "e">]><annotation>&e;</annotation>')
    with pytest.raises(InputError, match="defines entities"):
        open_boxes(root)
    _voc(root / "a.xml", "a.png", "<object><name>dog</name></object>")
    with pytest.raises(InputError, match=r"a.xml, object 1: it has no <bndbox>"):
        open_boxes(root)


def test_folders_that_hold_nothing_or_two_kinds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no boxes; they come as .* It holds no files"):
        open_boxes(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        open_boxes(tmp_path / "nowhere")
    root = _coco(_table(tmp_path, "a.png,train,dog,10,5,30,15"))
    with pytest.raises(InputError, match=r"more than one kind \(boxes.json; labels.csv\)"):
        open_boxes(root)
    assert open_boxes(root / "boxes.json").classes == ("cup", "dog")


def test_a_picture_in_two_splits_is_refused(tmp_path: Path) -> None:
    root = _table(tmp_path, "a.png,train,dog,10,5,30,15", "a.png,val,dog,0,0,40,20")
    with pytest.raises(InputError, match=r"line 3: a.png is in split 'eval', but labels.csv line 2 has it in 'train'"):
        open_boxes(root)


def test_the_fingerprint_changes_with_a_box(tmp_path: Path) -> None:
    before = open_boxes(_table(tmp_path, "a.png,train,dog,10,5,30,15", "b.png,val,dog,0,0,40,20")).fingerprint
    _csv(tmp_path / "labels.csv", "filename,class,x1,y1,x2,y2", "a.png,dog,10,5,30,15", "b.png,dog,0,0,40,19")
    assert open_boxes(tmp_path).fingerprint != before


def test_a_crop_would_cut_boxes_off(tmp_path: Path) -> None:
    root = _table(tmp_path, "a.png,train,dog,10,5,30,15", "b.png,val,dog,0,0,40,20")
    (root / "dataset.yaml").write_text("fit: crop\n")
    with pytest.raises(InputError, match="detection takes fit: stretch"):
        open_boxes(root)


@pytest.mark.shared
def test_blood_cells(shared_data: Path) -> None:
    root = shared_data / "small" / "bccd"
    found = open_boxes(root)
    assert found.classes == ("Platelets", "RBC", "WBC")
    assert (found.splits["train"].size, found.splits["eval"].size) == (292, 72)
    assert found.truths is not None
    classes = [found.truths(number, 224).classes for number in range(len(found.sources))]
    counts = np.bincount(np.concatenate(classes), minlength=3)
    with (root / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert counts.tolist() == [sum(row["class"] == name for row in rows) for name in found.classes]
