"""Create ML's JSON: the coordinates are those of the centre."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.errors import InputError

_ROWS: list[dict[str, object]] = [
    {
        "image": "a.jpg",
        "annotations": [{"label": "dog", "coordinates": {"x": 20, "y": 10, "width": 20, "height": 10}}],
    },
    {"image": "b.jpg", "annotations": []},
]


def _folder(root: Path, rows: object) -> Path:
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True, exist_ok=True)
        for name in ("a.jpg", "b.jpg"):
            Image.new("RGB", (40, 20)).save(root / split / name)
        (root / split / "_annotations.createml.json").write_text(json.dumps(rows))
    return root


def test_centres(tmp_path: Path) -> None:
    found = open_boxes(_folder(tmp_path, _ROWS))
    assert found.sources == ("train/a.jpg", "train/b.jpg", "valid/a.jpg", "valid/b.jpg")
    assert found.splits["eval"].tolist() == [2, 3]
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0.25, 0.75, 0.75]])
    assert found.found is not None
    assert found.found.background == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": ""}, r"\[0\]: it names no image"),
        ({"annotations": [{"label": "dog"}]}, r"\[0\].annotations\[0\]: Object missing required field `coordinates`"),
        (
            {"annotations": [{"label": "", "coordinates": {"x": 1, "y": 1, "width": 1, "height": 1}}]},
            r"annotations\[0\]: .* is no label with a box",
        ),
    ],
)
def test_what_it_may_not_say(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_boxes(_folder(tmp_path, [{**_ROWS[0], **change}, {**_ROWS[0], "image": "b.jpg"}]))
