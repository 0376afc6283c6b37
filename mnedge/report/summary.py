"""report.json joined: one line per artifact and place where it ran, and how it stands against float."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from mnedge.report import difference
from mnedge.results.metric import Declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnedge.results.accuracy import AccuracyRow, Interval
    from mnedge.results.comparison import Difference
    from mnedge.results.latency import LatencyRow
    from mnedge.results.report import ArtifactRow, Report

# Figures of an accuracy row, in the order in which one of them is the headline, with the name for people.
METRICS = Declared(lambda metric: not metric.by_class)
# Figures of each class in an accuracy row, {class: figure}, with the name for people.
CLASS_METRICS = Declared(lambda metric: metric.by_class)
_KEYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Line:
    """An artifact on a device.

    Attributes:
        key: A letter that stands for it in the plots.
        name: File name.
        short: File name without the build's slug.
        artifact: Its row of `artifacts`.
        accuracy: Its row of `accuracy` on this device; None where not measured.
        latency: Its row of `latency`, likewise.
        flash_bytes: Flash of compiled C sources; None for models and where it was not measured.
    """

    key: str
    name: str
    short: str
    artifact: ArtifactRow
    accuracy: AccuracyRow | None = None
    latency: LatencyRow | None = None
    flash_bytes: int | None = None

    @property
    def precision(self) -> str:
        """fp32 or int8."""
        return self.artifact.precision

    @property
    def device(self) -> str:
        """URI of the device, "" where nothing was measured."""
        measured = self.latency or self.accuracy
        return measured.device if measured else ""

    @property
    def runtime(self) -> str:
        """Runtime and version, "" where nothing was measured."""
        measured = self.latency or self.accuracy
        return measured.runtime if measured else ""

    @property
    def bytes(self) -> int | None:
        """Size of the model file; for C sources, their flash."""
        return self.flash_bytes if self.artifact.format == "c" else self.artifact.bytes

    @property
    def p50_ms(self) -> float | None:
        """Median latency."""
        return self.latency.p50_ms if self.latency else None

    def metric(self, name: str | None) -> float | None:
        """A figure of the accuracy, 0..1; None where it was not measured."""
        return self.accuracy.metric(name) if self.accuracy and name else None

    def interval(self, name: str | None) -> Interval | None:
        """The 95 % interval of a figure, where it is known."""
        return self.accuracy.interval(name) if self.accuracy and name else None


def base_name(artifact: object) -> str:
    """File name of an artifact as rows refer to it, with or without a folder."""
    return PurePath(str(artifact)).name


def short_name(name: str, slug: str) -> str:
    """A file name without the slug in front, e.g. "int8.tflite"."""
    return name[len(slug) + 1 :] if slug and name.startswith(slug) and len(name) > len(slug) + 1 else name


def lines(report: Report) -> list[Line]:
    """Joins artifacts with what was measured on them, in the order of `artifacts`."""
    flash = {base_name(row.artifact): row.flash_bytes for row in report.memory}
    found: list[Line] = []
    for made in report.artifacts:
        name = base_name(made.path)
        accuracies = [row for row in report.accuracy if base_name(row.artifact) == name]
        latencies = [row for row in report.latency if base_name(row.artifact) == name]
        joined: list[tuple[AccuracyRow | None, LatencyRow | None]] = [
            (_same_place(accuracies, latency), latency) for latency in latencies
        ]
        used = {id(accuracy) for accuracy, _ in joined}
        joined += [(accuracy, None) for accuracy in accuracies if id(accuracy) not in used]
        for accuracy, latency in joined or [(None, None)]:
            key = _KEYS[len(found)] if len(found) < len(_KEYS) else str(len(found) + 1)
            short = short_name(name, report.slug)
            found.append(Line(key, name, short, made, accuracy, latency, flash.get(name)))
    return found


def _same_place(accuracies: Iterable[AccuracyRow], latency: LatencyRow) -> AccuracyRow | None:
    here = [row for row in accuracies if row.device == latency.device]
    same_runtime = [row for row in here if row.runtime == latency.runtime]
    return next(iter(same_runtime or here), None)


def metrics(report: Report) -> list[str]:
    """The metrics that the accuracy rows hold, the headline first."""
    return [name for name in METRICS if any(row.metric(name) is not None for row in report.accuracy)]


def headline(found: Sequence[Line]) -> Line | None:
    """The line that a build is judged by: int8 before float, .tflite before the rest, measured before not."""

    def rank(line: Line) -> tuple[bool, bool, bool, bool]:
        return (
            line.precision != "int8",
            line.artifact.format != "tflite",
            line.latency is None,
            line.accuracy is None,
        )

    return min(found, key=rank, default=None)


def float_peer(line: Line, found: Sequence[Line]) -> Line | None:
    """The float line to hold an int8 line against: the same device, and the same format where there is one."""
    if line.precision == "fp32":
        return None
    peers = [other for other in found if other.precision == "fp32" and (not line.device or other.device == line.device)]

    def rank(other: Line) -> tuple[bool, bool]:
        return (
            other.artifact.format != line.artifact.format,
            _threads(other) != _threads(line),
        )

    return min(peers, key=rank, default=None)


def _threads(line: Line) -> int | None:
    return line.latency.threads if line.latency else None


@dataclass(frozen=True)
class AgainstFloat:
    """An int8 line against its float peer.

    Attributes:
        peer: The float line.
        smaller: Float bytes over int8 bytes.
        faster: Ratio of the median latencies.
        accuracy: Difference of the headline metric.
    """

    peer: Line
    smaller: float | None
    faster: Difference | None
    accuracy: Difference | None


def against_float(line: Line, found: Sequence[Line], metric: str | None) -> AgainstFloat | None:
    """Holds an int8 line against float; None where there is nothing to hold it against."""
    peer = float_peer(line, found)
    if peer is None:
        return None
    return AgainstFloat(
        peer=peer,
        smaller=peer.bytes / line.bytes if peer.bytes and line.bytes else None,
        faster=difference.of_latency(peer.latency, line.latency),
        accuracy=difference.of_accuracy(peer.accuracy, line.accuracy, metric) if metric else None,
    )
