"""The account of a sweep: sweep.json and sweep.html."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge import targets
from mnedge.artifact import deliver
from mnedge.report.pareto import front
from mnedge.report.tradeoff import render_tradeoff
from mnedge.validation.accuracy import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mnedge.workflows.sweep.run import PointResult, Settings, Swept

_SECONDS = 1.0


def latencies(swept: Swept, settings: Settings, progress: Callable[[str, float], None]) -> dict[str, float]:
    """Measures the points' shipped .tflite on a device, all in turns, after everything else is done.

    Returns:
        Median milliseconds by folder of the point; empty where there is no device.
    """
    from mnedge.workflows.bench import bench

    paths: dict[str, Path] = {}
    for result in swept.results:
        row = judged(result)
        compiles = targets.get(result.work.recipe.targets[0])
        # What an emulated core or an NPU takes is told by its compiler, not by this machine.
        if row is not None and not result.error and not (compiles.kernels or compiles.accelerator):
            paths[result.point.folder] = settings.out / result.point.folder / row["name"]
    if not settings.device or not paths:
        return {}
    rows = bench(list(paths.values()), (settings.device,), seconds=_SECONDS, progress=progress).latency
    return {folder: row.p50_ms for folder, row in zip(paths, rows, strict=True)}


def judged(result: PointResult) -> dict[str, Any] | None:
    """The artifact that a point is judged by: its first int8 .tflite, or the float one where there is none."""
    if result.build is None:
        return None
    found = [row for row in result.build["artifacts"] if row["format"] == "tflite"]
    return next((row for row in found if row["precision"] == "int8"), found[0] if found else None)


def write(swept: Swept, settings: Settings, latency_ms: Mapping[str, float], *, recipe: str) -> dict[str, Any]:
    """Writes sweep.json and sweep.html into the sweep's folder, and returns the former."""
    rows = [_row(result, latency_ms) for result in swept.results]
    complete = [row for row in rows if row["status"] == "fits"]
    for row, is_in_front in zip(complete, front([_costs(row) for row in complete]), strict=True):
        row["status"] = "front" if is_in_front else "fits"
    told = {
        "schema": 1,
        "recipe": recipe,
        "data": swept.results[0].work.dataset.name,
        "stopped": "interrupted" if swept.is_interrupted else None,
        "tasks": {"done": swept.done, "known": swept.recalled},
        "sent_bytes": sum(count for _, _, count in swept.sent),
        "notes": _notes(swept, settings),
        "rows": sorted(rows, key=_place),
    }
    page = render_tradeoff(told, title=f"Sweep of {recipe}", command="sweep")
    deliver(settings.out / "sweep.json", json.dumps(told, indent=2) + "\n", force=settings.force)
    deliver(settings.out / "sweep.html", page, force=settings.force)
    return told


def _notes(swept: Swept, settings: Settings) -> list[str]:
    notes = ["Top-1 and sizes are those of the int8 .tflite, or of the float one where a recipe builds no int8."]
    first = targets.get(swept.results[0].work.recipe.targets[0])
    if first.kernels and first.clock_mhz:
        notes.append(f"Latency: executed instructions (emulated), taken as one cycle each at {first.clock_mhz} MHz.")
    elif first.accelerator:
        notes.append("Latency: Vela's estimate.")
    elif settings.device:
        notes.append(f"Latency: the .tflite on {settings.device}, one thread, all points in turns.")
    if swept.is_interrupted:
        notes.append("It was interrupted; run it again to go on.")
    return notes


def _row(result: PointResult, latency_ms: Mapping[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": result.point.name,
        "folder": result.point.folder,
        "values": dict(result.point.values),
        "slug": result.work.slug,
        "status": "failed" if result.error else "not reached",
        "broken": [{"text": result.error.strip().splitlines()[-1]}] if result.error else [],
        "error": result.error or None,
    }
    shipped = judged(result)
    if result.build is None or shipped is None:
        return row
    memory: dict[str, Any] = next(iter(result.build["memory"]), {})
    accuracy = [_accuracy(name, result) for name in result.counts]
    own = next((entry for entry in accuracy if entry["artifact"] == shipped["name"]), None)
    plain = next((entry for entry in accuracy if entry["artifact"].endswith(".fp32.tflite")), None)
    due = len(result.work.dataset.split("eval")) if result.work.is_labelled else 0
    if not result.error and sum(entry["images"] for entry in accuracy) == due * sum(
        entry["format"] == "tflite" for entry in result.build["artifacts"]
    ):
        row["status"] = "fits"
    return row | {
        "macs": result.build["variant"]["macs"],
        "parameters": result.build["variant"]["parameters"],
        "top1": own["top1"] if own else None,
        "top1_interval": own["top1_interval"] if own else None,
        "fp32_top1": plain["top1"] if plain else None,
        "images": own["images"] if own else 0,
        "size_bytes": shipped["bytes"],
        "latency_ms": latency_ms.get(result.point.folder, _told_ms(memory, result)),
        **{name: memory.get(name) for name in ("arena_bytes", "ram_bytes", "flash_bytes")},
        "artifacts": result.build["artifacts"],
        "accuracy": accuracy,
        "memory": result.build["memory"],
    }


def _accuracy(name: str, result: PointResult) -> dict[str, Any]:
    counts = result.counts[name]
    images = counts["images"]
    return {
        "artifact": name,
        "runtime": result.runtimes[name],
        "dataset": result.work.dataset.name,
        "images": images,
        "top1": counts["top1"] / images,
        "top5": counts["top5"] / images,
        "top1_interval": list(wilson_interval(counts["top1"], images)),
    }


def _told_ms(memory: Mapping[str, Any], result: PointResult) -> float | None:
    """What a compiler told of the time: Vela's estimate, or executed instructions over the target's clock."""
    if memory.get("inference_ms") is not None:
        return float(memory["inference_ms"])
    clock_mhz = targets.get(result.work.recipe.targets[0]).clock_mhz
    instructions = memory.get("instructions")
    return instructions / (clock_mhz * 1e3) if instructions and clock_mhz else None


def _costs(row: Mapping[str, Any]) -> tuple[float, ...]:
    latency = row["latency_ms"] if row["latency_ms"] is not None else float(row["macs"])
    costs = (float(row["ram_bytes"] or 0), float(row["flash_bytes"] or row["size_bytes"]))
    return -(row["top1"] or 0.0), latency, *costs


def _place(row: Mapping[str, Any]) -> tuple[float, ...]:
    order = ("front", "fits", "not reached", "failed")
    return order.index(row["status"]), -(row.get("top1") or 0.0)
