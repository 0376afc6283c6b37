"""search.json: the variants that a search looked at, and the one that it chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.choices import DEFAULT_TASK
from mnedge.results import shown, tradeoff
from mnedge.results.stored import ABSENT, FLAT
from mnedge.results.tradeoff import Failure, TradeoffRow

SCHEMA = 1


@dataclass(frozen=True)
class CandidateRow:
    """A network as it would ship: family, width, side of the input in pixels, outputs, weight scales, a task's head."""

    family: str
    alpha: float
    resolution: int
    classes: int
    granularity: str
    head: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class TrialRow:
    """A training of a variant.

    Attributes:
        round: Round of the successive halving.
        epochs: Epochs so far.
        top1: Top-1 of the validation split, 0..1; None for a task that is not scored by it.
        score: Headline of such a task, 0..1.
    """

    round: int
    epochs: int
    top1: float | None = field(default=None, metadata=ABSENT)
    score: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class SearchRow:
    """A variant: its figures, the network, and its trainings."""

    tradeoff: TradeoffRow = field(metadata=FLAT)
    variant: CandidateRow
    trials: tuple[TrialRow, ...] = ()


@dataclass(frozen=True)
class LatencyModelRow:
    """The model that predicts latency.

    Attributes:
        milliseconds_per: Milliseconds per unit of each term.
        measured: Number of measurements that the model was fitted to.
        leave_one_out_median: Median relative error of measurements that were left out in turn.
        leave_one_out_worst: Largest of these errors.
    """

    milliseconds_per: Mapping[str, float]
    measured: int
    leave_one_out_median: float | None
    leave_one_out_worst: float | None


@dataclass(frozen=True)
class EstimateError:
    """Errors of estimated ImageNet top-1, 0..1, over the published rows, each left out in turn."""

    median: float
    worst: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Result of a search.

    Attributes:
        schema: Version of search.json.
        target: Name of the target.
        data: The data as --data takes it; None without data.
        limits: Largest values allowed, by name.
        stopped: "interrupted" or "budget" if the search ended early.
        failure: Error that ended the training early.
        chosen: Name of the chosen variant; None if none fits.
        nearest: Name of the variant that misses its limits least, if none fits.
        notes: Notes on how the figures came about.
        latency_model: Latency model; None if none was needed.
        imagenet_estimate: Error of estimated ImageNet figures.
        rows: The variants, the chosen one first.
        recipe: The recipe of the chosen variant: `path`, and its keys.
        task: Task of the variants.
        metric: Name for people of the figure that they were trained for.
    """

    schema: int = SCHEMA
    target: str
    data: str | None
    limits: Mapping[str, float]
    stopped: str | None
    failure: Failure | None = field(default=None, metadata=ABSENT)
    chosen: str | None
    nearest: str | None
    notes: tuple[str, ...]
    latency_model: LatencyModelRow | None
    imagenet_estimate: EstimateError
    rows: tuple[SearchRow, ...]
    recipe: Mapping[str, object] | None = field(default=None, metadata=ABSENT)
    task: str = DEFAULT_TASK
    metric: str = "top-1"

    @staticmethod
    def of_stored(stored: Mapping[str, object]) -> dict[str, object]:
        """Puts stored rows into the shape of the fields."""
        return tradeoff.of_stored(stored)

    def _repr_html_(self) -> str:
        columns = ("variant", "status", self.metric, "latency ms", "RAM bytes", "flash bytes", "why not")
        plain = (row.tradeoff for row in self.rows)
        rows = (
            (
                row.name,
                row.status,
                row.headline if row.headline is not None else row.imagenet_top1,
                row.latency_ms,
                row.ram_bytes,
                row.flash_bytes,
                "; ".join(broken.text for broken in row.broken),
            )
            for row in plain
        )
        return shown.table(f"Search for {self.target}: {self.chosen or 'nothing fits'}", columns, rows)
