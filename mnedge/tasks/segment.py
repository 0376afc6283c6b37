"""Segmentation: the class of each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache
from mnedge.data import formats
from mnedge.data.check import check_marked
from mnedge.data.gather import gather_masks
from mnedge.data.masks import IGNORE, class_pixels, open_masks
from mnedge.errors import InputError
from mnedge.report.overlay import colour_of, side_by_side, with_mask, with_words
from mnedge.results.metric import Metric
from mnedge.results.outcome import ClassRow, MetPicture, Outcome
from mnedge.tasks._task import Task
from mnedge.training.settings import Schedule
from mnedge.validation.answers import mask_in, share_answers
from mnedge.validation.segment import (
    WORST,
    class_ious,
    confusions,
    mean_iou,
    pixel_confusion,
    pixel_mixups,
    segment_figures,
    worst,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.data.draw import Draw
    from mnedge.results.accuracy import MixUp
    from mnedge.results.prediction import Answer
    from mnedge.tasks._task import Arrays, DecodedSplit, TrainingData
    from mnedge.training.phases import Objective
    from mnedge.validation.answers import Seen
    from mnedge.validation.predict import Predictions

_GALLERY = 9


def _open(spec: str, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    if spec == "demo":
        raise InputError(
            f"the demo pictures have no masks; give --data pictures with masks; {formats.layouts('masks')}"
        )
    return open_masks(Path(spec), skip_broken=skip_broken, draw=draw)


def _objective(data: TrainingData) -> Objective:
    from mnedge.training.segment import Masked, SegmentScores, segment

    classes = len(data.dataset.classes)
    train_masks, held_masks = (_masks(data, part) for part in (data.train, data.held))
    shown = class_pixels(train_masks[data.rows], classes)
    if lacking := [name for name, count in zip(data.dataset.classes, shown, strict=True) if count == 0]:
        raise InputError(
            f"no mask of the train split of {data.dataset.name} shows {', '.join(lacking)}; add pictures that do, "
            "or take the class out of classes.txt"
        )
    return segment(
        Masked(data.train.pixels, train_masks, data.rows),
        Masked(data.held.pixels, held_masks, np.arange(data.held.numbers.size)),
        data.schedule,
        data.new_layers,
        SegmentScores(mean_iou, lambda predicted, mask: pixel_confusion(predicted, mask, classes), worst),
    )


def _masks(data: TrainingData, pictures: DecodedSplit) -> NDArray[np.uint8]:
    """The masks of gathered pictures, uint8 (n, side, side), mapped from a file of the cache."""
    dataset = data.dataset
    key = {"data": dataset.fingerprint, "numbers": pictures.numbers.tolist(), "side": pictures.side}

    def make(folder: Path) -> None:
        def notify(done: float) -> None:
            data.progress("read masks", done)

        gather_masks(dataset, pictures.numbers, pictures.side, folder / "masks.npy", notify)

    masks: NDArray[np.uint8] = np.load(cache.stage("masks", key, make) / "masks.npy", mmap_mode="r")
    return masks


def _outcome(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset) -> Outcome:
    counted = arrays["confusions"]
    total = counted.sum(0)
    pixels, predicted, right = total.sum(1), total.sum(0), total.diagonal()
    return Outcome(
        figures={"mean_iou": mean_iou(total)},
        classes=tuple(
            ClassRow(
                name,
                int(np.count_nonzero(counted[:, place].sum(1))),
                {
                    "iou": None if np.isnan(iou) else float(iou),
                    "recall": float(right[place] / pixels[place]) if pixels[place] else None,
                    "precision": float(right[place] / predicted[place]) if predicted[place] else None,
                },
            )
            for place, (name, iou) in enumerate(zip(dataset.classes, class_ious(total), strict=True))
        ),
        mixups=tuple(pixel_mixups(counted, dataset.classes)),
        worst=tuple(
            MetPicture(
                dataset.sources[numbers[place]], words=f"IoU {100 * value:.1f} %", counts={"iou": round(value, 4)}
            )
            for place, value in worst(counted, WORST)
        ),
    )


def _show(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset, number: int) -> NDArray[np.uint8]:
    """The picture with its mask and, of the worst ones, with what was found."""
    place = int(np.flatnonzero(numbers == number)[0]) if number in numbers else -1
    found = np.flatnonzero(arrays["worst"] == place)
    side = arrays["maps"].shape[1]
    pixels = dataset.read(number, side)
    assert dataset.truths is not None, dataset.name
    masks = [dataset.truths(number, side), *arrays["maps"][found]]
    return side_by_side([with_mask(pixels, mask, IGNORE) for mask in masks])


def _gallery(predictions: Predictions, dataset: Dataset) -> list[tuple[str, str, NDArray[np.uint8]]]:
    assert dataset.truths is not None, dataset.name
    shown = []
    for place, value in worst(confusions(predictions, dataset), _GALLERY):
        number, found = int(predictions.numbers[place]), predictions.class_of(place)
        pixels, mask = dataset.read(number, len(found)), dataset.truths(number, len(found))
        picture = side_by_side([with_mask(pixels, mask, IGNORE), with_mask(pixels, found, IGNORE)])
        shown.append((dataset.sources[number], f"IoU {100 * value:.1f} %", picture))
    return shown


def _mistakes(predictions: Predictions, dataset: Dataset) -> list[MixUp]:
    return pixel_mixups(confusions(predictions, dataset), dataset.classes)


def _draw(pixels: NDArray[np.uint8], answer: Answer, said: Predictions, place: int, seen: Seen) -> NDArray[np.uint8]:
    shown = with_mask(pixels, mask_in(said, place, seen), IGNORE)
    rows = answer.shares or ()
    # The background stays as it is.
    grounds = [colour_of(row.index) if row.index else (255, 255, 255) for row in rows]
    return with_words(shown, [row.said for row in rows], grounds)


TASK = Task(
    name="segment",
    title="semantic segmentation",
    metrics=(
        Metric("mean_iou", "mean IoU", is_headline=True),
        Metric("iou", "IoU", by_class=True),
        Metric("recall", "recall", by_class=True),
        Metric("precision", "precision", by_class=True),
    ),
    heads=("lr-aspp", "deeplab"),
    open_dataset=_open,
    classes=lambda dataset: len(dataset.classes),
    check=check_marked,
    objective=_objective,
    outcome=_outcome,
    show=_show,
    show_target=lambda pixels, mask, _data: with_mask(pixels, mask, IGNORE),
    answers=share_answers,
    draw=_draw,
    accuracy=segment_figures,
    counted="pixels",
    gallery=_gallery,
    mistakes=_mistakes,
    schedule=Schedule(head_epochs=4, epochs=60, learning_rate=6e-4, batch_size=16, patience=20),
    post_passes=dict.fromkeys(("tflite", "onnx", "c"), ("segmentation-postprocess",)),
    output_heads=("map",),
    # Its map holds scores of classes.
    own_head="logits",
)
