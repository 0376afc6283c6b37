"""The outputs of artifacts one by one: each has its kind, its figures and its agreement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.heads import head_of_file
from mnedge.graph.heads import snr_db
from mnedge.results.outputs import OutputRow
from mnedge.validation.heads import head_figures
from mnedge.validation.parity import same_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mnedge.graph.heads import Head
    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray
    from mnedge.validation.predict import Predictions

_NO_TRUTHS: dict[str, AnyArray] = {}


def output_rows(
    said: Sequence[tuple[str, Predictions]],
    dataset: str,
    truths: Mapping[str, AnyArray] = _NO_TRUTHS,
) -> tuple[OutputRow, ...]:
    """Returns one row per output of each artifact; the outputs of the first artifact are the reference.

    Args:
        said: Predictions of the artifacts for the same samples, by file name; their outputs stand in the same order.
        dataset: Name of the data.
        truths: Right outputs, (samples, …), by the output's name; "" is the first output.

    Raises:
        InputError: Truths are of no output or do not fit it, or an artifact has other outputs than the first one.
    """
    first_name, first = said[0]
    tensors = [spec.name for spec in first.info.outputs]
    names = _names(first.path, tensors)
    known = _truths_of(truths, tensors, names, first.path)
    references = outputs_of(first)
    rows = []
    for artifact, other in said:
        own = outputs_of(other, [one.head for one in references])
        if [one.outputs.shape for one in own] != [one.outputs.shape for one in references]:
            raise InputError(
                f"{other.path} has outputs of {_shapes(own)}, {first.path} of {_shapes(references)}: they cannot "
                "agree; validate them one by one"
            )
        for place, (reference, one) in enumerate(zip(references, own, strict=True)):
            row = OutputRow(
                artifact=artifact,
                output=names[place],
                kind="index" if one.gives_indices else one.head,
                device=one.device,
                dataset=dataset,
                images=int(one.numbers.size),
                figures=_figures(one, known.get(place)),
            )
            rows.append(row if other is first else _against(row, first_name, reference, one))
    return tuple(rows)


def outputs_of(said: Predictions, heads: Sequence[Head] | None = None) -> list[Predictions]:
    """Predictions of an artifact, output by output.

    Args:
        said: Predictions of the artifact.
        heads: Kind of the outputs; None for what the file shows.
    """
    found = []
    for place, (values, spec) in enumerate(zip((said.outputs, *said.others), said.info.outputs, strict=True)):
        if heads is not None:
            head = heads[place]
        else:
            head = said.head if place == 0 else head_of_file(said.path, spec.shape, spec.quantization, spec.name)
        found.append(
            replace(
                said,
                outputs=values,
                others=(),
                step_size=_step(spec),
                info=replace(said.info, outputs=(spec,)),
                head=head,
            )
        )
    return found


def _step(spec: TensorSpec) -> float:
    return float(spec.quantization.scale[0]) if spec.quantization is not None else 0.0


def _shapes(said: Sequence[Predictions]) -> str:
    return ", ".join("x".join(map(str, one.outputs.shape[1:])) or "1 value" for one in said)


def _names(path: Path, tensors: Sequence[str]) -> list[str]:
    """Returns the names of the outputs: from a signature of the file if it has one, else from their tensors."""
    if path.suffix != ".tflite":
        return list(tensors)
    from mnedge.formats.tflite_read import read_tflite

    try:
        signatures = read_tflite(path).signatures
    except UnsupportedError:
        return list(tensors)
    called = {tensor: result for signature in reversed(signatures) for result, tensor in signature.outputs}
    return [called.get(tensor, tensor) for tensor in tensors]


def _truths_of(
    truths: Mapping[str, AnyArray], tensors: Sequence[str], names: Sequence[str], path: Path
) -> dict[int, AnyArray]:
    """Truths by the place of their output."""
    found = {}
    for name, values in truths.items():
        places = [place for place, pair in enumerate(zip(tensors, names, strict=True)) if name in pair]
        if name and not places:
            raise InputError(
                f"there are truths y:{name}, and the outputs of {path} are {', '.join(names)}; name them y:OUTPUT"
            )
        found[places[0] if name else 0] = values
    return found


def _figures(one: Predictions, truths: AnyArray | None) -> dict[str, float]:
    if truths is None or one.gives_indices:
        return {} if truths is None else {"top1": float((one.outputs == truths).mean())}
    return dict(head_figures(one.head, one.outputs, truths).metrics)


def _against(row: OutputRow, name: str, reference: Predictions, one: Predictions) -> OutputRow:
    """The row with its agreement with the reference."""
    same = np.full(1, np.nan) if one.head == "map" and not one.gives_indices else same_class(reference, one)
    pairs = zip(reference.outputs, one.outputs, strict=True)
    difference = max(float(np.abs(ours.astype(np.float64) - theirs).max()) for ours, theirs in pairs)
    return replace(
        row,
        reference=name,
        agreement=None if np.isnan(same).any() else float(same.mean()),
        agreement_snr_db=snr_db(reference.outputs, one.outputs),
        max_abs_error=difference,
    )
