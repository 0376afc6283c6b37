"""report.json as one self-contained page: no request leaves it, and it reads on a phone and on paper."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from mnedge.choices import DEFAULT_TASK
from mnedge.report import figures, plots
from mnedge.report.cards import cards, verdict
from mnedge.report.memory_plot import memory_plot
from mnedge.report.summary import base_name, float_peer, headline, lines, metrics, short_name
from mnedge.report.tables import Table, tables
from mnedge.report.two_class_plots import two_class_plots
from mnedge.text import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jinja2 import Environment

    from mnedge.report.summary import Line
    from mnedge.report.tables import Tone
    from mnedge.results.accuracy import MixUp
    from mnedge.results.details import Details, Gallery
    from mnedge.results.report import Report
    from mnedge.results.two_classes import TwoClasses

_WORST_CONFUSIONS = 10
_LONGEST_LABEL = 20


@dataclass(frozen=True)
class Confusion:
    """A row of the worst confusions: its figures, and the widths of its bars in percent."""

    truth: str
    predicted: str
    images: int
    of: int
    fraction: float
    width: float
    peer_width: float | None


@dataclass(frozen=True)
class Confusions:
    """The worst mix-ups of a line, with those of its float peer where it has some of them too."""

    line: Line
    counted: str
    peer: Line | None
    rows: tuple[Confusion, ...]


def render_html(report: Report, details: Details) -> str:
    """Renders the page.

    Args:
        report: Measurements of the build.
        details: Details that the page shows beside them.

    Returns:
        HTML; text from outside is escaped.
    """
    found = lines(report)
    measured = metrics(report)
    metric = measured[0] if measured else None
    curves = _two_classes(found)
    page = environment().get_template("report.html")
    return page.render(
        title=report.slug,
        lead=list(_lead(report)),
        dataset=details.dataset,
        verdict=verdict(report),
        cards=cards(report),
        warnings=details.warnings,
        bubbles=plots.bubbles(found, metric),
        latencies=plots.latencies(found, details.latency_samples),
        confusions=_confusions(found, details.confusion, details.counted),
        steps=plots.steps(details.steps),
        memory=memory_plot(details.plan),
        two_class_plots=two_class_plots(curves),
        positive=curves[0][2].positive if curves else None,
        gallery=_gallery(details.gallery, report.slug),
        tables=tables(report),
        facts=list(_facts(report, details)),
    )


def _two_classes(found: Sequence[Line]) -> list[tuple[str, Tone, TwoClasses]]:
    """The curves of the artifact that the build is judged by, and those of its float peer."""
    line = headline(found)
    chosen = [] if line is None else [float_peer(line, found), line]
    return [
        (one.short, one.artifact.precision, one.accuracy.figures.two_classes)
        for one in chosen
        if one is not None and one.accuracy is not None and one.accuracy.figures.two_classes is not None
    ]


def _gallery(found: Gallery | None, slug: str) -> Gallery | None:
    return None if found is None else replace(found, artifact=short_name(found.artifact, slug))


def environment() -> Environment:
    """The templates of the pages; text is escaped, and a name that is not there is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("mnedge.report", "page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=figures.percent, points=figures.points, seconds=figures.seconds, px=lambda value: f"{value:.2f}"
    )
    return made


def _shown(value: object) -> object:
    """Text of others without control characters; what a macro made has passed here already."""
    return line(value) if type(value) is str else value


def _lead(report: Report) -> Iterator[str]:
    """Yields the parts of the build's description, a few words each."""
    variant = report.variant
    if report.task != DEFAULT_TASK:
        yield f"{report.task}, {variant.head}"
    if variant.family is not None:
        yield f"MobileNet {variant.family}"
        yield f"alpha {variant.alpha}"
    if variant.resolution:
        yield f"{variant.resolution} px"
    yield f"{variant.classes:,} {'class' if variant.classes == 1 else 'classes'}"
    if variant.parameters:
        yield f"{figures.magnitude(variant.parameters)} parameters"
    if variant.macs:
        yield f"{figures.magnitude(variant.macs)} multiply-adds"


def _confusions(found: Sequence[Line], confusion: Mapping[str, Sequence[MixUp]], counted: str) -> Confusions | None:
    """The worst mix-ups of the artifact that the build is judged by, with float's share of the same ones."""
    line = headline(found)
    own = _of(line, confusion)
    if line is None or not own:
        return None
    # Where some happened twice or more, those that happened once are noise.
    worst = sorted(own, key=lambda row: (-row.images, -row.fraction))[:_WORST_CONFUSIONS]
    worst = [row for row in worst if row.images > 1] or worst
    peer = float_peer(line, found)
    # Only float's worst are known: one that is missing there is rarer than those, not absent.
    theirs = {(row.truth, row.predicted): row.fraction for row in _of(peer, confusion)}
    shares = [theirs.get((row.truth, row.predicted)) for row in worst]
    longest = max([row.fraction for row in worst] + [share for share in shares if share]) or 1.0
    rows = tuple(
        Confusion(
            truth=_first_synonym(row.truth),
            predicted=_first_synonym(row.predicted),
            images=row.images,
            of=round(row.images / row.fraction),
            fraction=row.fraction,
            width=100 * row.fraction / longest,
            peer_width=100 * share / longest if share else None,
        )
        for row, share in zip(worst, shares, strict=True)
    )
    return Confusions(line, counted, peer if any(shares) else None, rows)


def _of(line: Line | None, confusion: Mapping[str, Sequence[MixUp]]) -> list[MixUp]:
    return [row for name, rows in confusion.items() if line and base_name(name) == line.name for row in rows]


def _first_synonym(label: object) -> str:
    """A class name without ImageNet's synonyms: "goldfish, Carassius auratus" is a goldfish."""
    text = str(label)
    return text.partition(",")[0] if len(text) > _LONGEST_LABEL else text


def _facts(report: Report, details: Details) -> Iterator[Table]:
    """Returns the inputs and tools of the build, and the checksums of its files."""
    from mnedge.report.tables import Cell

    machine = asdict(details.machine) if details.machine else {}
    for title, fact in (("Recipe", details.recipe), ("Tools", details.tools), ("Machine", machine)):
        if fact:
            # A seed or a resolution is a name here, not a quantity: no thousands separators.
            yield Table(title, ("", ""), tuple((Cell(name), Cell(_written(value))) for name, value in fact.items()))
    if report.artifacts:
        yield Table(
            "Checksums, SHA-256",
            ("artifact", ">bytes", "sha256"),
            tuple(
                (
                    Cell(short_name(base_name(row.path), report.slug)),
                    Cell(figures.plain(row.bytes)),
                    Cell(row.sha256, "code"),
                )
                for row in report.artifacts
            ),
        )


def _written(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else figures.plain(value)
