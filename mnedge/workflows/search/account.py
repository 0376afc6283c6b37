"""The account of a search: search.json, search.html, and the chosen recipe with its trained weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from mnedge import tasks
from mnedge.artifact import deliver, together, withdraw
from mnedge.report.tradeoff import render_tradeoff
from mnedge.results.search import LatencyModelRow, SearchResult
from mnedge.results.stored import to_json
from mnedge.results.tradeoff import Failure
from mnedge.workflows.search.latency_model import TERMS
from mnedge.workflows.search.outcome import recipe_values, row
from mnedge.workflows.search.published import estimate_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.results.search import EstimateError
    from mnedge.workflows.search.outcome import Finding, Outcome
    from mnedge.workflows.search.steps import Settings

RECIPE, JSON, PAGE = "recipe.yaml", "search.json", "search.html"
_KIB = 1024
_STOPPED = {"interrupted": "It was interrupted", "budget": "Its time was over"}


def result(found: Outcome, settings: Settings, data: str | None) -> SearchResult:
    """The search as search.json has it, still without a recipe."""
    model, error, task = found.model, estimate_error(), tasks.get(settings.task)
    return SearchResult(
        target=settings.target,
        data=data,
        limits=settings.limits.given(),
        stopped=found.stopped or None,
        failure=None if found.error is None else Failure.of(found.error),
        chosen=found.chosen.candidate.name if found.chosen else None,
        nearest=found.nearest.candidate.name if found.nearest else None,
        notes=(*found.notes, *_notes(found, error)),
        latency_model=None
        if model is None
        else LatencyModelRow(
            dict(zip(TERMS, model.weights, strict=True)), model.measured, model.median_error, model.worst_error
        ),
        imagenet_estimate=error,
        rows=tuple(
            row(finding, status, task.metric) for finding, status in zip(found.findings, found.statuses, strict=True)
        ),
        task=task.name,
        metric=task.metrics[0].name,
    )


def _notes(found: Outcome, error: EstimateError) -> list[str]:
    notes = []
    model = found.model
    if model is not None:
        fitted = f"The latency model was fitted to {model.measured} measured variants"
        if model.worst_error is not None and model.median_error is not None:
            fitted += (
                f"; left out in turn, they are predicted within {100 * model.worst_error:.1f} % "
                f"(median {100 * model.median_error:.1f} %)"
            )
        notes.append(f"{fitted}.")
    notes.append(
        "ImageNet figures that were never published are estimated from those that were, within "
        f"{100 * error.worst:.1f} points (median {100 * error.median:.1f})."
    )
    if found.error is not None:
        notes.append(f"The training ended early: {found.error}")
    if found.stopped:
        left = sum(status == "not reached" for status in found.statuses)
        notes.append(f"{_STOPPED[found.stopped]}; {left} variants were not looked at. Run it again to go on.")
    return notes


@together()
def write(
    found: Outcome, settings: Settings, folder: Path, *, data: str | None, trained: Path | None, force: bool = False
) -> SearchResult:
    """Writes the account into a folder.

    Args:
        found: The outcome.
        settings: The settings of the search.
        folder: The folder; it is made if it does not exist.
        data: The data as --data takes it; None without data.
        trained: The .keras of the chosen variant; None if it was not trained.
        force: Replace files that are not mnedge's own, unchanged work.

    Returns:
        The result, as written to search.json.

    Raises:
        InputError: The folder cannot be written.
    """
    made = result(found, settings, data)
    chosen = found.chosen
    if chosen is not None:
        weights = "random"
        if trained is not None:
            weights = str(folder / f"{chosen.candidate.variant.slug}.keras")
            deliver(folder / f"{chosen.candidate.variant.slug}.keras", trained.read_bytes(), force=force)
        values = recipe_values(
            chosen,
            task=settings.task,
            target=settings.target,
            data=data or "demo",
            weights=weights,
            gates=_gates(settings),
            folder=folder,
        )
        deliver(folder / RECIPE, _recipe_text(chosen, values, is_trained=trained is not None), force=force)
        made = replace(made, recipe={"path": str(folder / RECIPE), **values})
    else:
        withdraw(folder / RECIPE, force=force)
    page = render_tradeoff(
        [entry.tradeoff for entry in made.rows],
        made.notes,
        title=f"Search for {settings.target}",
        command="search",
        limits=made.limits,
        nearest=made.nearest,
        data=data,
        metric=made.metric,
    )
    deliver(folder / JSON, to_json(made), force=force)
    deliver(folder / PAGE, page, force=force)
    return made


def _gates(settings: Settings) -> dict[str, float | bool]:
    limits = settings.limits
    gates: dict[str, float | bool] = {"int8_only": True}
    for name, limit in (
        ("max_arena_kib", limits.max_arena_bytes),
        ("max_flash_kib", limits.max_flash_bytes),
        ("max_size_kib", limits.max_size_bytes),
    ):
        if limit is not None:
            gates[name] = limit / _KIB
    if limits.max_ms is not None and settings.watch.device == "local":
        gates["max_p50_ms"] = limits.max_ms
    return gates


def _recipe_text(chosen: Finding, values: Mapping[str, object], *, is_trained: bool) -> str:
    head = f"# Chosen by `mnedge search`: {chosen.candidate.name}, the most accurate that fits."
    lines = [
        head,
        *([] if is_trained else ["# The weights are random: train some with `mnedge train`, name them here."]),
    ]
    return "\n".join(lines) + "\n" + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
