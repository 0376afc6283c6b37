"""CVAT's XML for images, as version 2 exports it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.data.tags import open_tags, tags_of
from mnedge.errors import InputError

_META = (
    "<version>1.1</version><meta><job><id>1</id><labels><label><name>cup</name><color>#fa3253</color><type>any</type>"
    "<attributes></attributes></label><label><name>dog</name></label></labels></job></meta>"
)
_BOX = '<box label="dog" source="manual" occluded="0" xtl="10.00" ytl="5.00" xbr="30.00" ybr="15.00" z_order="0"></box>'
_POLYGON = '<polygon label="cup" source="manual" occluded="0" points="0,0;10,0;10,10;0,10" z_order="2"></polygon>'
_MASK = (
    '<mask label="dog" source="manual" occluded="0" rle="2, 4, 2" left="12" top="6" width="4" height="2" z_order="1">'
    "</mask>"
)


def _export(root: Path, shapes: str, *, more: str = "") -> Path:
    images = ""
    for number, subset in enumerate(("train", "validation", "test")):
        path = root / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20)).save(path)
        images += f'<image id="{number}" name="{number}.png" subset="{subset}" width="40" height="20">{shapes}</image>'
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{_META}{images}{more}</annotations>'
    )
    return root


def test_boxes(tmp_path: Path) -> None:
    found = open_boxes(_export(tmp_path, _BOX + _POLYGON))
    assert found.classes == ("cup", "dog")
    assert [found.splits[name].tolist() for name in ("train", "eval", "test")] == [[0], [1], [2]]
    assert found.truths is not None
    truth = found.truths(0, 96)
    np.testing.assert_allclose(truth.corners, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.5, 0.25]])
    assert truth.classes.tolist() == [1, 0]


def test_masks_lie_as_their_depth_says(tmp_path: Path) -> None:
    found = open_masks(_export(tmp_path, _POLYGON + _MASK + _BOX))
    assert found.classes == ("background", "cup", "dog")
    assert found.truths is not None
    mask = found.truths(0, 0)
    expected = np.zeros((20, 40), np.uint8)
    expected[5:15, 10:30] = 2
    expected[:10, :10] = 1
    assert (mask == expected).all()
    alone = open_masks(_export(tmp_path, _MASK)).truths
    assert alone is not None
    expected[:] = 0
    expected[6, 14:16] = expected[7, 12:14] = 2
    assert (alone(0, 0) == expected).all()


def test_shapes_that_enclose_nothing_are_told(tmp_path: Path) -> None:
    found = open_boxes(_export(tmp_path, _BOX + '<points label="dog" points="1,1" z_order="0"></points>'))
    assert any(finding.where[0] == "annotations.xml, image 0: points" for finding in found.findings)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (_BOX.replace("10.00", "x"), "box 0: xtl is 'x'; it is a number of pixels"),
        (_POLYGON.replace("0,0;10,0;10,10;0,10", "0,0;1"), "has points '0,0;1'"),
        (_MASK.replace("2, 4, 2", "2, 4"), "has runs of 6 pixels, its size is 4 x 2"),
        (_MASK.replace("2, 4, 2", "2, -4, 2, 8"), "has runs of"),
        (_BOX.replace('label="dog"', ""), "has no label"),
        (_BOX.replace("dog", "cat"), r"class .* 'cat'"),
    ],
)
def test_what_a_shape_may_not_say(tmp_path: Path, shapes: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_boxes(_export(tmp_path, shapes))


def test_tracks_of_a_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the tracks of a video, without its frames; export the task as"):
        open_boxes(_export(tmp_path, _BOX, more='<track id="0" label="dog"></track>'))


def test_tags_of_whole_pictures(tmp_path: Path) -> None:
    root = _export(tmp_path, '<tag label="dog" source="manual"></tag>' + _BOX, more=_TAGGED)
    Image.new("RGB", (40, 20)).save(root / "images" / "3.png")
    found = open_tags(root)
    assert found.classes == ("cup", "dog")
    assert tags_of(found, np.arange(4)).tolist() == [[False, True]] * 3 + [[True, True]]
    assert [found.splits[name].tolist() for name in ("train", "eval", "test")] == [[0, 3], [1], [2]]


_TAGGED = (
    '<image id="3" name="3.png" subset="train" width="40" height="20"><tag label="cup"></tag><tag label="dog"></tag>'
    "</image>"
)


def test_shapes_are_no_labels_of_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no tag of a whole picture, and 3 shapes; .*give --task detect"):
        open_tags(_export(tmp_path, _BOX))
