"""A training run as report.json's sibling and as one self-contained page: curves, mix-ups, and the worst pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.report import figures
from mnedge.report.cards import Card
from mnedge.report.curves import curve_plot
from mnedge.report.html import environment
from mnedge.report.overlay import data_uri
from mnedge.report.tables import Cell, Table
from mnedge.report.two_class_plots import thresholds_table, two_class_plots
from mnedge.results.accuracy import MixUp
from mnedge.results.outcome import ClassRow, MetPicture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnedge.results.findings import Findings
    from mnedge.results.metric import Metric
    from mnedge.results.outcome import Confusion
    from mnedge.results.training import Epoch, OwnNetwork, Settings, TrainingReport

    Show = Callable[[str], NDArray[np.uint8] | None]

_WORST = 24
# A wider matrix is a wall of numbers; the worst mix-ups say more.
_MATRIX_CLASSES = 20
_MIXUPS = 20
_LISTED = 40


def classes_table(confusion: NDArray[np.int64], classes: Sequence[str]) -> tuple[ClassRow, ...]:
    """Pictures, recall and precision of every class; None where there is nothing to divide by."""
    shown, predicted, right = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    return tuple(
        ClassRow(
            name,
            int(shown[place]),
            {
                "recall": float(right[place] / shown[place]) if shown[place] else None,
                "precision": float(right[place] / predicted[place]) if predicted[place] else None,
            },
        )
        for place, name in enumerate(classes)
    )


def worst(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], sources: Sequence[str], classes: Sequence[str]
) -> tuple[MetPicture, ...]:
    """The pictures that were taken for another class, those that were surest first.

    Args:
        probabilities: float32, (n, classes).
        labels: int64, (n,).
        sources: Name of each picture.
        classes: Class names.
    """
    predicted, rows = probabilities.argmax(axis=1), np.arange(labels.size)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-(probabilities[rows, predicted] - probabilities[rows, labels])[wrong], kind="stable")]
    return tuple(
        MetPicture(
            sources[place],
            label=classes[labels[place]],
            predicted=classes[predicted[place]],
            probability=round(float(probabilities[place, predicted[place]]), 4),
            label_probability=round(float(probabilities[place, labels[place]]), 4),
        )
        for place in surest
    )


def mixups(confusion: NDArray[np.int64], classes: Sequence[str]) -> tuple[MixUp, ...]:
    """Returns the mix-ups of classes, the most frequent first."""
    off = confusion - np.diag(confusion.diagonal())
    truths, predictions = np.nonzero(off)
    counts = off[truths, predictions]
    order = np.lexsort((predictions, truths, -counts))[:_MIXUPS]
    return tuple(
        MixUp(
            truth=classes[truths[place]],
            predicted=classes[predictions[place]],
            images=int(counts[place]),
            fraction=float(counts[place] / confusion[truths[place]].sum()),
        )
        for place in order
    )


def render_training(
    report: TrainingReport, metrics: Sequence[Metric], show: Show, augmented: Sequence[NDArray[np.uint8]] = ()
) -> str:
    """Renders the page.

    Args:
        report: The training.
        metrics: The task's metrics, its headline first.
        show: Gives the pixels of a picture by its source, uint8 (H, W, 3), or None where it cannot be shown.
        augmented: Training pictures as the network saw them, with their targets drawn, uint8 (H, W, 3).
    """
    account, outcome, metric = report.account, report.outcome, metrics[0]
    findings, suspects, curves = account.findings, account.suspects, outcome.two_classes
    return (
        environment()
        .get_template("training.html")
        .render(
            title=report.model.path,
            lead=_lead(account.settings),
            dataset=account.settings.data,
            warnings=_warnings(report),
            cards=_cards(report, metrics),
            plots=[
                curve_plot(
                    f"{_title(metric)} of the validation split",
                    account.history,
                    account.best,
                    {"validation": lambda epoch: epoch.scores[metric.key]},
                ),
                curve_plot("Loss", account.history, account.best, {"training": _loss, "validation": _validation_loss}),
            ],
            two_classes=outcome.two_classes,
            two_class_plots=two_class_plots([("validation", "int8", curves)] if curves is not None else []),
            two_class_table=None if curves is None else thresholds_table(curves),
            augmented=[data_uri(pixels) for pixels in augmented],
            matrix=_matrix(outcome.confusion),
            mixups=outcome.mixups,
            worst=[(picture, _image(show(picture.source))) for picture in outcome.worst[:_WORST]],
            suspects=[(suspect, _image(show(suspect.source))) for suspect in (suspects or ())[:_WORST]],
            # Only labels of whole pictures can be told from the features of a backbone.
            looked_for_suspects=suspects is not None or outcome.confusion is None,
            shared=[
                (pair, [_image(show(source)) for source in (pair.train, pair.held)])
                for pair in findings.shared[:_WORST]
            ],
            tables=[_classes(outcome.classes, metrics), *_listed(findings), _settings(account.settings)],
        )
    )


def _title(metric: Metric) -> str:
    # mAP is written so everywhere.
    return metric.name if metric.name[1].isupper() else metric.name[0].upper() + metric.name[1:]


def _loss(epoch: Epoch) -> float | None:
    return epoch.loss


def _validation_loss(epoch: Epoch) -> float | None:
    return epoch.scores["loss"]


def _lead(settings: Settings) -> list[str]:
    network = settings.variant
    if network is None:
        return _lead_of_own(settings)
    head = [] if network.head == "classifier" else [network.head]
    return [
        *head,
        f"MobileNet {network.family}",
        f"alpha {network.alpha}",
        f"{network.resolution} px",
        f"{network.classes} {'class' if network.classes == 1 else 'classes'}",
        f"from {settings.weights}",
    ]


def _lead_of_own(settings: Settings) -> list[str]:
    own = settings.model
    assert own is not None, "a training has a variant or a model"
    head = f"the head {own.head} {'is new' if own.is_new_head else 'was kept'}"
    size = "x".join(map(str, own.size))
    return [f"fine-tuned {own.path}", f"{size} px", f"pixels {own.pixels}", f"{own.classes} classes", head]


def _cards(report: TrainingReport, metrics: Sequence[Metric]) -> list[Card]:
    account, metric = report.account, metrics[0]
    scores = [epoch.scores[metric.key] for epoch in account.history if epoch.phase == "head"]
    frozen = max((score for score in scores if score is not None), default=None)
    return [
        Card(_title(metric), figures.percent(report.score), f"on {account.images.eval:,} validation pictures"),
        *_tested(report, metric),
        Card("with the backbone frozen", figures.percent(frozen), "what fine-tuning adds to"),
        *_lowest(report.outcome.classes, metrics),
        _best(account.best, _chosen_by(account.chosen_by, metric)),
        Card("Time", figures.seconds(account.seconds), f"{account.images.train:,} training pictures{_rate(report)}"),
    ]


def _rate(report: TrainingReport) -> str:
    rate = report.images_per_second
    return "" if rate is None else f", {rate:,.0f} a second"


def _tested(report: TrainingReport, metric: Metric) -> list[Card]:
    """The headline of the test split, and figures that count classes alike, where there are such."""
    found = []
    if report.test is not None:
        words = f"on {report.account.images.test or 0:,} test pictures, which chose nothing"
        found.append(Card(f"{_title(metric)}, test", figures.percent(report.test.figures[metric.key]), words))
    for key, name in (("balanced_accuracy", "Balanced accuracy"), ("macro_f1", "Macro F1")):
        if key in report.outcome.figures:
            found.append(Card(name, figures.percent(report.outcome.figures[key]), "every class counts alike"))
    return found


def _lowest(rows: Sequence[ClassRow], metrics: Sequence[Metric]) -> list[Card]:
    """The class that was met worst, by the first figure that the task has of classes."""
    for metric in _of_classes(metrics)[:1]:
        found = [(value, row.name) for row in rows if (value := row.figures.get(metric.key)) is not None]
        if found:
            value, name = min(found)
            return [Card(f"Lowest {metric.name}", figures.percent(value), f"of {name}")]
    return []


def _of_classes(metrics: Sequence[Metric]) -> list[Metric]:
    return [metric for metric in metrics if metric.by_class]


def _chosen_by(key: str | None, metric: Metric) -> str:
    return metric.name if key in (None, metric.key) else str(key).replace("_", " ")


def _best(best: Epoch, metric: str) -> Card:
    if best.number == 0:
        return Card("Best epoch", figures.MISSING, f"none of {best.phase} was better than what it began with")
    return Card("Best epoch", str(best.number), f"of {best.phase}, by {metric} on the validation split")


def _warnings(report: TrainingReport) -> list[str]:
    findings, found = report.account.findings, []
    if findings.shared:
        dealt = "accuracy is too high" if report.account.settings.keep_shared else "they were left out of training"
        learned = {pair.train for pair in findings.shared if pair.splits[0] == "train"}
        if learned:
            found.append(f"{len(learned)} training pictures are in the val or test split too; {dealt}.")
        chosen_by = {pair.train for pair in findings.shared if pair.splits[0] != "train"}
        if chosen_by:
            found.append(
                f"{len(chosen_by)} pictures of the val split, which chose the epoch, are in the test split too."
            )
    if findings.broken:
        found.append(f"{len(findings.broken)} broken pictures were left out.")
    if findings.tiny:
        found.append(f"{len(findings.tiny)} pictures are smaller than half the input.")
    if findings.blank:
        found.append(f"{len(findings.blank)} pictures are of one colour.")
    if findings.without_validation:
        found.append(f"no validation picture shows {', '.join(findings.without_validation)}.")
    found += [f"{len(row.where):,} {row.what}." for row in findings.annotations]
    # Their figures stand in cards and in a section of their own.
    shown = ("balanced accuracy", "test:", "threshold")
    found += [f"{note}." for note in report.notes() if not note.startswith(shown)]
    if not report.account.is_complete:
        found.append("training was paused before its last epoch.")
    return found


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as the page shows it.

    Attributes:
        classes: Class names.
        rows: Class name, and pictures and share of the row for each predicted class.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


def _matrix(found: Confusion | None) -> Matrix | None:
    if found is None or len(found.classes) > _MATRIX_CLASSES:
        return None
    rows = []
    for name, counts in zip(found.classes, found.counts, strict=True):
        total = max(sum(counts), 1)
        rows.append((name, tuple((count, count / total) for count in counts)))
    return Matrix(found.classes, tuple(rows))


def _classes(rows: Sequence[ClassRow], metrics: Sequence[Metric]) -> Table:
    shown = _of_classes(metrics)
    cells = (
        (Cell(row.name), Cell(f"{row.images:,}"), *(Cell(_share(row.figures.get(metric.key))) for metric in shown))
        for row in rows
    )
    return Table("Classes", ("class", ">pictures", *(f">{metric.name} %" for metric in shown)), tuple(cells))


def _share(fraction: float | None) -> str:
    return figures.MISSING if fraction is None else f"{100 * fraction:.1f}"


def _listed(findings: Findings) -> list[Table]:
    made = []
    for title, sources in (("Broken pictures", findings.broken), ("Blank pictures", findings.blank)):
        if sources:
            rows = tuple((Cell(source),) for source in sources[:_LISTED])
            made.append(Table(title, ("picture",), rows, _rest(sources)))
    if findings.tiny:
        sizes = tuple((Cell(tiny.source), Cell(f"{tiny.width} x {tiny.height}")) for tiny in findings.tiny)
        made.append(Table("Tiny pictures", ("picture", ">pixels"), sizes[:_LISTED], _rest(sizes)))
    for row in findings.annotations:
        places = tuple((Cell(where),) for where in row.where[:_LISTED])
        made.append(Table(f"{len(row.where):,} {row.what}", ("where",), places, _rest(row.where)))
    return made


def _rest(rows: Sequence[object]) -> tuple[str, ...]:
    return (f"and {len(rows) - _LISTED} more, in the JSON report",) if len(rows) > _LISTED else ()


def _settings(settings: Settings) -> Table:
    given: dict[str, object] = {
        **({} if settings.variant is None else {"variant": asdict(settings.variant)}),
        **({} if settings.model is None else {"model": _row(settings.model)}),
        "data": settings.data,
        "split": settings.draw,
        "weights": settings.weights,
        "keep_shared": settings.keep_shared,
        **settings.schedule,
    }
    cells = []
    for name, value in given.items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        cells += [(Cell(f"{name} {key}".strip()), Cell("–" if item is None else str(item))) for key, item in nested]
    return Table("Settings", ("", ""), tuple(cells))


def _row(own: OwnNetwork) -> dict[str, object]:
    return {**asdict(own), "size": "x".join(map(str, own.size)), "notes": ". ".join(own.notes) or None}


def _image(pixels: NDArray[np.uint8] | None) -> str | None:
    return None if pixels is None else data_uri(pixels)
