"""sweep.json: every point of a grid, built and evaluated; and the answers of a sweep's workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.artifact import Format, Io, Precision
from mnedge.results import shown, tradeoff
from mnedge.results.metric import Declared
from mnedge.results.report import VariantRow
from mnedge.results.stored import ABSENT, FLAT
from mnedge.results.tradeoff import TradeoffRow

SCHEMA = 2
_HEADLINES = Declared(lambda metric: metric.is_headline)


@dataclass(frozen=True)
class SweptFile:
    """A model file of a point.

    Attributes:
        name: File name.
        format: tflite or onnx.
        precision: fp32 or int8.
        io: dtype of its input and output.
        target: Name of its target.
        path: Path in its worker's cache; None once it is in the sweep's folder.
        sha256: Checksum; None before it is there.
        bytes: Size; None likewise.
    """

    name: str
    format: Format
    precision: Precision
    io: Io
    target: str
    path: str | None = field(default=None, metadata=ABSENT)
    sha256: str | None = field(default=None, metadata=ABSENT)
    bytes: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class SweptMemory:
    """Memory and time of a point's compiled form; None for figures that its compiler does not report."""

    artifact: str
    target: str
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    stack_bytes: int | None = None
    instructions: int | None = None
    inference_ms: float | None = None


@dataclass(frozen=True)
class Built:
    """A worker's answer to a build."""

    slug: str
    variant: VariantRow
    artifacts: tuple[SweptFile, ...]
    memory: tuple[SweptMemory, ...]


@dataclass(frozen=True)
class Hits:
    """A worker's answer to an evaluation: pictures, those whose class is among the best 1 and 5, and the runtime."""

    images: int
    top1: int
    top5: int
    runtime: str

    def plus(self, other: Hits) -> Hits:
        """Both counts together; the runtime is that of the other."""
        return Hits(self.images + other.images, self.top1 + other.top1, self.top5 + other.top5, other.runtime)


@dataclass(frozen=True)
class Scored:
    """A worker's answer to an evaluation on a whole split: pictures, the task's figures by key, and the runtime."""

    images: int
    metrics: Mapping[str, float]
    runtime: str


@dataclass(frozen=True)
class Failed:
    """A worker's answer to a unit that failed: the message, or the traceback of a bug, and the error's class."""

    error: str
    kind: str


@dataclass(frozen=True)
class Answer:
    """A worker's answer to any request: one of the four."""

    built: Built | None = field(default=None, metadata=ABSENT)
    hits: Hits | None = field(default=None, metadata=ABSENT)
    scored: Scored | None = field(default=None, metadata=ABSENT)
    failed: Failed | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True)
class SweptAccuracy:
    """Accuracy of one artifact over the pictures that are done; all figures are 0..1.

    Attributes:
        artifact: File name.
        runtime: Runtime that executed it.
        dataset: Name of the data set.
        images: Number of pictures.
        top1: Share of pictures whose class is the most probable one; None for other tasks than classifying.
        top5: Share of pictures whose class is among the five most probable; None likewise.
        top1_interval: 95 % interval of top-1; None likewise.
        metrics: Figures of other tasks, by key; None of a classifier.
    """

    artifact: str
    runtime: str
    dataset: str
    images: int
    top1: float | None = field(default=None, metadata=ABSENT)
    top5: float | None = field(default=None, metadata=ABSENT)
    top1_interval: tuple[float, float] | None = field(default=None, metadata=ABSENT)
    metrics: Mapping[str, float] | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """A point of the grid.

    Attributes:
        tradeoff: Accuracy and costs.
        folder: Name of its folder in the sweep's folder.
        values: Values of the swept keys.
        slug: Stem of its artifacts' names.
        error: Reason of its failure; None if it did not fail.
        top1_interval: 95 % interval of top-1, 0..1.
        fp32_top1: Top-1 of the float artifact, 0..1.
        fp32_score: Headline of the float artifact where the task is not scored by top-1, 0..1.
        images: Number of pictures evaluated.
        artifacts: Its model files.
        accuracy: Accuracy of each.
        memory: Memory of each compiled form.
    """

    tradeoff: TradeoffRow = field(metadata=FLAT)
    folder: str
    values: Mapping[str, str | float | bool | None]
    slug: str
    error: str | None
    top1_interval: tuple[float, float] | None = None
    fp32_top1: float | None = None
    fp32_score: float | None = field(default=None, metadata=ABSENT)
    images: int = 0
    artifacts: tuple[SweptFile, ...] = ()
    accuracy: tuple[SweptAccuracy, ...] = ()
    memory: tuple[SweptMemory, ...] = ()


@dataclass(frozen=True)
class WorkCount:
    """Number of units of work that were done now, and of those known from an earlier sweep."""

    done: int
    known: int


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        schema: Version of sweep.json.
        recipe: Name of the recipe.
        data: Name of the data set.
        metric: Key of the headline that the points are ranked by.
        stopped: "interrupted" if Ctrl-C ended it.
        units: Units of work: builds, and evaluations of one artifact on one shard of the pictures.
        sent_bytes: Bytes that were sent to the machines of a cluster.
        notes: Notes on how the figures came about.
        rows: The points, the best first.
    """

    schema: int = SCHEMA
    recipe: str
    data: str
    metric: str = "top1"
    stopped: str | None
    units: WorkCount
    sent_bytes: int
    notes: tuple[str, ...]
    rows: tuple[SweepRow, ...]

    @staticmethod
    def of_stored(stored: Mapping[str, object]) -> dict[str, object]:
        """Puts stored rows into the shape of the fields."""
        return tradeoff.of_stored(stored)

    def _repr_html_(self) -> str:
        columns = ("point", "status", _HEADLINES[self.metric], "latency ms", "bytes")
        rows = (
            (
                row.tradeoff.name,
                row.tradeoff.status,
                row.tradeoff.headline,
                row.tradeoff.latency_ms,
                row.tradeoff.size_bytes,
            )
            for row in self.rows
        )
        return shown.table(f"Sweep of {self.recipe}", columns, rows)
