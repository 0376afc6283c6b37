"""The account of a sweep: sweep.json and sweep.html."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge import targets
from mnedge.artifact import deliver, together
from mnedge.report.pareto import front
from mnedge.report.tradeoff import render_tradeoff
from mnedge.results.stored import to_json
from mnedge.results.sweep import SweepResult, SweepRow, SweptAccuracy, WorkCount
from mnedge.results.tradeoff import BrokenLimit, TradeoffRow
from mnedge.validation.accuracy import wilson_interval
from mnedge.workflows.sweep.steps import JSON, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mnedge.results.sweep import Hits, SweptFile, SweptMemory
    from mnedge.workflows.sweep.steps import PointResult, Settings, Swept

_SECONDS = 1.0
_ORDER = ("front", "fits", "not reached", "failed")


def latencies(swept: Swept, settings: Settings, progress: Callable[[str, float], None]) -> dict[str, float]:
    """Measures the points' shipped .tflite on a device, all in turns, after everything else is done.

    Returns:
        Median latency by folder of the point, ms; empty without a device.
    """
    from mnedge.workflows.bench import bench

    paths: dict[str, Path] = {}
    for result in swept.results:
        file = shipped_file(result)
        compiles = targets.get(result.work.recipe.targets[0])
        # The latency of an emulated core or an NPU comes from its compiler, not from this machine.
        if file is not None and not result.error and not (compiles.kernels or compiles.accelerator):
            paths[result.point.folder] = settings.out / result.point.folder / file.name
    if not settings.device or not paths:
        return {}
    rows = bench(list(paths.values()), (settings.device,), seconds=_SECONDS, progress=progress).latency
    return {folder: row.p50_ms for folder, row in zip(paths, rows, strict=True)}


def shipped_file(result: PointResult) -> SweptFile | None:
    """The artifact that a point is ranked by: its first int8 .tflite, or the float one if it has no int8."""
    if result.build is None:
        return None
    found = [file for file in result.build.artifacts if file.format == "tflite"]
    return next((file for file in found if file.precision == "int8"), found[0] if found else None)


@together()
def write(swept: Swept, settings: Settings, latency_ms: Mapping[str, float], *, recipe: str) -> SweepResult:
    """Writes sweep.json and sweep.html into the sweep's folder, and returns the former."""
    rows = [_row(result, latency_ms) for result in swept.results]
    task = swept.results[0].work.task
    complete = [row.tradeoff for row in rows if row.tradeoff.status == "fits"]
    leading = {
        row.name
        for row, is_leading in zip(complete, front([_costs(row) for row in complete]), strict=True)
        if is_leading
    }
    rows = [
        replace(row, tradeoff=replace(row.tradeoff, status="front")) if row.tradeoff.name in leading else row
        for row in rows
    ]
    result = SweepResult(
        recipe=recipe,
        data=swept.results[0].work.dataset.name,
        metric=task.metric,
        stopped="interrupted" if swept.is_interrupted else None,
        units=WorkCount(swept.done, swept.recalled),
        sent_bytes=sum(count for _, _, count in swept.sent),
        notes=tuple(_notes(swept, settings)),
        rows=tuple(sorted(rows, key=_place)),
    )
    page = render_tradeoff(
        [row.tradeoff for row in result.rows],
        result.notes,
        title=f"Sweep of {recipe}",
        command="sweep",
        metric=task.metrics[0].name,
    )
    deliver(settings.out / JSON, to_json(result), force=settings.force)
    deliver(settings.out / PAGE, page, force=settings.force)
    return result


def _notes(swept: Swept, settings: Settings) -> list[str]:
    name = swept.results[0].work.task.metrics[0].name
    headline = f"{name[0].upper()}{name[1:]}"
    notes = [f"{headline} and sizes are those of the int8 .tflite, or of the float one where a recipe builds no int8."]
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


def _row(result: PointResult, latency_ms: Mapping[str, float]) -> SweepRow:
    error = result.error or None
    tradeoff = TradeoffRow(
        name=result.point.name,
        status="failed" if error else "not reached",
        broken=(BrokenLimit(error.strip().splitlines()[-1]),) if error else (),
    )
    row = SweepRow(
        tradeoff=tradeoff,
        folder=result.point.folder,
        values=dict(result.point.values),
        slug=result.work.slug,
        error=error,
    )
    built, shipped = result.build, shipped_file(result)
    if built is None or shipped is None:
        return row
    memory = built.memory[0] if built.memory else None
    dataset, metric = result.work.dataset.name, result.work.task.metric
    accuracy = (
        *(_accuracy(name, hits, dataset) for name, hits in result.hits.items()),
        *(
            SweptAccuracy(name, scored.runtime, dataset, scored.images, metrics=scored.metrics)
            for name, scored in result.scores.items()
        ),
    )
    own = next((entry for entry in accuracy if entry.artifact == shipped.name), None)
    plain = next((entry for entry in accuracy if entry.artifact.endswith(".fp32.tflite")), None)
    return replace(
        row,
        tradeoff=replace(
            tradeoff,
            status="fits" if not error and _is_evaluated(result) else tradeoff.status,
            macs=built.variant.macs,
            parameters=built.variant.parameters,
            top1=own.top1 if own else None,
            score=_score(own, metric),
            latency_ms=latency_ms.get(result.point.folder, _compiled_ms(memory, result)),
            arena_bytes=memory.arena_bytes if memory else None,
            ram_bytes=memory.ram_bytes if memory else None,
            flash_bytes=memory.flash_bytes if memory else None,
            size_bytes=shipped.bytes,
        ),
        top1_interval=own.top1_interval if own else None,
        fp32_top1=plain.top1 if plain else None,
        fp32_score=_score(plain, metric),
        images=own.images if own else 0,
        artifacts=built.artifacts,
        accuracy=accuracy,
        memory=built.memory,
    )


def _score(accuracy: SweptAccuracy | None, metric: str) -> float | None:
    """The headline of an artifact that was scored at once; None if its output has no such figure."""
    return None if accuracy is None or accuracy.metrics is None else accuracy.metrics.get(metric)


def _is_evaluated(result: PointResult) -> bool:
    """Returns whether every .tflite of a point was evaluated on all pictures."""
    assert result.build is not None
    wanted = len(result.work.dataset.split("eval")) if result.work.has_accuracy else 0
    count = sum(file.format == "tflite" for file in result.build.artifacts)
    counted = sum(hits.images for hits in result.hits.values())
    return counted + sum(scored.images for scored in result.scores.values()) == wanted * count


def _accuracy(artifact: str, hits: Hits, dataset: str) -> SweptAccuracy:
    images = hits.images
    return SweptAccuracy(
        artifact=artifact,
        runtime=hits.runtime,
        dataset=dataset,
        images=images,
        top1=hits.top1 / images,
        top5=hits.top5 / images,
        top1_interval=wilson_interval(hits.top1, images),
    )


def _compiled_ms(memory: SweptMemory | None, result: PointResult) -> float | None:
    """Latency by the compiler, ms: Vela's estimate, or executed instructions over the target's clock."""
    if memory is None or memory.inference_ms is not None:
        return None if memory is None else memory.inference_ms
    clock_mhz = targets.get(result.work.recipe.targets[0]).clock_mhz
    return memory.instructions / (clock_mhz * 1e3) if memory.instructions and clock_mhz else None


def _costs(row: TradeoffRow) -> tuple[float, ...]:
    latency = row.latency_ms if row.latency_ms is not None else float(row.macs or 0)
    return -(row.headline or 0.0), latency, float(row.ram_bytes or 0), float(row.flash_bytes or row.size_bytes or 0)


def _place(row: SweepRow) -> tuple[float, ...]:
    return _ORDER.index(row.tradeoff.status), -(row.tradeoff.headline or 0.0)
