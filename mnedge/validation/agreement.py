"""Agreement of two models on the same inputs, output by output: classes, scores, maps of classes, boxes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.heads import same_answers, snr_db
from mnedge.results.optimization import Agreement, OutputAgreement
from mnedge.runtimes._runtime import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.results.optimization import Unit
    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray


def agreement(
    specs: Sequence[TensorSpec],
    before: Sequence[Sequence[AnyArray]],
    after: Sequence[Sequence[AnyArray]],
) -> Agreement:
    """Compares all outputs of two models.

    Args:
        specs: The outputs of the first one.
        before: Its outputs, one list a picture.
        after: Those of the other one.
    """
    found = [
        _output(spec, [run[place] for run in before], [run[place] for run in after]) for place, spec in enumerate(specs)
    ]
    outputs = tuple(output for output, _ in found)
    numeric = [output for output in outputs if output.max_abs_difference is not None]
    worst = min(numeric, key=lambda output: output.equal_fraction) if numeric else None
    return Agreement(
        identical=all(identical for _, identical in found),
        top1_agreement=_top1(specs, before, after),
        snr_db=worst.snr_db if worst else None,
        max_abs_difference=worst.max_abs_difference if worst else None,
        unit=worst.unit if worst else None,
        outputs=outputs,
    )


def _output(spec: TensorSpec, before: Sequence[AnyArray], after: Sequence[AnyArray]) -> tuple[OutputAgreement, bool]:
    """A compared output, and whether all of its values are equal."""
    unit = _unit(spec)
    shape = tuple(before[0].shape)
    if any(ours.shape != theirs.shape for ours, theirs in zip(before, after, strict=True)):
        missing = OutputAgreement(
            name=spec.name, shape=shape, unit=unit, equal_fraction=0.0, max_abs_difference=None, snr_db=None
        )
        return missing, False
    ours, theirs = (np.concatenate([run.reshape(-1) for run in runs]) for runs in (before, after))
    equal = (ours == theirs) | _both_nan(ours, theirs)
    difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    largest = 0.0 if equal.all() else float(np.max(np.where(equal, 0.0, difference)))
    real = [decode(values, spec) for values in (ours, theirs)]
    finite = np.isfinite(real[0]) & np.isfinite(real[1])
    found = OutputAgreement(
        name=spec.name,
        shape=shape,
        unit=unit,
        equal_fraction=float(equal.mean()) if equal.size else 1.0,
        max_abs_difference=None if unit == "indices" else largest,
        snr_db=None if unit == "indices" else snr_db([real[0][finite]], [real[1][finite]]),
    )
    return found, bool(equal.all())


def _unit(spec: TensorSpec) -> Unit:
    if spec.quantization is not None:
        return "steps"
    return "real" if spec.dtype.startswith("float") else "indices"


def _both_nan(ours: AnyArray, theirs: AnyArray) -> NDArray[np.bool_]:
    if not np.issubdtype(ours.dtype, np.floating):
        return np.zeros(ours.shape, np.bool_)
    both: NDArray[np.bool_] = np.isnan(ours) & np.isnan(theirs)
    return both


def _top1(
    specs: Sequence[TensorSpec],
    before: Sequence[Sequence[AnyArray]],
    after: Sequence[Sequence[AnyArray]],
) -> float | None:
    shape = before[0][0].shape
    if len(specs) != 1 or math.prod(shape) != shape[-1] or specs[0].dtype.startswith(("int32", "int64")):
        return None
    if shape[-1] == 1:
        spec = specs[0]
        is_probability = spec.quantization is not None and spec.quantization.scale[0] == 1 / 256
        ours, theirs = (np.stack([decode(run[0], spec) for run in runs]) for runs in (before, after))
        answers = same_answers("sigmoid", ours, theirs) if is_probability else None
        return None if answers is None else float(answers.mean())
    same = [ours[0].argmax() == theirs[0].argmax() for ours, theirs in zip(before, after, strict=True)]
    return float(np.mean(same))
