"""Two classes: what each threshold on the score of the positive one would catch, and which one is best."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatingPoint:
    """Figures of one threshold.

    Attributes:
        threshold: Score from which on a picture is taken for the positive class.
        recall: Share of the positive pictures that are found, 0..1; the y axis of the ROC curve.
        false_positive_rate: Share of the other pictures that are taken for positive ones, 0..1; its x axis.
        precision: Share of what is taken for positive that is so, 0..1.
    """

    threshold: float
    recall: float
    false_positive_rate: float
    precision: float


@dataclass(frozen=True)
class TwoClasses:
    """ROC and precision-recall curves of two classes, and the best threshold on the pictures that they are of.

    Attributes:
        positive: Name of the positive class.
        images: Number of pictures.
        positives: Number of those of the positive class.
        roc_auc: Area under the ROC curve, 0..1.
        average_precision: Area under the precision-recall curve, 0..1.
        best: The threshold of the highest balanced accuracy; of equal ones that nearest to 0.5.
        balanced_accuracy: Mean of both classes' recall at the best threshold, 0..1.
        points: Operating points, the strictest threshold first; curves of many pictures are thinned out.
    """

    positive: str
    images: int
    positives: int
    roc_auc: float
    average_precision: float
    best: OperatingPoint
    balanced_accuracy: float
    points: tuple[OperatingPoint, ...]

    @property
    def said(self) -> str:
        """The best threshold in a sentence."""
        best = self.best
        return (
            f"threshold {best.threshold:.3f} of {self.positive}: balanced accuracy {100 * self.balanced_accuracy:.1f} "
            f"%, recall {100 * best.recall:.1f} %, precision {100 * best.precision:.1f} %"
        )
