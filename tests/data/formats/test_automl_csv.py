"""AutoML's CSV, as Model Maker's salads have it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.errors import InputError


def _folder(root: Path, text: str) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (40, 20)).save(root / name)
    (root / "salads.csv").write_text(text)
    return root


def test_rows(tmp_path: Path) -> None:
    root = _folder(
        tmp_path,
        "TRAINING,gs://bucket/img/a.jpg,Salad,0.25,0.25,,,0.75,0.75,,\n"
        "TRAINING,gs://bucket/img/a.jpg,Tomato,0.0,0.0,,,0.1,0.1,,\n"
        "VALIDATION,gs://bucket/img/b.jpg,Salad,0,0,1,0,1,1,0,1\n"
        "TEST,gs://bucket/img/c.jpg,,,,,,,,,\n",
    )
    found = open_boxes(root)
    assert found.classes == ("Salad", "Tomato")
    assert [found.splits[name].tolist() for name in ("train", "eval", "test")] == [[0], [1], [2]]
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.1]], atol=1e-6)
    np.testing.assert_allclose(found.truths(1, 96).corners, [[0, 0, 1, 1]])
    assert found.truths(2, 96).corners.shape == (0, 4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("TRAINING,a.jpg,Salad,25,25,,,75,75,,", "line 2: a corner is '25'; it is a fraction"),
        ("LEARN,a.jpg,Salad,0,0,,,1,1,,", "line 2: .* is no row of AutoML's"),
        ("TEST,b.jpg,Salad,0,0,,,1,1,,", r"line 2: b.jpg is in set TEST, but salads.csv line 1 has it in another"),
    ],
)
def test_what_a_row_may_not_say(tmp_path: Path, row: str, said: str) -> None:
    root = _folder(tmp_path, f"TRAINING,b.jpg,Salad,0,0,,,1,1,,\n{row}\n")
    with pytest.raises(InputError, match=said):
        open_boxes(root)
