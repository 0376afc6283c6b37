"""Profile of a model, op by op: time, memory and error beside each other, and against a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mnedge.results import shown
from mnedge.results.inspection import LayerNoise


@dataclass(frozen=True)
class OpProfile:
    """One op.

    Attributes:
        index: Its place in the graph, from 0.
        op: Its kind.
        tensor: The tensor that it makes.
        shape: Shape of that tensor.
        ms: Milliseconds of the op alone.
        live_bytes: Bytes of all activations that exist while it runs.
        weights_bytes: Bytes of its constants.
        output_error: Noise power at the model's output, over the signal's, that goes if the op alone is real: its
            activation and its weights. Below 0 where its rounding happens to make up for that of others.
    """

    index: int
    op: str
    tensor: str
    shape: tuple[int, ...]
    ms: float
    live_bytes: int
    weights_bytes: int
    output_error: float


@dataclass(frozen=True)
class OpChange:
    """An op of a model beside the op of the baseline that makes the tensor of the same name; None for what is gone.

    Attributes:
        tensor: The tensor that both make.
        op: Its kind, the baseline's where the model has none.
        ms: Milliseconds.
        before_ms: Milliseconds in the baseline.
        output_error: Noise power at the output, over the signal's.
        before_output_error: That of the baseline.
    """

    tensor: str
    op: str
    ms: float | None
    before_ms: float | None
    output_error: float | None
    before_output_error: float | None

    @property
    def slower_ms(self) -> float:
        """Milliseconds that the op takes longer."""
        return (self.ms or 0.0) - (self.before_ms or 0.0)

    @property
    def worse(self) -> float:
        """Noise power at the output that it adds more."""
        return (self.output_error or 0.0) - (self.before_output_error or 0.0)


@dataclass(frozen=True)
class Elsewhere:
    """Cost of the same ops in another place: on a device, on an emulated board, in another runtime.

    Attributes:
        place: URI of the device, or the .onnx of the same network.
        runtime: What computes there.
        unit: Of the costs: "ms" or "instructions".
        emulated: Whether the instructions are translated there: milliseconds then compare ops at most.
        costs: Cost of each op of the profile, in its order; None where the place computes it as a part of another.
        rest: Cost of what belongs to none of the ops.
    """

    place: str
    runtime: str
    unit: Literal["ms", "instructions"]
    emulated: bool
    costs: tuple[float | None, ...]
    rest: float = 0.0

    @property
    def total(self) -> float:
        """Cost of all that was measured there."""
        return self.rest + sum(cost or 0.0 for cost in self.costs)


@dataclass(frozen=True)
class LayerProfile:
    """Profile of an int8 model.

    Attributes:
        path: The file.
        runtime: Runtime and version that the times are of.
        threads: Its threads.
        ops: The ops in order of execution.
        noise: Noise of every tensor, on pictures.
        baseline: The file that `changes` are against; None without one.
        changes: The ops of both, in order of execution, those that are gone last.
        elsewhere: Cost of the ops in other places.
    """

    path: str
    runtime: str
    threads: int
    ops: tuple[OpProfile, ...]
    noise: LayerNoise
    baseline: str | None = None
    changes: tuple[OpChange, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def ms(self) -> float:
        """Milliseconds of all ops."""
        return sum(row.ms for row in self.ops)

    @property
    def output_error(self) -> float:
        """Noise power at the output over the signal's; 0 without noise."""
        decibels = self.noise.output_sqnr_db.int8
        return 0.0 if decibels is None else 10 ** (-decibels / 10)

    def against(self, baseline: LayerProfile) -> LayerProfile:
        """The same profile, with its ops beside those of another model of the same network."""
        before = {row.tensor: row for row in baseline.ops}
        rows = [_change(row, before.pop(row.tensor, None)) for row in self.ops]
        rows += [_change(None, row) for row in before.values()]
        return replace(self, baseline=baseline.path, changes=tuple(rows))

    def _repr_html_(self) -> str:
        rows = ((row.tensor, row.op, row.ms, row.live_bytes, row.weights_bytes, row.output_error) for row in self.ops)
        columns = ("tensor", "op", "ms", "bytes of activations", "bytes of constants", "error at the output")
        return shown.table(f"{self.path}: {self.ms:.3f} ms by {self.runtime}", columns, rows)


def _change(row: OpProfile | None, before: OpProfile | None) -> OpChange:
    known = row or before
    assert known is not None
    return OpChange(
        tensor=known.tensor,
        op=known.op,
        ms=None if row is None else row.ms,
        before_ms=None if before is None else before.ms,
        output_error=None if row is None else row.output_error,
        before_output_error=None if before is None else before.output_error,
    )
