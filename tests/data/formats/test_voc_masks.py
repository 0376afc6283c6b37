"""Pascal VOC's and CVAT's SegmentationClass."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.formats.voc_masks import FORMAT
from mnedge.data.masks import IGNORE, open_masks
from mnedge.errors import InputError

_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]


def _values() -> np.ndarray:
    mask = np.zeros((20, 40), np.uint8)
    mask[5:, 10:] = 2
    mask[10:, 20:] = 3
    mask[4, 10:] = IGNORE
    return mask


def _folder(root: Path, *, lists: str = "Segmentation") -> Path:
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject", f"ImageSets/{lists}"):
        (root / name).mkdir(parents=True)
    for name in ("2007_000032", "2007_000033", "2007_000034"):
        Image.new("RGB", (40, 20)).save(root / "JPEGImages" / f"{name}.jpg")
    return root


def test_pascal_voc_2012(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    palette = [value for colour in _COLOURS for value in colour] + [0] * 3 * 252
    palette[-3:] = [224, 224, 192]
    for name in ("2007_000032", "2007_000033"):
        mask = Image.fromarray(_values())
        mask.putpalette(palette)
        mask.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_000032\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n")
    found = open_masks(root)
    assert found.found is not None
    assert found.found.format == FORMAT.title
    assert (len(found.classes), found.classes[0], found.classes[15]) == (21, "background", "person")
    assert any("Pascal VOC" in finding.what for finding in found.findings)
    assert (found.splits["train"].tolist(), found.splits["eval"].tolist()) == ([0], [1])
    assert found.truths is not None
    assert (found.truths(0, 0) == _values()).all()


def test_cvat_colours(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    colours = np.array([*_COLOURS, *[(224, 224, 192)] * 252], np.uint8)
    for name in ("2007_000032", "2007_000033"):
        Image.fromarray(colours[_values()]).save(root / "SegmentationClass" / f"{name}.png")
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:0,128,0::\nbig dog:128,128,0::\n"
    )
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("2007_000032\n2007_000033\n")
    found = open_masks(root)
    assert found.classes == ("background", "cat", "big dog")
    assert found.truths is not None
    expected = _values()
    expected[expected == 2] = 1
    expected[expected == 3] = 2
    assert (found.truths(0, 0) == expected).all()
    Image.fromarray(np.full((20, 40, 3), 7, np.uint8)).save(root / "SegmentationClass" / "2007_000032.png")
    with pytest.raises(
        InputError, match=r"2007_000032\.png has 800 pixels of the colour \(7, 7, 7\), which is no class"
    ):
        open_masks(root).truths(0, 0)  # type: ignore[misc]


def test_masks_without_pictures(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    Image.fromarray(_values()).save(root / "SegmentationClass" / "other.png")
    with pytest.raises(InputError, match="none of its 1 masks has a picture of its name in JPEGImages"):
        open_masks(root)
