"""Damaged lists of others: each is read, or refused with a message; nothing else comes out."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnedge import recipe
from mnedge.data import open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.errors import InputError

# Cases of each test; a fifth of what --fuzz asks for.
_CASES = [60]


@pytest.fixture(autouse=True)
def _cases(request: pytest.FixtureRequest) -> None:
    _CASES[0] = request.config.getoption("--fuzz") // 5


_COCO = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 20} for n in range(3)],
    "categories": [{"id": 3, "name": "cup"}, {"id": 18, "name": "dog"}],
    "annotations": [
        {"id": n, "image_id": n, "category_id": (3, 18)[n % 2], "bbox": [10, 5, 20, 10], "iscrowd": 0} for n in range(3)
    ],
}
_VOC = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<annotation><filename>0.png</filename><size><width>40</width><height>20'
    "</height></size><object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>\n"
)
_LISTED = "filename,class_index,class,split\n0.png,0,dog,train\n1.png,1,cat,eval\n2.png,1,cat,train\n"
_CORNERS = "filename,class,x1,y1,x2,y2,split\n0.png,dog,1,1,9,9,train\n1.png,cat,1,1,9,9,val\n2.png,dog,1,1,9,9,train\n"
_SETTINGS = "crop_fraction: 0.9\ninterpolation: bicubic\nfit: crop\n"
_RECIPE = (
    "variant: v1\nalpha: 0.25\nresolution: 48\nint8: true\ntargets: [cpu]\ngates:\n  min_top1: 0.5\n  parity: 0.9\n"
)
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -1e308, 10**400, float("nan"), float("inf"), "", "x" * 300, "a\x00b", "../..", "\ud800",
    "a\nb", [], {}, [[]], {"id": 1},
)  # fmt: skip
_WORDS = (
    b"", b"\x00", b"\xff\xfe", b"\xe2\x80\xa8", b"\n", b'"', b",", b": ", b"- ", b"*a", b"&a ", b"!!set ", b"{",
    b"[" * 2000, b".nan", b"1e999", b"9" * 5000, b"<", b"</object>", b"&#0;", b"&lol;", b"UTF-7", b"-1", b"1",
    b"2", b"0", b" ", b" # x", b"x" * 300, b"2024-13-45",
)  # fmt: skip


def _shuffled(text: bytes, chance: random.Random) -> bytes:
    """Some bytes lost, changed or put in."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 2)):
        start = chance.randrange(len(data) + 1)
        data[start : start + chance.choice((0, 0, 1, 1, 4, 30))] = chance.choice(_WORDS)
    return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.1 else data)


def _replaced(content: Any, chance: random.Random) -> Any:
    """One value of nested JSON lost, or of another kind."""
    places: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting:
        node = waiting.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            waiting += [node[key]] if isinstance(node[key], (dict, list)) else []
    node, key = chance.choice(places)
    if chance.random() < 0.2:
        del node[key]
    else:
        node[key] = copy.deepcopy(chance.choice(_ODD))
    return content


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "d"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(root / f"{number}.png")
    return root


def _tried(make: Callable[[random.Random], bytes], file: Path, read: Callable[[], object], *, least: int = 1) -> None:
    taken = 0
    for seed in range(_CASES[0]):
        file.write_bytes(make(random.Random(seed)))  # noqa: S311 - damage, not secrets
        try:
            read()
        except InputError:
            continue
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {exc!r} from {file.read_bytes()[:400]!r}") from exc
        taken += 1
    # What is damaged harmlessly still opens, so more than the refusal at the door was tried.
    assert taken >= least


def test_coco(pictures: Path) -> None:
    def make(chance: random.Random) -> bytes:
        return json.dumps(_replaced(copy.deepcopy(_COCO), chance)).encode()

    _tried(make, pictures / "c.json", lambda: open_boxes(pictures))
    _tried(
        lambda chance: _shuffled(json.dumps(_COCO).encode(), chance), pictures / "c.json", lambda: open_boxes(pictures)
    )


def test_voc(pictures: Path) -> None:
    _tried(lambda chance: _shuffled(_VOC.encode(), chance), pictures / "0.xml", lambda: open_boxes(pictures))


def test_lists_of_splits(pictures: Path) -> None:
    (pictures / "0.xml").write_text(_VOC)
    (pictures / "ImageSets").mkdir()
    _tried(
        lambda chance: _shuffled(b"0\n1\n2\n", chance),
        pictures / "ImageSets" / "train.txt",
        lambda: open_boxes(pictures),
    )


@pytest.mark.parametrize("text", [_LISTED, _CORNERS])
def test_tables(pictures: Path, text: str) -> None:
    def read() -> object:
        return open_dataset(str(table)) if text == _LISTED else open_boxes(table)

    table = pictures / "labels.csv"
    _tried(lambda chance: _shuffled(text.encode(), chance), table, read)


@pytest.mark.parametrize("name", ["labels.txt", "synset_words.txt"])
def test_lists_of_names(pictures: Path, name: str) -> None:
    (pictures / "labels.csv").write_text(_LISTED.replace("class,", "was,"))
    _tried(
        lambda chance: _shuffled(b"n1 dog\nn2 cat\n", chance), pictures / name,
        lambda: open_dataset(str(pictures / "labels.csv")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [("classes.txt", b"0 a\n1 b\n"), ("split.csv", b"filename,split\n0.png,val\n1.png,train\n2.png,\n")],
)
def test_lists_of_masks(pictures: Path, name: str, text: bytes) -> None:
    for folder in ("images", "masks"):
        (pictures / folder).mkdir()
    for number in range(3):
        (pictures / f"{number}.png").rename(pictures / "images" / f"{number}.png")
        Image.fromarray(np.ones((20, 40), np.uint8)).save(pictures / "masks" / f"{number}.png")
    _tried(lambda chance: _shuffled(text, chance), pictures / name, lambda: open_masks(pictures))


def test_settings(pictures: Path) -> None:
    (pictures / "labels.csv").write_text(_LISTED)
    (pictures / "dataset.yaml").write_text(_SETTINGS)
    open_dataset(str(pictures / "labels.csv"))
    _tried(
        lambda chance: _shuffled(_SETTINGS.encode(), chance), pictures / "dataset.yaml",
        lambda: open_dataset(str(pictures / "labels.csv")), least=0,
    )  # fmt: skip


_BOX = {"label": "dog", "x": 1, "y": 2, "width": 9, "height": 9}
_SHAPE = {"label": "dog", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon", "group_id": None}
_JSON: dict[str, tuple[str, Any]] = {
    "labelme": (
        "0.json",
        {"version": "5.4.1", "shapes": [_SHAPE], "imagePath": "0.png", "imageHeight": 20, "imageWidth": 40},
    ),
    "create-ml": (
        "c.json",
        [
            {
                "image": f"{n}.png",
                "annotations": [{"label": "dog", "coordinates": {"x": 9, "y": 9, "width": 6, "height": 6}}],
            }
            for n in range(3)
        ],
    ),
    "edge-impulse": (
        "bounding_boxes.labels",
        {"version": 1, "type": "bounding-box-labels", "boundingBoxes": {f"{n}.png": [_BOX] for n in range(3)}},
    ),
    "coco-outlines": (
        "c.json",
        {
            **_COCO,
            "annotations": [
                {
                    "id": n,
                    "image_id": n,
                    "category_id": 3,
                    "bbox": [1, 1, 8, 8],
                    "segmentation": [[[1, 1, 9, 1, 9, 9]], {"counts": [5, 795], "size": [20, 40]}][n % 2],
                }
                for n in range(3)
            ],
        },
    ),
}
_TEXTS = {
    "0.txt": b"0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.2\n",
    "data.yaml": b"train: images/train\nval: images/val\nnc: 2\nnames:\n  0: cup\n  1: dog\n",
    "annotations.xml": b'<?xml version="1.0"?><annotations><meta><job><labels><label><name>dog</name></label></labels>'
    b'</job></meta><image id="0" name="0.png" width="40" height="20"><box label="dog" xtl="1" ytl="1" xbr="9" ybr="9" '
    b'z_order="0"></box><polygon label="dog" points="1,1;9,1;9,9" z_order="1"></polygon><mask label="dog" '
    b'rle="2, 4, 2" left="1" top="1" width="4" height="2"></mask></image></annotations>',
    "_annotations.csv": b"filename,width,height,class,xmin,ymin,xmax,ymax\n0.png,40,20,dog,1,1,9,9\n"
    b"1.png,40,20,cup,1,1,9,9\n",
    "automl.csv": b"TRAINING,gs://b/0.png,dog,0.1,0.1,,,0.5,0.5,,\nVALIDATION,gs://b/1.png,cup,0.1,0.1,,,0.5,0.5,,\n",
}
_CLASSES = {
    "_classes.csv": b"filename, cat, dog\n0.png, 1, 0\n1.png, 0, 1\n2.png, 0, 1\n",
    "train.csv": b"image_id;label\n0;dog\n1;cat\n2;dog\n",
}


def _both(root: Path) -> Callable[[], object]:
    """Boxes, and of the masks every pixel; what is refused as one of them may be taken as the other."""

    def read() -> object:
        found = open_masks(root)
        assert found.truths is not None
        masks = [found.truths(number, 0) for number in range(len(found.sources))]
        return masks, open_boxes(root)

    return read


@pytest.mark.parametrize("kind", list(_JSON))
def test_json_of_other_tools(pictures: Path, kind: str) -> None:
    name, content = _JSON[kind]
    has_outlines = kind in ("labelme", "coco-outlines")
    read = _both(pictures) if has_outlines else lambda: open_boxes(pictures)
    text = json.dumps(content).encode()
    (pictures / name).write_bytes(text)
    read()
    _tried(lambda chance: json.dumps(_replaced(copy.deepcopy(content), chance)).encode(), pictures / name, read)
    # Almost any lost byte makes another language of JSON.
    _tried(lambda chance: _shuffled(text, chance), pictures / name, read, least=0)


@pytest.mark.parametrize("name", list(_TEXTS))
def test_texts_of_other_tools(pictures: Path, name: str) -> None:
    if name == "data.yaml":
        for split, number in (("train", 0), ("val", 1)):
            for folder in ("images", "labels"):
                (pictures / folder / split).mkdir(parents=True)
            (pictures / f"{number}.png").rename(pictures / "images" / split / f"{number}.png")
            (pictures / "labels" / split / f"{number}.txt").write_bytes(_TEXTS["0.txt"])
    (pictures / name).write_bytes(_TEXTS[name])
    open_boxes(pictures)
    _tried(lambda chance: _shuffled(_TEXTS[name], chance), pictures / name, lambda: open_boxes(pictures))


@pytest.mark.parametrize("name", list(_CLASSES))
def test_tables_of_names(pictures: Path, name: str) -> None:
    _tried(lambda chance: _shuffled(_CLASSES[name], chance), pictures / name, lambda: open_dataset(str(pictures)))


@pytest.mark.parametrize("name", ["labelmap.txt", "class_dict.csv"])
def test_palettes(pictures: Path, name: str) -> None:
    for folder in ("images", "masks"):
        (pictures / folder).mkdir()
    for number in range(3):
        (pictures / f"{number}.png").rename(pictures / "images" / f"{number}.png")
        Image.new("RGB", (40, 20), (0, 128, 0)).save(pictures / "masks" / f"{number}.png")
    text = b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:0,128,0::\n"
    text = text if name == "labelmap.txt" else b"name,r,g,b\nbackground,0,0,0\ncat,0,128,0\n"

    def read() -> object:
        found = open_masks(pictures)
        assert found.truths is not None
        return found.truths(0, 0)

    _tried(lambda chance: _shuffled(text, chance), pictures / name, read)


@pytest.mark.usefixtures("private_cache")
def test_records(tmp_path: Path) -> None:
    from mnedge.data.formats._example import examples

    key = b"image/class/label"
    feature = b"\x1a\x03\x0a\x01\x05"
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    data = b"\x0a" + bytes([len(features)]) + features
    record = len(data).to_bytes(8, "little") + bytes(4) + data + bytes(4)
    path = tmp_path / "t.tfrecord"
    path.write_bytes(record)
    assert next(examples(path)).whole("image/class/label") == [5]
    _tried(lambda chance: _shuffled(record * 2, chance), path, lambda: list(examples(path)))


def test_recipes(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    _tried(lambda chance: _shuffled(_RECIPE.encode(), chance), file, lambda: recipe.load(str(file)))
