"""What the sheet of augmented pictures draws for a detector: the boxes that it learned from, where the objects are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnedge import tasks
from mnedge.models import Variant
from mnedge.report.overlay import colour_of
from mnedge.tasks._task import DecodedSplit, TrainingData
from mnedge.training.fit import samples
from mnedge.training.settings import Augmentation, Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SIDE, _KEPT = 96, 120


def _data(root: Path) -> TrainingData:
    """Pictures with one white square each, of 24 to 40 pixels."""
    chance, rows = np.random.default_rng(1), ["filename,x1,y1,x2,y2,class_index,class,split"]
    for split in ("train", "val"):
        for number in range(6):
            side, left, top = (int(chance.integers(low, high)) for low, high in ((24, 40), (30, 60), (30, 60)))
            pixels = np.full((_KEPT, _KEPT, 3), 60, np.uint8)
            pixels[top : top + side, left : left + side] = 255
            Image.fromarray(pixels).save(root / f"{split}{number}.png")
            rows.append(f"{split}{number}.png,{left},{top},{left + side},{top + side},0,square,{split}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    dataset = tasks.get("detect").open_dataset(str(root / "labels.csv"))
    splits = [
        DecodedSplit(np.stack([dataset.read(number, side) for number in dataset.split(name)]), dataset.split(name))
        for name, side in (("train", _KEPT), ("eval", _SIDE))
    ]
    return TrainingData(
        dataset=dataset,
        variant=Variant("v2", 0.35, _SIDE, 1, "ssdlite"),
        schedule=Schedule(augmentation=Augmentation(brightness=0.0, contrast=0.0, saturation=0.0)),
        train=splits[0],
        rows=np.arange(splits[0].numbers.size),
        held=splits[1],
        new_layers=frozenset(),
        keep_suspects=lambda _: None,
        progress=lambda _stage, _done: None,
    )


def _edges(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])]


def test_boxes_lie_on_the_objects_of_augmented_pictures(tmp_path: Path) -> None:
    data = _data(tmp_path)
    task = tasks.get("detect")
    pixels, targets = samples(task.objective(data).feed, 6, 0)
    assert pixels.shape == (6, _SIDE, _SIDE, 3)
    for one, target in zip(pixels, targets, strict=True):
        drawn = task.show_target(one, target, data)
        framed = (drawn == np.array(colour_of(0))).all(axis=2)
        assert framed.any()
        # The box is that of the turned ellipse within the square, and the square's edges are smoothed.
        assert np.abs(np.subtract(_edges(framed), _edges(one.min(axis=2) > 150))).max() <= 5
