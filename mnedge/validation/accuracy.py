"""Top-1 and top-5, with the interval that the number of pictures allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.balance import balanced_accuracy, counted, macro_f1, recalls
from mnedge.results.accuracy import AccuracyRow, Figures, MixUp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.validation.predict import Predictions

# A report of a thousand rows says less than its mix-ups.
_MOST_NAMED = 100


def topk_hits(outputs: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Returns whether the label is among the k highest scores of each row; ties go to the lower class index.

    Args:
        outputs: Scores, float32, (pictures, classes).
        labels: Class indices, int64, (pictures,).
        k: Number of classes that count.

    Returns:
        bool, (pictures,).
    """
    order = np.argsort(-outputs, axis=1, kind="stable")[:, :k]
    hits: NDArray[np.bool_] = (order == labels[:, None]).any(axis=1)
    return hits


def accuracy_row(predictions: Predictions, figures: Figures, *, artifact: str, dataset: str) -> AccuracyRow:
    """Accuracy of one artifact on one device.

    Args:
        predictions: Predictions of the artifact.
        figures: For example `accuracy_figures`.
        artifact: Its name.
        dataset: Name of the data set.
    """
    return AccuracyRow(
        artifact=artifact,
        runtime=predictions.info.version,
        device=predictions.device,
        dataset=dataset,
        images=int(predictions.numbers.size),
        figures=figures,
        partitions=predictions.info.partitions,
    )


def accuracy_figures(predictions: Predictions, classes: tuple[str, ...] = ()) -> Figures:
    """Top-1, with Wilson's interval at 95 %, top-5, balanced accuracy, macro F1 and each class' recall.

    Args:
        predictions: Predictions of the artifact.
        classes: Names of the data's classes; the classifier may have more.
    """
    top1 = topk_hits(predictions.outputs, predictions.labels, 1)
    top5 = topk_hits(predictions.outputs, predictions.labels, 5)
    table = counted(predictions.outputs.argmax(axis=1), predictions.labels, predictions.outputs.shape[1])
    recall = dict(zip(classes, recalls(table), strict=False)) if len(classes) <= _MOST_NAMED else {}
    return Figures(
        {
            "top1": float(top1.mean()),
            "top5": float(top5.mean()),
            "balanced_accuracy": balanced_accuracy(table),
            "macro_f1": macro_f1(table),
        },
        {"top1": wilson_interval(int(top1.sum()), int(top1.size))},
        {"recall": recall} if recall else {},
    )


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share. Wilson 1927, "Probable inference", J. Am. Stat. Assoc. 22, eq. for p0."""
    z = 1.959964
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion(predictions: Predictions, classes: tuple[str, ...], worst: int = 10) -> list[MixUp]:
    """The most frequent mix-ups, the worst first; fractions are shares of the true class' pictures."""
    predicted = predictions.outputs.argmax(axis=1)
    pairs: dict[tuple[int, int], int] = {}
    for truth, guess in zip(predictions.labels.tolist(), predicted.tolist(), strict=True):
        if truth != guess:
            pairs[truth, guess] = pairs.get((truth, guess), 0) + 1
    totals = np.bincount(predictions.labels, minlength=len(classes))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:worst]
    return [
        MixUp(
            truth=classes[truth],
            predicted=classes[guess] if guess < len(classes) else str(guess),
            images=count,
            fraction=count / int(totals[truth]),
        )
        for (truth, guess), count in ranked
    ]
