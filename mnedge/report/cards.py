"""The head of the page: what was built and how it did, in five figures and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.summary import METRICS, against_float, headline, lines, metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.report.summary import AgainstFloat, Line
    from mnedge.report.tables import Tone
    from mnedge.results.report import Report


@dataclass(frozen=True)
class Card:
    """A figure: its name, its value, and a note."""

    label: str
    value: str
    detail: str
    tone: Tone = ""


@dataclass(frozen=True)
class Verdict:
    """Returns the verdict of the gates, a sentence."""

    text: str
    tone: Tone


def verdict(report: Report) -> Verdict:
    """Sums the gates up; failed ones are named with limit and measurement."""
    gates = report.gates
    failed = [row for row in gates if not row.passed]
    if not gates:
        return Verdict("No gates were set.", "")
    if not failed:
        return Verdict("The gate passed." if len(gates) == 1 else f"All {len(gates)} gates passed.", "good")
    named = "; ".join(
        f"{row.name} is {figures.plain(row.measured)}, the limit is {figures.plain(row.limit)}" for row in failed
    )
    return Verdict(f"{len(failed)} of {len(gates)} gates failed: {named}.", "bad")


def cards(report: Report) -> list[Card]:
    """The figures of the line that the build is judged by; what was not measured has no card."""
    found = lines(report)
    line = headline(found)
    if line is None:
        return []
    metric = next(iter(metrics(report)), None)
    versus = against_float(line, found, metric)
    made = [_size(line, versus), _accuracy(line, versus, metric), _latency(line, versus)]
    made += [_integers(report, line), *_memory(report)]
    return [card for card in made if card is not None]


def _size(line: Line, versus: AgainstFloat | None) -> Card | None:
    if line.bytes is None:
        return None
    detail = f"{figures.times(versus.smaller)} smaller than float" if versus and versus.smaller else line.short
    return Card("Size", figures.size(line.bytes), detail)


def _accuracy(line: Line, versus: AgainstFloat | None, metric: str | None) -> Card | None:
    value = line.metric(metric)
    if metric is None or value is None or line.accuracy is None:
        return None
    bounds = figures.interval(line.interval(metric))
    sentences = [f"95 % interval {bounds}, {figures.plain(line.accuracy.images)} pictures"]
    tone: Tone = ""
    if versus and versus.accuracy:
        change = versus.accuracy
        same = "as many right as float"
        told = f"{figures.points(change.value)} points against float, {_shown(change.shown)}"
        sentences.append(same if change.value == 0 else told)
        tone = "bad" if change.shown and change.value < 0 else ""
    name = METRICS[metric]
    # mAP is written so everywhere.
    label = name if name[1].isupper() else name[0].upper() + name[1:]
    return Card(label, figures.percent(value), "; ".join(sentences), tone)


def _shown(shown: bool | None) -> str:
    if shown is None:
        return "without an interval"
    return "which the intervals show" if shown else "less than these pictures can tell apart"


def _latency(line: Line, versus: AgainstFloat | None) -> Card | None:
    if line.latency is None:
        return None
    threads = line.latency.threads
    sentences = [f"{line.device}, {threads} thread{'s' * (threads != 1)}"]
    tone: Tone = ""
    if versus and versus.faster:
        ratio = versus.faster.value
        word = "faster" if ratio >= 1 else "slower"
        doubt = "" if versus.faster.shown else ", less than the runs can tell apart"
        sentences.insert(0, f"{figures.times(ratio if ratio >= 1 else 1 / ratio)} {word} than float{doubt}")
        tone = "bad" if ratio < 1 and versus.faster.shown else ""
    return Card("Median latency", figures.milliseconds(line.latency.p50_ms), "; ".join(sentences), tone)


def _integers(report: Report, line: Line) -> Card | None:
    row = next((row for row in report.int8 if row.artifact.endswith(line.name)), None)
    if row is None or row.float_ops is None:
        return None
    floats, partitions = row.float_ops, row.delegate_partitions
    detail = f"{row.ops} ops, " + (f"{floats} in float" if floats else "none in float")
    if partitions is not None:
        detail += f"; {partitions} delegate partition{'s' * (partitions != 1)}"
    return Card("Integer ops", "mixed" if floats else "all int8", detail, "bad" if floats else "good")


def _memory(report: Report) -> Sequence[Card]:
    return [
        Card(
            f"Memory on {row.target}",
            figures.size(row.arena_with_ends_bytes),
            f"arena with input and output; flash {figures.size(row.flash_bytes)}, "
            f"stack {figures.size(row.stack_bytes)}",
        )
        for row in report.memory[:2]
    ]
