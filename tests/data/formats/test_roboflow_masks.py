"""Roboflow's semantic segmentation masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.masks import open_masks
from mnedge.errors import InputError


def _export(root: Path, table: str = "Pixel Value, Class\n0, background\n1, cat\n2, dog\n") -> Path:
    for split in ("train", "valid", "test"):
        (root / split).mkdir(parents=True)
        mask = np.zeros((20, 40), np.uint8)
        mask[5:, 10:] = 2
        Image.new("RGB", (40, 20)).save(root / split / "a_jpg.rf.1.jpg")
        Image.fromarray(mask).save(root / split / "a_jpg.rf.1_mask.png")
        (root / split / "_classes.csv").write_text(table)
    return root


def test_masks(tmp_path: Path) -> None:
    found = open_masks(_export(tmp_path))
    assert found.classes == ("background", "cat", "dog")
    assert found.sources == tuple(f"{split}/a_jpg.rf.1.jpg" for split in ("test", "train", "valid"))
    assert [found.splits[name].tolist() for name in ("test", "train", "eval")] == [[0], [1], [2]]
    assert found.truths is not None
    assert (found.truths(1, 0)[5:, 10:] == 2).all()
    assert int(found.truths(1, 0).sum()) == 2 * 15 * 30


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("Pixel Value, Class\n0, background\n0, cat\n", "line 3: 0 or 'cat' stands there twice"),
        ("Pixel Value, Class\n0, background\n300, cat\n", "line 3: '300', 'cat' is no pixel value"),
        ("Pixel Value, Class\n0, background\n", "names 1 class"),
    ],
)
def test_what_the_list_may_not_say(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_masks(_export(tmp_path, table))
