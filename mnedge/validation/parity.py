"""Agreement between two artifacts on the same pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.heads import same_answers, snr_db
from mnedge.results.parity import ParityRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.validation.predict import Predictions

    Agreement = Callable[[Predictions, Predictions], NDArray[np.float64]]


def same_class(one: Predictions, two: Predictions) -> NDArray[np.float64]:
    """Share of each picture's answers that both give, (pictures,): 0 or 1 for one class or one yes or no.

    Where both give scores of classes, place by place, it is the share of places with the same class. NaN of numbers,
    which give no answers.
    """
    if one.head in ("sigmoid", "multi-label", "numbers") and not (one.gives_indices or two.gives_indices):
        same = same_answers(one.head, one.outputs, two.outputs)
        return np.full(one.numbers.size, np.nan) if same is None else same
    places = range(one.numbers.size)
    return np.array([np.mean(one.class_of(place) == two.class_of(place)) for place in places])


def parity_row(
    reference: Predictions,
    other: Predictions,
    *,
    names: tuple[str, str],
    step: float = 0.0,
    agreement: Agreement = same_class,
) -> ParityRow:
    """Agreement of two artifacts on the same pictures; class indices, which are not quantities, have no errors.

    Args:
        reference: Predictions of one artifact.
        other: Predictions of the other for the same pictures.
        names: Names of both artifacts.
        step: Real value of an output step, where the files' own outputs are float but their inside is int8.
        agreement: Returns the share of each picture in which both agree, 0..1, (pictures,).
    """
    assert np.array_equal(reference.numbers, other.numbers), "parity needs the same pictures"
    step = max(reference.step_size, other.step_size, step)
    # Picture by picture: the outputs of a segmentation may be larger than the memory.
    difference = max(
        float(np.abs(one.astype(np.float64) - two).max())
        for one, two in zip(reference.scores, other.scores, strict=True)
    )
    is_quantity = not (reference.gives_indices or other.gives_indices)
    same = agreement(reference, other)
    return ParityRow(
        reference=names[0],
        artifact=names[1],
        images=int(same.size),
        top1_agreement=None if np.isnan(same).any() else float(same.mean()),
        max_abs_lsb=difference / step if step and is_quantity else None,
        max_abs_error=difference if is_quantity else None,
        snr_db=snr_db(reference.scores, other.scores) if is_quantity else None,
    )


def parity_rows(
    predictions: Mapping[str, Predictions], order: Sequence[str], agreement: Agreement = same_class
) -> list[ParityRow]:
    """Compares each artifact with the first one, and each int8 artifact with the first int8 one.

    Args:
        predictions: Predictions of each artifact, by its name.
        order: The artifacts' names; the first one is the reference, the float .tflite.
        agreement: See `parity_row`.
    """
    int8 = [name for name in order if predictions[name].step_size or ".int8." in name]
    step = max((predictions[name].step_size for name in int8), default=0.0)
    pairs = [(order[0], name) for name in order[1:]] + [(int8[0], name) for name in int8[1:]]
    return [
        parity_row(
            predictions[one],
            predictions[other],
            names=(one, other),
            step=step if other in int8 else 0.0,
            agreement=agreement,
        )
        for one, other in pairs
    ]
