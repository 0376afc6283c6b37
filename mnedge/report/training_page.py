"""A training run as report.json's sibling and as one self-contained page: curves, mix-ups, and the worst pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.report import figures
from mnedge.report.axes import Tick, along, ticks
from mnedge.report.cards import Card
from mnedge.report.html import environment
from mnedge.report.overlay import data_uri
from mnedge.report.summary import METRICS
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.report.summary import Row

    Show = Callable[[str], NDArray[np.uint8] | None]

_WORST = 24
# A wider matrix is a wall of numbers; the worst mix-ups say more.
_MATRIX_CLASSES = 20
_MIXUPS = 20
_HEIGHT = 240.0
_LISTED = 40
# Room that the name of a phase takes, percent across.
_PHASE_NAME = 8.0
# What the rows of `classes` hold for each task, the headline first, and how it is called.
CLASS_FIGURES = {
    "classify": (("recall", "recall"), ("precision", "precision")),
    "segment": (("iou", "IoU"), ("recall", "recall"), ("precision", "precision")),
    "detect": (("ap50", "AP at IoU 0.5"), ("ap", "AP")),
    "embed": (("recall", "recall at 1"),),
}


@dataclass(frozen=True)
class Curve:
    """One line of a plot: what it is, and its points (percent across, pixels down)."""

    name: str
    tone: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CurvePlot:
    """Curves over the epochs of all phases.

    Attributes:
        title: What is plotted.
        curves: The lines.
        x_ticks: Epochs.
        y_ticks: Values.
        phases: Where each phase begins, percent across, and its name.
        best: Percent across of the epoch whose weights were taken; None where it is none of them.
        height: Pixels.
    """

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    phases: tuple[Tick, ...]
    best: float | None
    height: float


def classes_table(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[Row]:
    """Pictures, recall and precision of every class; None where there is nothing to divide by."""
    shown, predicted, right = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    return [
        {
            "class": name,
            "images": int(shown[place]),
            "recall": float(right[place] / shown[place]) if shown[place] else None,
            "precision": float(right[place] / predicted[place]) if predicted[place] else None,
        }
        for place, name in enumerate(classes)
    ]


def worst(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], sources: Sequence[str], classes: Sequence[str]
) -> list[Row]:
    """The pictures that were taken for another class, those that were surest first.

    Args:
        probabilities: float32, (n, classes).
        labels: int64, (n,).
        sources: What each picture is called.
        classes: Class names.
    """
    predicted, rows = probabilities.argmax(axis=1), np.arange(labels.size)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-(probabilities[rows, predicted] - probabilities[rows, labels])[wrong], kind="stable")]
    return [
        {
            "source": sources[place],
            "label": classes[labels[place]],
            "predicted": classes[predicted[place]],
            "probability": round(float(probabilities[place, predicted[place]]), 4),
            "label_probability": round(float(probabilities[place, labels[place]]), 4),
        }
        for place in surest
    ]


def mixups(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[Row]:
    """Which classes are taken for which, the most frequent first."""
    off = confusion - np.diag(confusion.diagonal())
    truths, predictions = np.nonzero(off)
    counts = off[truths, predictions]
    order = np.lexsort((predictions, truths, -counts))[:_MIXUPS]
    return [
        {
            "label": classes[truths[place]],
            "predicted": classes[predictions[place]],
            "images": int(counts[place]),
            "fraction": float(counts[place] / confusion[truths[place]].sum()),
        }
        for place in order
    ]


def render_training(report: Mapping[str, Any], show: Show) -> str:
    """Renders the page.

    Args:
        report: As `mnedge train` writes it.
        show: Of a picture's source: its pixels, uint8 (H, W, 3), or None where it cannot be shown.
    """
    history, findings, metric = report["history"], report["findings"], report["metric"]
    return (
        environment()
        .get_template("training.html")
        .render(
            title=report["model"]["path"],
            lead=_lead(report),
            dataset=report["settings"]["data"],
            warnings=_warnings(report),
            cards=_cards(report),
            plots=[
                curve_plot(
                    f"{_title(metric)} of the validation split",
                    history,
                    report["best"],
                    {"validation": lambda row: float(row["scores"][metric])},
                ),
                curve_plot("Loss", history, report["best"], {"training": _loss, "validation": _validation_loss}),
            ],
            matrix=_matrix(report.get("confusion")),
            mixups=report.get("mixups"),
            worst=[{**row, "image": _image(show(row["source"]))} for row in report["worst"][:_WORST]],
            suspects=[{**row, "image": _image(show(row["source"]))} for row in (report["suspects"] or ())[:_WORST]],
            looked_for_suspects=report["suspects"] is not None or report["task"] != "classify",
            shared=[
                {**row, "images": [_image(show(row["train"])), _image(show(row["held"]))]}
                for row in findings["shared"][:_WORST]
            ],
            tables=[_classes(report["classes"], report["task"]), *_listed(findings), _settings(report["settings"])],
        )
    )


def _title(metric: str) -> str:
    name = METRICS[metric]
    # mAP is written so everywhere.
    return name if name[1].isupper() else name[0].upper() + name[1:]


def _loss(row: Row) -> float:
    return float(row["loss"])


def _validation_loss(row: Row) -> float:
    return float(row["scores"]["loss"])


def curve_plot(
    title: str,
    history: Sequence[Row],
    best: Row,
    lines: Mapping[str, Callable[[Row], float]],
    *,
    height: float = _HEIGHT,
) -> CurvePlot | None:
    """Places the epochs of all phases one after the other; None where there are none.

    Args:
        title: What is plotted.
        history: Rows {phase, number, loss, scores, …}.
        best: The row whose weights were taken.
        lines: The value of a row, by the line's name.
        height: Pixels.
    """
    if not history:
        return None
    values = [value(row) for value in lines.values() for row in history]
    low, high = min(values), max(values)
    y_values = ticks(low, high if high > low else low + 0.01, 5)
    top, bottom, count = 26.0, height - 40.0, len(history)
    x_of, y_of = along(-0.5, count - 0.5), along(y_values[0], y_values[-1], bottom, top)
    # A phase of a few epochs leaves no room for its name.
    begins = [place for place, row in enumerate(history) if row["number"] == 1 or place == 0]
    chosen = [
        place for place, row in enumerate(history) if (row["phase"], row["number"]) == (best["phase"], best["number"])
    ]
    every = max(1, -(-count // 10))
    return CurvePlot(
        title=title,
        curves=tuple(
            Curve(name, tone, tuple((x_of(place), y_of(value(row))) for place, row in enumerate(history)))
            for (name, value), tone in zip(lines.items(), ("fp32", "int8")[-len(lines) :], strict=True)
        ),
        x_ticks=tuple(Tick(x_of(place), str(history[place]["number"])) for place in range(0, count, every)),
        y_ticks=tuple(Tick(y_of(value), figures.axis(value)) for value in y_values),
        phases=tuple(
            Tick(x_of(place - 0.5), str(history[place]["phase"]) if x_of(after) - x_of(place) > _PHASE_NAME else "")
            for place, after in zip(begins, [*begins[1:], count], strict=True)
        ),
        best=x_of(chosen[0]) if chosen else None,
        height=height,
    )


def _lead(report: Mapping[str, Any]) -> list[str]:
    variant = report["settings"]["variant"]
    head = [] if variant.get("head", "classifier") == "classifier" else [variant["head"]]
    return [
        *head,
        f"MobileNet {variant['family']}",
        f"alpha {variant['alpha']}",
        f"{variant['resolution']} px",
        f"{variant['classes']} classes",
        f"from {report['settings']['weights']}",
    ]


def _cards(report: Mapping[str, Any]) -> list[Card]:
    images, best, metric = report["images"], report["best"], report["metric"]
    head = [row for row in report["history"] if row["phase"] == "head"]
    frozen = max((row["scores"][metric] for row in head), default=None)
    figure, name = CLASS_FIGURES[report["task"]][0]
    lowest = min((row[figure], row["class"]) for row in report["classes"] if row[figure] is not None)
    return [
        Card(_title(metric), figures.percent(report[metric]), f"on {images['eval']:,} validation pictures"),
        Card("with the backbone frozen", figures.percent(frozen), "what fine-tuning adds to"),
        Card(f"Lowest {name}", figures.percent(lowest[0]), f"of {lowest[1]}"),
        _best(best, METRICS[metric]),
        Card("Time", figures.seconds(report["seconds"]), f"{images['train']:,} training pictures"),
    ]


def _best(best: Row, metric: str) -> Card:
    if best["number"] == 0:
        return Card("Best epoch", figures.MISSING, f"none of {best['phase']} was better than what it began with")
    return Card("Best epoch", str(best["number"]), f"of {best['phase']}, by {metric} on the validation split")


def _warnings(report: Mapping[str, Any]) -> list[str]:
    findings, found = report["findings"], []
    if findings["shared"]:
        dealt = "they were left out of training" if not report["settings"]["keep_shared"] else "accuracy is too high"
        found.append(f"{len(findings['shared'])} training pictures are in the validation split too; {dealt}.")
    if findings["broken"]:
        found.append(f"{len(findings['broken'])} broken pictures were left out.")
    if findings["tiny"]:
        found.append(f"{len(findings['tiny'])} pictures are smaller than half the input.")
    if findings["blank"]:
        found.append(f"{len(findings['blank'])} pictures are of one colour.")
    if findings["without_validation"]:
        found.append(f"no validation picture shows {', '.join(findings['without_validation'])}.")
    found += [f"{len(row['where']):,} {row['what']}." for row in findings["annotations"]]
    if not report["is_complete"]:
        found.append("training was paused before its last epoch.")
    return found


def _matrix(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if found is None or len(found["classes"]) > _MATRIX_CLASSES:
        return None
    classes, confusion = found["classes"], np.array(found["counts"], np.int64)
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shares = confusion / totals
    rows = [
        {
            "label": name,
            "cells": [(int(confusion[place, other]), float(shares[place, other])) for other in range(len(classes))],
        }
        for place, name in enumerate(classes)
    ]
    return {"classes": classes, "rows": rows}


def _classes(rows: Sequence[Row], task: str) -> Table:
    shown = CLASS_FIGURES[task]
    cells = (
        (Cell(row["class"]), Cell(f"{row['images']:,}"), *(Cell(_share(row[figure])) for figure, _ in shown))
        for row in rows
    )
    return Table("Classes", ("class", ">pictures", *(f">{name} %" for _, name in shown)), tuple(cells))


def _share(fraction: float | None) -> str:
    return figures.MISSING if fraction is None else f"{100 * fraction:.1f}"


def _listed(findings: Mapping[str, Any]) -> list[Table]:
    made = []
    for name in ("broken", "blank"):
        if findings[name]:
            rows = tuple((Cell(source),) for source in findings[name][:_LISTED])
            made.append(Table(f"{name.capitalize()} pictures", ("picture",), rows, _rest(findings[name])))
    if findings["tiny"]:
        sizes = tuple((Cell(row["source"]), Cell(f"{row['width']} x {row['height']}")) for row in findings["tiny"])
        made.append(Table("Tiny pictures", ("picture", ">pixels"), sizes[:_LISTED], _rest(sizes)))
    for row in findings["annotations"]:
        places = tuple((Cell(where),) for where in row["where"][:_LISTED])
        made.append(Table(f"{len(row['where']):,} {row['what']}", ("where",), places, _rest(row["where"])))
    return made


def _rest(rows: Sequence[object]) -> tuple[str, ...]:
    return (f"and {len(rows) - _LISTED} more, in the JSON report",) if len(rows) > _LISTED else ()


def _settings(settings: Mapping[str, Any]) -> Table:
    cells = []
    for name, value in settings.items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        cells += [(Cell(f"{name} {key}".strip()), Cell("–" if item is None else str(item))) for key, item in nested]
    return Table("Settings", ("", ""), tuple(cells))


def _image(pixels: NDArray[np.uint8] | None) -> str | None:
    return None if pixels is None else data_uri(pixels)
