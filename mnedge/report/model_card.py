"""The model card of a bundle, in Markdown: what the model is for, what it was measured on, and where that ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.markdown import escaped, markdown_table
from mnedge.report.summary import METRICS, base_name, metrics, short_name
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.results.accuracy import AccuracyRow
    from mnedge.results.manifest import BuildManifest, CalibrationRow
    from mnedge.results.report import Report

FILE = "MODEL_CARD.md"
_WEAKEST = 5


@dataclass(frozen=True)
class Description:
    """Description of a model by its maker and its task.

    Attributes:
        version: Version of what is shipped.
        terms: Licence of the weights, as text.
        task: Name of its task in the field, such as "object detection".
        purpose: A sentence on what the model is for; "" for none.
        limits: Limits of models of its task, a sentence each.
    """

    version: str
    terms: str
    task: str
    purpose: str = ""
    limits: tuple[str, ...] = ()


def calibration_in_words(row: CalibrationRow) -> str:
    """Describes a calibration set: number of pictures, name, source and licence, as far as they are known."""
    return "; ".join(filter(None, (f"{row.images:,} pictures of {row.name}", row.source, row.licence)))


def render_model_card(manifest: BuildManifest, report: Report, described: Description) -> str:
    """Renders the model card after Mitchell et al. 2019, "Model Cards for Model Reporting", FAT*.

    The card holds accuracy and no latency, which differs from run to run: the same build gives the same card.

    Args:
        manifest: manifest.json of the build.
        report: report.json of the build.
        described: Description by its maker and its task.
    """
    parts = [f"# {escaped(report.slug)} {escaped(described.version)}"]
    parts += [escaped(described.purpose)] if described.purpose else []
    parts += [
        _section("Model", _table("", ("", ""), _model(manifest, report, described))),
        _section("Data", _table("", ("", ""), _data(manifest))),
        _section("Accuracy", _accuracy(report)),
        _section("Gates", _gates(report)),
        _section("Limits", "\n".join(f"- {escaped(text)}" for text in limits(manifest, report, described))),
        _section("Inputs", _table("", ("input", "version or SHA-256"), inputs(manifest))),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def limits(manifest: BuildManifest, report: Report, described: Description) -> Iterator[str]:
    """States what the figures do not show, a sentence each."""
    names = {row.dataset for row in report.accuracy} or {manifest.dataset.name}
    if report.accuracy:
        fewest = min(row.images for row in report.accuracy)
        yield (
            f"The accuracy is that on {' and '.join(sorted(names))}, {fewest:,} pictures; on pictures from another "
            "camera, light or place it may differ."
        )
    else:
        yield "The accuracy was not measured."
    weakest = _weakest(report)
    if weakest:
        named = ", ".join(f"{name} {figures.percent(value)}" for name, value in weakest)
        yield f"The classes with the lowest recall are {named}."
    yield from described.limits
    if manifest.calibration is not None:
        yield (
            f"The int8 ranges come from {manifest.calibration.images:,} pictures of {manifest.calibration.name}; "
            "brighter, sharper or noisier pictures than these lose more."
        )


def inputs(manifest: BuildManifest) -> Iterator[tuple[str, str]]:
    """Lists what the build was made of: each input's digest and each package's version."""
    if manifest.weights_sha256:
        yield "weights", manifest.weights_sha256
    if manifest.dataset.sha256:
        yield f"data set {manifest.dataset.name}", manifest.dataset.sha256
    if manifest.calibration_sha256:
        yield "calibration pictures", manifest.calibration_sha256
    yield from manifest.tools.items()


def _model(manifest: BuildManifest, report: Report, described: Description) -> Iterator[tuple[str, str]]:
    variant = report.variant
    yield "task", described.task
    if variant.family is not None:
        yield "network", f"{variant.family}, alpha {variant.alpha:g}, {variant.head}"
    if variant.resolution:
        yield "input", f"{variant.resolution} px"
    yield "classes", f"{variant.classes:,}"
    if variant.parameters is not None and variant.macs is not None:
        cost = f"{figures.magnitude(variant.parameters)} parameters, {figures.magnitude(variant.macs)} multiply-adds"
        yield "cost", cost
    yield "precision", "int8" if any(row.precision == "int8" for row in manifest.artifacts) else "float32"
    yield "licence", described.terms


def _data(manifest: BuildManifest) -> Iterator[tuple[str, str]]:
    said = manifest.dataset
    yield "data set", said.name
    for name, value in said.preprocessing.items():
        yield name.replace("_", " "), str(value)
    if said.draw is not None:
        yield "splits drawn with", ", ".join(f"{name} {value}" for name, value in said.draw.items())
    if manifest.calibration is not None:
        yield "calibration", calibration_in_words(manifest.calibration)


def _accuracy(report: Report) -> str:
    keys = metrics(report)
    columns = ("artifact", "device", "data set", ">pictures", *(f">{METRICS[key]}" for key in keys))
    rows = (
        (
            short_name(base_name(row.artifact), report.slug),
            row.device,
            row.dataset,
            f"{row.images:,}",
            *(_with_interval(row, key) for key in keys),
        )
        for row in report.accuracy
    )
    return _table("", columns, rows)


def _with_interval(row: AccuracyRow, key: str) -> str:
    value, bounds = row.metric(key), row.interval(key)
    return figures.percent(value) + (f" ({figures.interval(bounds)})" if bounds else "")


def _gates(report: Report) -> str:
    rows = ((gate.name, figures.plain(gate.limit), "passed" if gate.passed else "FAILED") for gate in report.gates)
    return _table("", ("gate", ">limit", "result"), rows)


def _weakest(report: Report) -> list[tuple[str, float]]:
    int8 = {row.path for row in report.artifacts if row.precision == "int8"}
    measured = sorted(report.accuracy, key=lambda row: base_name(row.artifact) not in int8)
    recall = next((row.figures.classes["recall"] for row in measured if "recall" in row.figures.classes), {})
    known = [(name, value) for name, value in recall.items() if value is not None and value < 1]
    return sorted(known, key=lambda pair: pair[1])[:_WEAKEST]


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(title: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    listed = tuple(tuple(Cell(text) for text in row) for row in rows)
    return markdown_table(Table(title, columns, listed)) if listed else ""
