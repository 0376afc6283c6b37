"""Overlap of masks: intersection over union, class by class and picture by picture."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.masks import IGNORE
from mnedge.errors import InputError
from mnedge.results.accuracy import Figures, MixUp, WorstPicture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.untyped import AnyInts
    from mnedge.validation.predict import Predictions

_RESAMPLED = 400
_LOWEST = np.float32(-1e30)
WORST = 24


def pixel_confusion(predicted: NDArray[np.int64], mask: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Counts pixels, int64 (classes, classes): row is the truth, column what was predicted; ignored ones are left out.

    Args:
        predicted: (H, W).
        mask: uint8, (H, W), `IGNORE` where nothing counts.
        classes: Number of classes.
    """
    counted = mask != IGNORE
    pairs = mask[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_ious(confusion: AnyInts) -> NDArray[np.float64]:
    """Intersection over union of each class, 0..1; NaN where neither truth nor prediction has it.

    Everingham et al. 2010, "The Pascal Visual Object Classes Challenge", section 4.4: right pixels over those that are
    of the class, or taken for it, or both.

    Args:
        confusion: (…, classes, classes), see `pixel_confusion`.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    union = confusion.sum(-1) + confusion.sum(-2) - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


def mean_iou(confusion: AnyInts) -> float:
    """Mean over the classes that truth or prediction has."""
    return float(np.nanmean(class_ious(confusion)))


def confusions(predictions: Predictions, dataset: Dataset) -> NDArray[np.int64]:
    """The pixel confusion of each picture, int64 (pictures, classes, classes).

    What was found is brought to the size of the picture, as its mask has it and an app shows it.

    Raises:
        InputError: The output is no square map of the data's classes.
    """
    truths, classes = dataset.truths, len(dataset.classes)
    assert truths is not None, "a segmentation is held against masks"
    shape = predictions.outputs.shape[1:]
    is_map = len(shape) == (2 if predictions.gives_indices else 3) and shape[0] == shape[1]

    def counted(place: int) -> NDArray[np.int64]:
        if not is_map or predictions.class_of(place).max() >= classes:
            raise InputError(
                f"an output of {'x'.join(map(str, shape))} is no map of the {classes} classes of {dataset.name}; give "
                "a model that tells these classes apart, pixel by pixel"
            )
        mask = truths(int(predictions.numbers[place]), 0)
        found = enlarged(predictions.outputs[place], mask.shape, is_indices=predictions.gives_indices)
        return pixel_confusion(found, mask, classes)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.stack(list(pool.map(counted, range(predictions.numbers.size))))


def enlarged(output: NDArray[np.float32], size: tuple[int, ...], *, is_indices: bool) -> NDArray[np.int64]:
    """The class of each pixel of a picture, int64 (height, width).

    Scores are interpolated and then compared, as Chen et al. 2017 (https://arxiv.org/abs/1706.05587, section 4.1) and
    MediaPipe do; class indices can only be repeated.

    Args:
        output: float32, scores (H, W, classes) or class indices (H, W).
        size: Height and width of the picture.
        is_indices: Whether it holds indices, not scores.
    """
    from PIL import Image

    def resized(plane: NDArray[np.float32], how: Image.Resampling) -> NDArray[np.float32]:
        # A class without a score in the map is -inf, of which interpolation makes NaN.
        finite = np.ascontiguousarray(np.maximum(plane, _LOWEST), np.float32)
        return np.asarray(Image.fromarray(finite).resize((size[1], size[0]), how), np.float32)

    if is_indices:
        return resized(output, Image.Resampling.NEAREST).astype(np.int64)
    planes = [resized(output[..., index], Image.Resampling.BILINEAR) for index in range(output.shape[-1])]
    return np.asarray(np.argmax(planes, axis=0), np.int64)


def segment_figures(predictions: Predictions, dataset: Dataset) -> Figures:
    """Mean IoU with its interval, IoU of each class, and the worst pictures."""
    counted = confusions(predictions, dataset)
    ious = {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(dataset.classes, class_ious(counted.sum(0)), strict=True)
    }
    pictures = tuple(
        WorstPicture(dataset.sources[predictions.numbers[place]], {"iou": round(value, 4)})
        for place, value in worst(counted)
    )
    figure, interval = mean_iou(counted.sum(0)), bootstrap(counted)
    return Figures({"mean_iou": figure}, {"mean_iou": interval}, {"iou": ious}, pictures)


def worst(counted: NDArray[np.int64], most: int = WORST) -> list[tuple[int, float]]:
    """Places and mean IoU of the pictures that were met worst, the worst first.

    Args:
        counted: int64 (pictures, classes, classes).
        most: Largest number of them.
    """
    ious = np.nanmean(class_ious(counted), axis=1)
    return [(int(place), float(ious[place])) for place in np.argsort(ious, kind="stable")[:most]]


def bootstrap(counted: NDArray[np.int64], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean IoU: percentiles over resampled pictures (Efron 1979, Ann. Stat. 7, section 2)."""
    generator = np.random.default_rng(seed)
    count = len(counted)
    drawn = generator.multinomial(count, np.full(count, 1 / count), _RESAMPLED)
    ious = np.nanmean(class_ious(np.tensordot(drawn, counted, axes=1)), axis=1)
    low, high = np.percentile(ious, (2.5, 97.5))
    return float(low), float(high)


def pixel_mixups(counted: NDArray[np.int64], classes: Sequence[str], most: int = 10) -> list[MixUp]:
    """The most frequent mix-ups, the worst first; fractions are shares of the true class' pixels."""
    total = counted.sum(0)
    off = total - np.diag(total.diagonal())
    ranked = np.argsort(-off, axis=None, kind="stable")[:most]
    rows = []
    for truth, predicted in zip(*np.unravel_index(ranked, off.shape), strict=True):
        if off[truth, predicted]:
            images = int(np.count_nonzero(counted[:, truth, predicted]))
            fraction = float(off[truth, predicted] / total[truth].sum())
            rows.append(MixUp(classes[truth], classes[predicted], images, fraction))
    return rows
