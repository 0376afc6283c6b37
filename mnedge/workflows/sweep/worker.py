"""A worker of a sweep: builds the artifacts of a point, or evaluates an artifact on some pictures.

`python -m mnedge.workflows.sweep.worker` reads a request per line from standard input and writes an answer per line to
standard output.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from mnedge.errors import InputError, MnedgeError, ToolError
from mnedge.recipe import Recipe
from mnedge.results.compilation import Compiled, read_compiled
from mnedge.results.stored import from_json, to_line
from mnedge.results.sweep import Answer, Built, Failed, Hits, Scored, SweptFile, SweptMemory
from mnedge.workflows.sweep import parcels
from mnedge.workflows.sweep.requests import Request

if TYPE_CHECKING:
    from types import FrameType

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.workflows.build.job import Job
    from mnedge.workflows.sweep.requests import BuildRequest, EvaluateRequest, Place

# Keras and the silence of native libraries are of the whole process.
_ONE_AT_A_TIME = threading.Lock()


def perform(request: Request) -> Answer:
    """Fulfils a request.

    Returns:
        The answer. If the request failed, it holds the message of the error, or the traceback of a bug.
    """
    with _ONE_AT_A_TIME:
        try:
            return _answer(request)
        except MnedgeError as exc:
            return Answer(failed=Failed(str(exc), type(exc).__name__))
        except Exception as exc:  # noqa: BLE001 - it costs this unit, and who asked sees the whole traceback
            return Answer(failed=Failed(traceback.format_exc(), type(exc).__name__))


def _answer(request: Request) -> Answer:
    if request.build is not None:
        return Answer(built=build(request.build))
    if request.evaluate is not None:
        return evaluate(request.evaluate)
    raise InputError("the request asks neither for a build nor for an evaluation")


def build(request: BuildRequest) -> Built:
    """Builds the artifacts of a recipe, without measuring them."""
    from mnedge.workflows.build import job, measure, stages

    work = job.resolve(_recipe(request))
    found, _ = stages.artifacts(work, _quiet)
    return Built(
        slug=work.slug,
        variant=measure.variant_row(work, found[0][0]),
        artifacts=tuple(
            SweptFile(made.path.name, made.format, made.precision, made.io, made.target, str(path))
            for path, made in found
            if path.is_file()
        ),
        memory=tuple(
            _memory(made.path.name, made.target, read_compiled(path)) for path, made in found if path.is_dir()
        ),
    )


def _memory(artifact: str, target: str, takes: Compiled) -> SweptMemory:
    return SweptMemory(
        artifact,
        target,
        arena_bytes=takes.arena_bytes,
        ram_bytes=takes.ram_bytes,
        flash_bytes=takes.flash_bytes,
        stack_bytes=takes.stack_bytes,
        instructions=takes.instructions,
        inference_ms=takes.inference_ms,
    )


def _recipe(request: BuildRequest) -> Recipe:
    recipe = request.recipe
    if request.data is not None:
        recipe = replace(recipe, data=str(parcels.labels_csv(_path(request.data))))
    if request.calibration is not None:
        recipe = replace(recipe, calibration=str(parcels.labels_csv(_path(request.calibration))))
    if request.weights is not None:
        recipe = replace(recipe, weights=str(_path(request.weights)))
    return recipe


def evaluate(request: EvaluateRequest) -> Answer:
    """Counts the hits of an artifact on some pictures, or scores it where its task's figures do not add up."""
    from mnedge import tasks
    from mnedge.devices.local import LocalDevice
    from mnedge.validation.accuracy import topk_hits
    from mnedge.validation.predict import predict

    if request.recipe is not None:
        return _evaluate_model(request.recipe, _path(request.artifact), np.array(request.numbers, np.int64))
    if request.pictures is None:
        dataset = _opened(request.task, request.data, request.skip_broken)
    else:
        dataset = parcels.open_pictures(_path(request.pictures))
    numbers = dataset.split("eval") if request.numbers is None else np.array(request.numbers, np.int64)
    predictions = predict(
        _path(request.artifact), dataset, numbers, device=LocalDevice("local", workers=request.threads)
    )
    task = tasks.get(request.task)
    if not task.adds_up:
        metrics = task.accuracy(predictions, dataset).metrics
        return Answer(scored=Scored(images=len(numbers), metrics=metrics, runtime=predictions.info.version))
    hits = Hits(
        images=len(predictions.labels),
        top1=int(topk_hits(predictions.outputs, predictions.labels, 1).sum()),
        top5=int(topk_hits(predictions.outputs, predictions.labels, 5).sum()),
        runtime=predictions.info.version,
    )
    return Answer(hits=hits)


def _evaluate_model(recipe: Recipe, artifact: Path, numbers: NDArray[np.int64]) -> Answer:
    """Scores an artifact of a model of the user's as a build does."""
    from mnedge.workflows.build import measure

    work = _resolved(to_line(recipe))
    predictions = measure.predictions_of(work, artifact, numbers)
    metrics = measure.figures_of(work, predictions).metrics
    if not {"top1", "top5"} <= metrics.keys():
        return Answer(scored=Scored(images=len(numbers), metrics=metrics, runtime=predictions.info.version))
    top1, top5 = (round(metrics[name] * len(numbers)) for name in ("top1", "top5"))
    return Answer(hits=Hits(images=len(numbers), top1=top1, top5=top5, runtime=predictions.info.version))


@cache
def _resolved(recipe: str) -> Job:
    # The model of another artifact of the same point is not read again; no Recipe is a key, as its gates are a dict.
    from mnedge.workflows.build import job

    return job.resolve(from_json(recipe, Recipe, "a request's recipe"))


@cache
def _opened(task: str, spec: str, skip_broken: bool) -> Dataset:
    # Another shard of the same data set does not look at all its files again.
    from mnedge import tasks

    return tasks.get(task).open_dataset(spec, skip_broken=skip_broken)


def _path(place: Place) -> Path:
    if place.path is not None:
        return Path(place.path)
    address = place.parcel or ""
    folder = parcels.find(address)
    if folder is None:
        raise ToolError(f"parcel {address[:12]} was removed from this machine's cache")
    return folder / place.name


def _quiet(_stage: str, _fraction: float) -> None:
    pass


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the worker through everything that cleans up: temporary folders go, and the programs that it started."""
    sys.exit(128 + number)


def main() -> None:
    """Answers requests until standard input ends."""
    signal.signal(signal.SIGTERM, _end)
    # Output of libraries must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(to_line(perform(from_json(line, Request, "a request"))))
        answers.flush()


if __name__ == "__main__":
    main()
