"""Edge Impulse's export of an object detection project."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.errors import InputError


def _export(root: Path, boxes: object) -> Path:
    for split in ("training", "testing"):
        (root / split).mkdir()
        for name in ("a.jpg.2c.ingestion.jpg", "b.jpg.3d.ingestion.jpg"):
            Image.new("RGB", (40, 20)).save(root / split / name)
        told = {"version": 1, "type": "bounding-box-labels", "boundingBoxes": {"a.jpg.2c.ingestion.jpg": boxes}}
        (root / split / "bounding_boxes.labels").write_text(json.dumps(told))
    (root / "info.labels").write_text(json.dumps({"version": 1, "files": []}))
    return root


def test_training_and_testing(tmp_path: Path) -> None:
    found = open_boxes(_export(tmp_path, [{"label": "cube", "x": 10, "y": 5, "width": 20, "height": 10}]))
    assert found.classes == ("cube",)
    assert found.sources == ("testing/a.jpg.2c.ingestion.jpg", "training/a.jpg.2c.ingestion.jpg")
    assert found.splits["test"].tolist() == [0]
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(0, 96).corners, [[0.25, 0.25, 0.75, 0.75]])
    assert any("not named in bounding_boxes.labels" in finding.what for finding in found.findings)


def test_what_it_may_not_say(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"boundingBoxes\[...\]\[0\]: Object missing required field `height`"):
        open_boxes(_export(tmp_path, [{"label": "cube", "x": 10, "y": 5, "width": 20}]))
