"""The part that search.json and sweep.json share: a variant's accuracy and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from mnedge.errors import MnedgeError, kind_of, of_kind
from mnedge.results.stored import ABSENT


@dataclass(frozen=True)
class BrokenLimit:
    """A limit that a variant breaks, or the error of a variant that failed.

    Attributes:
        text: In words, e.g. "arena 300 KiB, the limit is 256 KiB".
        limit: Name of the limit, e.g. max_arena_bytes; None for an error.
        allowed: Value of the limit.
        needed: Value of the variant.
        is_least: Whether `needed` is a lower bound.
    """

    text: str
    limit: str | None = field(default=None, metadata=ABSENT)
    allowed: float | None = field(default=None, metadata=ABSENT)
    needed: float | None = field(default=None, metadata=ABSENT)
    is_least: bool | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class TradeoffRow:
    """A variant; unknown figures are None.

    Attributes:
        name: Name in tables.
        status: chosen, front, fits, not reached, excluded or failed.
        broken: Limits that it breaks.
        macs: Multiply-adds of a picture.
        parameters: Trained numbers.
        top1: Top-1 on the user's data, 0..1.
        score: Headline of a task that is not scored by top-1, on the user's data, 0..1.
        epochs: Epochs of fine-tuning that reached it.
        imagenet_top1: Top-1 on ImageNet, 0..1.
        imagenet_top1_source: published or estimated.
        latency_ms: Latency of a picture.
        latency_source: measured or model; None where nothing is said.
        arena_bytes: Working memory.
        ram_bytes: Arena, input and output.
        flash_bytes: Code and constants.
        size_bytes: Size of the int8 .tflite.
    """

    name: str
    status: str
    broken: tuple[BrokenLimit, ...] = ()
    macs: int | None = None
    parameters: int | None = None
    top1: float | None = None
    score: float | None = field(default=None, metadata=ABSENT)
    epochs: int | None = field(default=None, metadata=ABSENT)
    imagenet_top1: float | None = field(default=None, metadata=ABSENT)
    imagenet_top1_source: str | None = field(default=None, metadata=ABSENT)
    latency_ms: float | None = None
    latency_source: str | None = field(default=None, metadata=ABSENT)
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    size_bytes: int | None = None

    @property
    def headline(self) -> float | None:
        """Figure that ranks the variant on the user's data, 0..1."""
        return self.score if self.top1 is None else self.top1


def of_stored(stored: Mapping[str, object]) -> dict[str, object]:
    """Puts the figures that stored rows have beside their own fields into a value of their own, `tradeoff`.

    Args:
        stored: JSON values of search.json or sweep.json.
    """
    rows = stored.get("rows")
    return {**stored, "rows": [_nested(row) for row in rows] if isinstance(rows, list) else rows}


def _nested(row: object) -> object:
    if not isinstance(row, dict):
        return row
    own = {entry.name for entry in fields(TradeoffRow)}
    tradeoff = {name: value for name, value in row.items() if name in own}
    return {**{name: value for name, value in row.items() if name not in own}, "tradeoff": tradeoff}


@dataclass(frozen=True)
class Failure:
    """An error that ended the work early; the results until then are kept.

    Attributes:
        kind: Name of the error's class, e.g. ToolError.
        message: Its message.
    """

    kind: str
    message: str

    @classmethod
    def of(cls, error: MnedgeError) -> Failure:
        """The kind and message of an error."""
        return cls(kind_of(error), str(error))

    @property
    def error(self) -> MnedgeError:
        """The error, to be raised once what was found is shown."""
        return of_kind(self.kind, self.message)
