"""report.json as one self-contained page: no request leaves it, and it reads on a phone and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnedge.report import figures, plots
from mnedge.report.cards import cards, verdict
from mnedge.report.memory_plot import memory_plot
from mnedge.report.summary import base_name, float_peer, headline, lines, metrics, rows, short_name
from mnedge.report.tables import Table, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jinja2 import Environment

    from mnedge.report.summary import Line, Row

_WORST_CONFUSIONS = 10
_LONGEST_LABEL = 20


def render_html(report: dict[str, Any], details: dict[str, Any]) -> str:
    """Renders the page.

    Args:
        report: report.json, schema 1. Lists may be empty and keys absent.
        details: What the page shows beside it; every key may be absent. `confusion` rows {artifact, truth,
            predicted, images, fraction}, where `fraction` is of the `counted` ("pictures", "pixels", "boxes");
            `latency_samples` {artifact: [ms, ...]}; `steps` of the quantization {name, seconds, agreement};
            `plan` {arena_bytes, tensors: [{name, kind, offset, bytes, first, last}]};
            `gallery` {artifact, rows: [{source, words, image}]}: the pictures that it met worst, as data URIs;
            `recipe` and `tools` mappings; `machine` and `dataset` text; `warnings` texts.

    Returns:
        HTML; text from outside is escaped.
    """
    found = lines(report)
    measured = metrics(report)
    metric = measured[0] if measured else None
    page = environment().get_template("report.html")
    return page.render(
        title=str(report.get("slug") or "report"),
        lead=list(_lead(report)),
        dataset=str(details.get("dataset") or ""),
        verdict=verdict(report),
        cards=cards(report),
        warnings=[str(warning) for warning in details.get("warnings") or []],
        bubbles=plots.bubbles(found, metric),
        latencies=plots.latencies(found, details.get("latency_samples") or {}),
        confusions=_confusions(found, details.get("confusion") or [], str(details.get("counted") or "pictures")),
        steps=plots.steps(details.get("steps") or []),
        memory=memory_plot(details.get("plan")),
        gallery=_gallery(details.get("gallery"), str(report.get("slug", ""))),
        tables=tables(report),
        facts=list(_facts(report, details)),
    )


def _gallery(found: Mapping[str, Any] | None, slug: str) -> dict[str, Any] | None:
    return None if not found else {"artifact": short_name(found["artifact"], slug), "rows": found["rows"]}


def environment() -> Environment:
    """The templates of the pages; text is escaped, and a name that is not there is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("mnedge.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=figures.percent, points=figures.points, seconds=figures.seconds, px=lambda value: f"{value:.2f}"
    )
    return made


def _lead(report: Mapping[str, Any]) -> Iterator[str]:
    """What was built, in a few words each."""
    variant = report.get("variant") or {}
    if report.get("task", "classify") != "classify":
        yield f"{report['task']}, {variant.get('head', '')}"
    if variant.get("family"):
        yield f"MobileNet {variant['family']}"
    if variant.get("alpha") is not None:
        yield f"alpha {variant['alpha']}"
    if variant.get("resolution"):
        yield f"{variant['resolution']} px"
    if variant.get("classes"):
        yield f"{variant['classes']:,} classes"
    if variant.get("parameters"):
        yield f"{figures.magnitude(variant['parameters'])} parameters"
    if variant.get("macs"):
        yield f"{figures.magnitude(variant['macs'])} multiply-adds"


def _confusions(found: Sequence[Line], confusion: Sequence[Row], counted: str) -> dict[str, Any] | None:
    """The worst mix-ups of the artifact that the build is judged by, with float's share of the same ones."""
    line = headline(found)
    own = [row for row in confusion if line and base_name(row["artifact"]) == line.name]
    if line is None or not own:
        return None
    # Where some happened twice or more, those that happened once are noise.
    worst = sorted(own, key=lambda row: (-row["images"], -row["fraction"]))[:_WORST_CONFUSIONS]
    worst = [row for row in worst if row["images"] > 1] or worst
    peer = float_peer(line, found)
    # Only float's worst are known: one that is missing there is rarer than those, not absent.
    theirs = {
        (row["truth"], row["predicted"]): row["fraction"]
        for row in confusion
        if peer and base_name(row["artifact"]) == peer.name
    }
    shares = [theirs.get((row["truth"], row["predicted"])) for row in worst]
    longest = max([row["fraction"] for row in worst] + [share for share in shares if share]) or 1.0
    return {
        "line": line,
        "counted": counted,
        "peer": peer if any(shares) else None,
        "rows": [
            {
                "truth": _first_synonym(row["truth"]),
                "predicted": _first_synonym(row["predicted"]),
                "images": row["images"],
                "of": round(row["images"] / row["fraction"]),
                "fraction": row["fraction"],
                "width": 100 * row["fraction"] / longest,
                "peer_width": 100 * share / longest if share else None,
            }
            for row, share in zip(worst, shares, strict=True)
        ],
    }


def _first_synonym(label: object) -> str:
    """A class name without ImageNet's synonyms: "goldfish, Carassius auratus" is a goldfish."""
    text = str(label)
    return text.partition(",")[0] if len(text) > _LONGEST_LABEL else text


def _facts(report: Mapping[str, Any], details: Mapping[str, Any]) -> Iterator[Table]:
    """What the build was made from and with, and the checksums of what came out."""
    from mnedge.report.tables import Cell

    slug = str(report.get("slug", ""))
    for title in ("recipe", "tools", "machine"):
        fact = details.get(title)
        if not fact:
            continue
        named = fact.items() if isinstance(fact, dict) else [("", fact)]
        # A seed or a resolution is a name here, not a quantity: no thousands separators.
        cells = tuple((Cell(str(name)), Cell(_written(value))) for name, value in named)
        yield Table(title.capitalize(), ("", ""), cells)
    artifacts = [row for row in rows(report, "artifacts") if row.get("sha256")]
    if artifacts:
        yield Table(
            "Checksums, SHA-256",
            ("artifact", ">bytes", "sha256"),
            tuple(
                (
                    Cell(short_name(base_name(row["path"]), slug)),
                    Cell(figures.plain(row.get("bytes"))),
                    Cell(str(row["sha256"]), "code"),
                )
                for row in artifacts
            ),
        )


def _written(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else figures.plain(value)
