"""The outcome of a search: a row for every variant, the chosen recipe, the nearest miss."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge.choices import DEFAULT_TASK
from mnedge.models.variant import CLASSIFIER
from mnedge.report import figures
from mnedge.report.pareto import front
from mnedge.results.search import SearchRow, TrialRow
from mnedge.results.tradeoff import BrokenLimit, TradeoffRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.errors import MnedgeError
    from mnedge.workflows.search.candidates import Candidate
    from mnedge.workflows.search.footprint import Footprint
    from mnedge.workflows.search.halving import Trial
    from mnedge.workflows.search.latency_model import LatencyModel
    from mnedge.workflows.search.limits import Broken
    from mnedge.workflows.search.published import Expected

Status = Literal["chosen", "front", "fits", "excluded", "not reached"]
_TOP1 = "top1"
_UNITS = {
    "max_arena_bytes": "arena with input and output",
    "max_ram_bytes": "RAM with the stack",
    "max_flash_bytes": "flash",
    "max_size_bytes": "size of the .tflite",
}


@dataclass(frozen=True)
class Finding:
    """The figures of a candidate that are known so far.

    Attributes:
        candidate: The candidate.
        macs: Multiply-adds per picture; None for a network of another head before it was compiled.
        parameters: Number of parameters, as Keras counts them; None likewise.
        expected: ImageNet top-1, published or estimated.
        footprint: Memory on the target; None before it was compiled.
        latency_ms: Latency per picture, ms; None if unknown.
        latency_source: Source of the latency.
        broken: Limits that it is known to break.
        is_doubtful: Whether the latency may be on either side of the limit, given the model's error.
        trials: Trainings on the user's data.
    """

    candidate: Candidate
    macs: int | None
    parameters: int | None
    expected: Expected
    footprint: Footprint | None = None
    latency_ms: float | None = None
    latency_source: Literal["measured", "model", ""] = ""
    broken: tuple[Broken, ...] = ()
    is_doubtful: bool = False
    trials: tuple[Trial[Candidate], ...] = ()

    @property
    def fits(self) -> bool:
        """Returns whether the variant is known to break no limit."""
        return self.footprint is not None and not self.broken and not self.is_doubtful

    @property
    def score(self) -> float | None:
        """Headline of the task on the user's data after its longest training, 0..1."""
        return self.trials[-1].score if self.trials else None

    @property
    def epochs(self) -> int:
        """Epochs of its longest training."""
        return self.trials[-1].epochs if self.trials else 0

    def figures(self) -> dict[str, float | None]:
        """The figures that limits apply to, by name."""
        taken = self.footprint
        return {
            "ram_bytes": taken.ram_bytes if taken else None,
            "ram_with_stack_bytes": taken.ram_with_stack_bytes if taken else None,
            "flash_bytes": taken.flash_bytes if taken else None,
            "size_bytes": taken.size_bytes if taken else None,
            "macs": self.macs,
            "latency_ms": self.latency_ms,
        }


@dataclass(frozen=True)
class Outcome:
    """The end of a search.

    Attributes:
        findings: Findings of all candidates, the chosen one first, then by status and accuracy.
        statuses: Status of each finding.
        model: Latency model; None if none was needed or time was over.
        stopped: Reason why the search ended early; "" if it did not.
        error: Error that ended the training early; None if it did not.
        notes: Notes on how the figures came about.
    """

    findings: tuple[Finding, ...]
    statuses: tuple[Status, ...]
    model: LatencyModel | None = None
    stopped: Literal["", "interrupted", "budget"] = ""
    error: MnedgeError | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def chosen(self) -> Finding | None:
        """The best that fits; None where none does."""
        return self.findings[0] if self.findings and self.statuses[0] == "chosen" else None

    @property
    def nearest(self) -> Finding | None:
        """The excluded one that exceeds its worst limit least; None where something fits or nothing is known."""
        if self.chosen is not None:
            return None
        out = [finding for finding in self.findings if finding.broken]
        return min(out, key=overshoot, default=None)


def overshoot(finding: Finding) -> tuple[bool, float]:
    """The value of the worst broken limit over the limit, for sorting.

    Findings that were never compiled come last: they may break other limits by far more.
    """
    return finding.footprint is None, max(broken.ratio for broken in finding.broken)


def outcome(
    findings: Sequence[Finding],
    model: LatencyModel | None,
    stopped: Literal["", "interrupted", "budget"],
    error: MnedgeError | None = None,
    notes: Sequence[str] = (),
) -> Outcome:
    """Chooses, finds the front and puts the findings in order."""
    chosen = choose(findings)
    fitting = [finding for finding in findings if finding.fits]
    trained = [finding for finding in fitting if finding.trials]
    beaten_by_none: set[Candidate] = set()
    # Accuracies are only comparable within one source: those trained on the user's data, or those of ImageNet.
    for group in (trained, [finding for finding in fitting if not finding.trials]):
        is_in_front = front([_costs(finding) for finding in group])
        beaten_by_none |= {one.candidate for one, is_in in zip(group, is_in_front, strict=True) if is_in}
    if trained:
        beaten_by_none &= {finding.candidate for finding in trained}

    def status(finding: Finding) -> Status:
        if chosen is not None and finding.candidate == chosen.candidate:
            return "chosen"
        if finding.broken:
            return "excluded"
        if not finding.fits:
            return "not reached"
        return "front" if finding.candidate in beaten_by_none else "fits"

    order = ("chosen", "front", "fits", "not reached", "excluded")
    rows = sorted(findings, key=lambda one: (order.index(status(one)), *_merit(one)))
    return Outcome(tuple(rows), tuple(status(row) for row in rows), model, stopped, error, tuple(notes))


def choose(findings: Sequence[Finding]) -> Finding | None:
    """The most accurate that fits: of those trained longest by their data, else by ImageNet's figures."""
    return min((finding for finding in findings if finding.fits), key=_merit, default=None)


def _merit(finding: Finding) -> tuple[float, ...]:
    latency = finding.latency_ms if finding.latency_ms is not None else float(finding.macs or 0)
    return -finding.epochs, -(finding.score or 0.0), -finding.expected.top1, latency


def _costs(finding: Finding) -> tuple[float, ...]:
    taken = finding.footprint
    assert taken is not None
    accuracy = finding.score if finding.score is not None else finding.expected.top1
    latency = finding.latency_ms if finding.latency_ms is not None else float(finding.macs or 0)
    return -accuracy, latency, float(taken.ram_bytes or 0), float(taken.flash_bytes or taken.size_bytes)


def row(finding: Finding, status: Status, metric: str) -> SearchRow:
    """The finding's row of search.json.

    Args:
        finding: The finding.
        status: Its status.
        metric: Key of the task's headline.
    """
    taken = finding.footprint
    is_top1 = metric == _TOP1
    tradeoff = TradeoffRow(
        name=finding.candidate.name,
        status=status,
        broken=tuple(
            BrokenLimit(words(broken), broken.limit, broken.allowed, broken.needed, broken.is_least)
            for broken in finding.broken
        ),
        macs=finding.macs,
        parameters=finding.parameters,
        top1=finding.score if is_top1 else None,
        score=None if is_top1 else finding.score,
        epochs=finding.epochs,
        imagenet_top1=round(finding.expected.top1, 4),
        imagenet_top1_source=finding.expected.source,
        latency_ms=finding.latency_ms,
        latency_source=finding.latency_source or None,
        arena_bytes=taken.arena_bytes if taken else None,
        ram_bytes=taken.ram_bytes if taken else None,
        flash_bytes=taken.flash_bytes if taken else None,
        size_bytes=taken.size_bytes if taken else None,
    )
    key = _TOP1 if is_top1 else "score"
    trials = tuple(TrialRow(trial.round, trial.epochs, **{key: trial.score}) for trial in finding.trials)
    return SearchRow(tradeoff, finding.candidate.row, trials)


def words(broken: Broken) -> str:
    """A broken limit in words, e.g. "arena 300 KiB, the limit is 256 KiB"."""
    if broken.limit in _UNITS:
        what, value, limit = _UNITS[broken.limit], figures.size(broken.needed), figures.size(broken.allowed)
        least = " for its weights alone" if broken.is_least else ""
        return f"{what} {value}{least}, the limit is {limit}"
    if broken.limit == "max_macs":
        needed, limit = figures.magnitude(broken.needed), figures.magnitude(broken.allowed)
        return f"{needed} multiply-adds, the limit is {limit}"
    return f"{figures.milliseconds(broken.needed)}, the limit is {figures.milliseconds(broken.allowed)}"


def recipe_values(
    finding: Finding,
    *,
    task: str,
    target: str,
    data: str,
    weights: str,
    gates: Mapping[str, float | bool],
    folder: Path,
) -> dict[str, object]:
    """The recipe of a finding, for `build --recipe`.

    Args:
        finding: The finding.
        task: Task of the network.
        target: Name of the target.
        data: As --data takes it.
        weights: A word that --weights takes, or the path of a file.
        gates: Gates of the build.
        folder: Folder of the recipe, which its paths are relative to.
    """
    variant = finding.candidate.variant
    values: dict[str, object] = {
        **({} if task == DEFAULT_TASK else {"task": task}),
        **({} if variant.head == CLASSIFIER else {"head": variant.head}),
        "variant": variant.family,
        "alpha": variant.alpha,
        "resolution": variant.resolution,
        "classes": variant.classes,
        "weights": weights if weights in ("imagenet", "random", "demo") else _seen_from(folder, weights),
        "data": data if data == "demo" else _seen_from(folder, data),
        "int8": True,
        "targets": [target],
        "gates": dict(gates),
    }
    if finding.candidate.granularity != "per-channel":
        values["granularity"] = finding.candidate.granularity
    return values


def _seen_from(folder: Path, path: str) -> str:
    return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
