"""Result of `optimize`: the changes, the agreement with the original, and the gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mnedge.results import shown
from mnedge.results.latency import LatencyRow, RatioRow
from mnedge.results.stored import ABSENT, FLAT

# Differences are in steps of the scale or in real numbers; indices have none.
Unit = Literal["steps", "real", "indices"]


@dataclass(frozen=True, kw_only=True)
class OutputAgreement:
    """Agreement of two models in one output.

    Attributes:
        name: The output.
        shape: Its shape.
        unit: Unit of the difference.
        equal_fraction: Share of equal values, 0..1.
        max_abs_difference: Largest difference; None for indices and for outputs of different shapes.
        snr_db: Signal-to-noise ratio, dB; None likewise, and without noise.
    """

    name: str
    shape: tuple[int, ...]
    unit: Unit
    equal_fraction: float
    max_abs_difference: float | None
    snr_db: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of two models on the same inputs.

    Attributes:
        identical: Whether all values of all outputs are equal.
        top1_agreement: Share of inputs with the same answer, 0..1: of a model with one vector of scores, or with one
            probability (one column in steps of 1/256), where it is the same side of 0.5; None for every other.
        snr_db: Signal-to-noise ratio of the output with the fewest equal values, dB.
        max_abs_difference: Largest difference of that output.
        unit: Unit of that difference.
        outputs: All outputs.
    """

    identical: bool
    top1_agreement: float | None
    snr_db: float | None
    max_abs_difference: float | None
    unit: Unit | None
    outputs: tuple[OutputAgreement, ...]


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """Agreement of a rewritten model with its original on some inputs.

    Attributes:
        inputs: "random", or the data set.
        count: Number of inputs.
        delegate: Whether both ran with the delegate.
        agreement: Verdict of the measurement.
    """

    inputs: str
    count: int
    delegate: bool
    agreement: Agreement = field(metadata=FLAT)


@dataclass(frozen=True)
class Rewrite:
    """Changes of one pass to a graph.

    Attributes:
        name: The pass.
        what: First line of its module's docstring.
        removed: Ops that are gone, by kind.
        added: Ops that are new, by kind.
        rescaled: Constants and activations whose scale changed and whose integers did not.
        rounded: Constants whose integers changed.
    """

    name: str
    what: str
    removed: Mapping[str, int]
    added: Mapping[str, int]
    rescaled: int
    rounded: int


@dataclass(frozen=True)
class ModelFile:
    """A model before or after.

    Attributes:
        bytes: Size.
        ops: Number of ops; None for ONNX.
        partitions: Delegate partitions; None where it was not run.
    """

    bytes: int
    ops: int | None = field(default=None, metadata=ABSENT)
    partitions: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class Gain:
    """Measurements of the original and the result.

    Attributes:
        refused: Reason why the runtime does not load the original; None if it does.
        agreement: Agreement on random input, and on the data's pictures.
        latency: Latency of the original, unless it is refused, and of the result.
        ratio: Speed of the result against the original; None if a runtime refuses the original.
    """

    refused: str | None
    agreement: tuple[AgreementRow, ...]
    latency: tuple[LatencyRow, ...]
    ratio: RatioRow | None


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """A model rewritten for a runtime.

    Attributes:
        source: The original, as given.
        out: The result.
        target: Target that it was rewritten for; None for an .ort, which serves all.
        passes: Changes of each pass; passes without changes are left out.
        why: Reason why nothing was changed; "" if something was.
        before: The original.
        after: The result.
        gain: Measurements; None without any.
        required_operators: Beside an .ort, the list of operators that a minimal build needs; None for a .tflite.
    """

    source: str
    out: str
    target: str | None = None
    passes: tuple[Rewrite, ...] = ()
    why: str = ""
    before: ModelFile
    after: ModelFile
    gain: Gain | None = None
    required_operators: str | None = None

    @property
    def changed(self) -> bool:
        """Returns whether the result differs from the original."""
        return bool(self.passes) or self.required_operators is not None

    def as_stored(self) -> Mapping[str, object]:
        """Row of `optimize --json`; keys without a measurement are left out."""
        row: dict[str, object] = {"source": self.source, "out": self.out}
        if self.target is not None:
            row["for"] = self.target
        row |= {"passes": self.passes, "changed": self.changed}
        if self.required_operators is not None:
            return {**row, "before": self.before, "after": self.after, "required_operators": self.required_operators}
        row["why"] = self.why
        gain = self.gain
        if gain is None:
            return {**row, "before": self.before, "after": self.after}
        return {
            **row,
            "before": _BeforeRow(self.before, gain.refused),
            "after": self.after,
            "agreement": gain.agreement,
            "latency": gain.latency,
            "ratio": gain.ratio,
        }

    def _repr_html_(self) -> str:
        columns = ("rewrite", "what", "gone", "new", "rescaled", "rounded")
        rows = (
            (row.name, row.what, counted(row.removed), counted(row.added), row.rescaled, row.rounded)
            for row in self.passes
        )
        sizes = f"{self.before.bytes:,} to {self.after.bytes:,} bytes"
        return shown.table(f"{self.out}: {sizes}", columns, rows) or shown.line(f"{self.out}: {self.why or sizes}")


@dataclass(frozen=True)
class _BeforeRow:
    """The original's row where it was measured: `refused` stands in it, also where it is None."""

    model: ModelFile = field(metadata=FLAT)
    refused: str | None


def counted(kinds: Mapping[str, int]) -> str:
    """Numbers of ops in words, e.g. "2 CONV_2D, 1 MEAN"."""
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
