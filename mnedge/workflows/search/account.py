"""The account of a search: search.json, search.html, and the chosen recipe with its trained weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml

from mnedge.artifact import deliver, withdraw
from mnedge.report.tradeoff import render_tradeoff
from mnedge.workflows.search.latency_model import TERMS
from mnedge.workflows.search.outcome import recipe_values, row
from mnedge.workflows.search.published import estimate_error

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.workflows.search.outcome import Finding, Outcome
    from mnedge.workflows.search.run import Settings

RECIPE = "recipe.yaml"
_KIB = 1024
_STOPPED = {"interrupted": "It was interrupted", "budget": "Its time was over"}


def result(found: Outcome, settings: Settings, data: str | None) -> dict[str, Any]:
    """The search as JSON values, as search.json has it."""
    model, error = found.model, estimate_error()
    return {
        "schema": 1,
        "target": settings.target,
        "data": data,
        "limits": settings.limits.given(),
        "stopped": found.stopped or None,
        "chosen": found.chosen.candidate.name if found.chosen else None,
        "nearest": found.nearest.candidate.name if found.nearest else None,
        "notes": [*found.notes, *_model_notes(found, error.median, error.worst)],
        "latency_model": None
        if model is None
        else {
            "milliseconds_per": dict(zip(TERMS, model.weights, strict=True)),
            "measured": model.measured,
            "leave_one_out_median": model.median_error,
            "leave_one_out_worst": model.worst_error,
        },
        "imagenet_estimate": asdict(error),
        "rows": [row(finding, status) for finding, status in zip(found.findings, found.statuses, strict=True)],
    }


def _model_notes(found: Outcome, median: float, worst: float) -> list[str]:
    notes = []
    model = found.model
    if model is not None:
        told = f"The latency model was fitted to {model.measured} measured variants"
        if model.worst_error is not None and model.median_error is not None:
            told += (
                f"; left out in turn, they are predicted within {100 * model.worst_error:.1f} % "
                f"(median {100 * model.median_error:.1f} %)"
            )
        notes.append(f"{told}.")
    notes.append(
        f"ImageNet figures that were never published are estimated from those that were, within {100 * worst:.1f} "
        f"points (median {100 * median:.1f})."
    )
    if found.error is not None:
        notes.append(f"The training ended early: {found.error}")
    if found.stopped:
        left = sum(status == "not reached" for status in found.statuses)
        notes.append(f"{_STOPPED[found.stopped]}; {left} variants were not looked at. Run it again to go on.")
    return notes


def write(
    found: Outcome, settings: Settings, folder: Path, *, data: str | None, trained: Path | None, force: bool = False
) -> dict[str, Any]:
    """Writes the account into a folder.

    Args:
        found: The outcome.
        settings: What was searched.
        folder: Where; made if it is not there.
        data: As --data was given; None without data.
        trained: The .keras of the chosen one; None where it was not trained.
        force: Replace files that are not mnedge's own, unchanged work.

    Returns:
        search.json.

    Raises:
        InputError: The folder cannot be written.
    """
    told = result(found, settings, data)
    chosen = found.chosen
    if chosen is not None:
        weights = "random"
        if trained is not None:
            weights = str(folder / f"{chosen.candidate.variant.slug}.keras")
            deliver(folder / f"{chosen.candidate.variant.slug}.keras", trained.read_bytes(), force=force)
        values = recipe_values(
            chosen,
            target=settings.target,
            data=data or "demo",
            weights=weights,
            gates=_gates(settings),
            folder=folder,
        )
        deliver(folder / RECIPE, _recipe_text(chosen, values, is_trained=trained is not None), force=force)
        told["recipe"] = {"path": str(folder / RECIPE), **values}
    else:
        withdraw(folder / RECIPE, force=force)
    page = render_tradeoff(told, title=f"Search for {settings.target}", command="search")
    deliver(folder / "search.json", json.dumps(told, indent=2) + "\n", force=force)
    deliver(folder / "search.html", page, force=force)
    return told


def _gates(settings: Settings) -> dict[str, Any]:
    limits = settings.limits
    gates: dict[str, Any] = {"int8_only": True}
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


def _recipe_text(chosen: Finding, values: dict[str, Any], *, is_trained: bool) -> str:
    head = f"# Chosen by `mnedge search`: {chosen.candidate.name}, the most accurate that fits."
    lines = [
        head,
        *([] if is_trained else ["# The weights are random: train some with `mnedge train`, name them here."]),
    ]
    return "\n".join(lines) + "\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
