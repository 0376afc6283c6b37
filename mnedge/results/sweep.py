"""sweep.json: every point of a grid, built and evaluated; and what the workers of a sweep answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.artifact import Format, Io, Precision
from mnedge.results import shown, tradeoff
from mnedge.results.report import VariantRow
from mnedge.results.stored import ABSENT, FLAT
from mnedge.results.tradeoff import TradeoffRow

SCHEMA = 1


@dataclass(frozen=True)
class SweptFile:
    """One model file of a point.

    Attributes:
        name: File name.
        format: tflite or onnx.
        precision: fp32 or int8.
        io: dtype of its input and output.
        target: Name of its target.
        path: Where its worker keeps it; None once it is in the sweep's folder.
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
    """What a point's compiled form takes; None for what its compiler does not tell."""

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
    """What a worker answers of a build."""

    slug: str
    variant: VariantRow
    artifacts: tuple[SweptFile, ...]
    memory: tuple[SweptMemory, ...]


@dataclass(frozen=True)
class Hits:
    """What a worker answers of an evaluation: pictures, how many of them are right among the best 1 and 5, runtime."""

    images: int
    top1: int
    top5: int
    runtime: str

    def plus(self, other: Hits) -> Hits:
        """Both counts together; the runtime is that of the other."""
        return Hits(self.images + other.images, self.top1 + other.top1, self.top5 + other.top5, other.runtime)


@dataclass(frozen=True)
class Failed:
    """What a worker answers of a task that failed: message (of a bug its traceback), and the error's class."""

    error: str
    kind: str


@dataclass(frozen=True)
class SweptAccuracy:
    """Accuracy of one artifact over the shards that are done; top1 and top5 are shares, 0..1."""

    artifact: str
    runtime: str
    dataset: str
    images: int
    top1: float
    top5: float
    top1_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One point of the grid.

    Attributes:
        tradeoff: What it reaches and costs.
        folder: Its folder in the sweep's.
        values: The swept keys.
        slug: Name of its artifacts.
        error: Why it failed; None where it did not.
        top1_interval: 95 % interval of its top-1.
        fp32_top1: Top-1 of the float artifact.
        images: Pictures that count.
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
    images: int = 0
    artifacts: tuple[SweptFile, ...] = ()
    accuracy: tuple[SweptAccuracy, ...] = ()
    memory: tuple[SweptMemory, ...] = ()


@dataclass(frozen=True)
class WorkCount:
    """How many pieces of work were done now, and how many were known from before."""

    done: int
    known: int


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        schema: Version of sweep.json.
        recipe: Name of the recipe.
        data: Name of the data set.
        stopped: interrupted where Ctrl-C ended it.
        tasks: Pieces of work.
        sent_bytes: Bytes that were sent to the machines of a cluster.
        notes: What the figures rest on.
        rows: The points, the best first.
    """

    schema: int = SCHEMA
    recipe: str
    data: str
    stopped: str | None
    tasks: WorkCount
    sent_bytes: int
    notes: tuple[str, ...]
    rows: tuple[SweepRow, ...]

    @staticmethod
    def of_stored(stored: Mapping[str, object]) -> dict[str, object]:
        """Puts stored rows into the shape of the fields."""
        return tradeoff.of_stored(stored)

    def _repr_html_(self) -> str:
        columns = ("point", "status", "top-1", "latency ms", "bytes")
        rows = (
            (
                row.tradeoff.name,
                row.tradeoff.status,
                row.tradeoff.top1,
                row.tradeoff.latency_ms,
                row.tradeoff.size_bytes,
            )
            for row in self.rows
        )
        return shown.table(f"Sweep of {self.recipe}", columns, rows)
