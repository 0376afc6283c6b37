"""`mnedge compare`: builds side by side, and where they part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table, say

if TYPE_CHECKING:
    from mnedge.results.comparison import Comparison, Difference, Figure

PANEL = "Measure"


def command(
    builds: Annotated[list[Path], typer.Argument(metavar="BUILD", help="Folders of builds, or their report.json.")],
    *,
    as_json: Json = False,
) -> None:
    """Hold builds against the first one, and say where they part.

    Size, accuracy and latency of every artifact, and what made them differ. A * says that the measurements show the
    difference: for accuracy the 95 % intervals do, for latency nine of ten runs of the faster one beat the median of
    the other. What changed comes from the manifests, with the stage that it first acts in.
    """
    from mnedge.workflows.compare import compare

    found = compare(builds)
    if as_json:
        print_json(found)
        return
    letters = _letters(found)
    _print_figures(found, letters)
    if found.without_manifest:
        missing = ", ".join(found.without_manifest)
        say(f"no manifest.json beside {missing}: what changed is known from the artifacts alone")
    if found.changes:
        print_table(
            "What changed",
            ("first acts in", "what", *letters),
            ((change.stage, change.what, *(_value(value) for value in change.values)) for change in found.changes),
        )
    say(found.verdict)


def _letters(found: Comparison) -> list[str]:
    return [chr(ord("A") + place) if place < 26 else str(place + 1) for place in range(len(found.builds))]


def _print_figures(found: Comparison, letters: list[str]) -> None:
    for letter, build, slug, broken in zip(letters, found.builds, found.slugs, found.broken_gates, strict=True):
        say(f"{letter}  {build}  {slug}" + (f"  broke {', '.join(broken)}" if broken else ""))
    columns = ["artifact", "", f">{letters[0]}"]
    for letter in letters[1:]:
        columns += [f">{letter}", f">{letter} against {letters[0]}"]
    rows = []
    previous = ""
    for figure in found.figures:
        cells = ["" if figure.artifact == previous else figure.artifact, _name(figure), _amount(figure, 0)]
        for place, change in enumerate(figure.changes, start=1):
            cells += [_amount(figure, place), _change(figure, change)]
        rows.append((*cells, figure.note))
        previous = figure.artifact
    noted = any(figure.note for figure in found.figures)
    print_table("", (*columns, *([""] if noted else [])), (row if noted else row[:-1] for row in rows))
    if any(str(cell).endswith("*") for row in rows for cell in row):
        say("* the measurements show the difference")
    if any(figure.name == "p50_ms" for figure in found.figures):
        say("latencies come from separate runs; `mnedge bench` times artifacts side by side in one")


def _name(figure: Figure) -> str:
    from mnedge.report.summary import METRICS

    return {"bytes": "size", "p50_ms": "p50 ms"}.get(figure.name) or f"{METRICS[figure.name]} %"


def _amount(figure: Figure, place: int) -> str | None:
    from mnedge.report import figures

    value = figure.values[place]
    if value is None:
        return None
    if figure.name == "bytes":
        return figures.size(value)
    return figures.three(value) if figure.name == "p50_ms" else f"{100 * value:.2f}"


def _change(figure: Figure, change: Difference | None) -> str | None:
    from mnedge.report import figures

    if change is None:
        return None
    if figure.name not in ("bytes", "p50_ms"):
        return figures.points(change.value) + (" *" if change.shown else "  ")
    better, worse = ("smaller", "larger") if figure.name == "bytes" else ("faster", "slower")
    if change.value == 1.0:
        return "same  "
    ratio, word = (change.value, better) if change.value > 1 else (1 / change.value, worse)
    text = f"{100 * (ratio - 1):.1f} %" if ratio < 1.995 else figures.times(ratio)
    if ratio < 1.0005:
        text = "under 0.1 %"
    # Sizes are counted, not measured: any difference is one.
    return f"{text} {word}" + (" *" if change.shown and figure.name == "p50_ms" else "  ")


def _value(value: object) -> str | None:
    from mnedge.report import figures

    if isinstance(value, str) and len(value) == 64 and value.isalnum():
        return value[:12]
    return None if value is None else str(value) if isinstance(value, int) else figures.plain(value)
