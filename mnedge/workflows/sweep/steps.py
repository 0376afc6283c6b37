"""The steps of a sweep in their order.

Every point is built by one worker; its artifacts are then evaluated by all workers, each on its shards of the pictures.
Answers are kept as they come: what ended, by Ctrl-C or otherwise, goes on with the next sweep of the same grid.
"""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.artifact import check_file, check_reachable, deliver
from mnedge.errors import InputError
from mnedge.files import RECORD, sha256
from mnedge.foreign import checked_number
from mnedge.results.sweep import Answer, Built
from mnedge.workflows.build import job
from mnedge.workflows.sweep import parcels
from mnedge.workflows.sweep.dispatch import Unit, dispatch
from mnedge.workflows.sweep.requests import BuildRequest, EvaluateRequest, Place, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data.calibration import CalibrationSet
    from mnedge.recipe import Recipe
    from mnedge.results.sweep import Hits, Scored, SweptFile
    from mnedge.workflows.build.job import Job
    from mnedge.workflows.sweep.dispatch import Done, Workers
    from mnedge.workflows.sweep.grid import Point

    Progress = Callable[[str, float], None]

# Training pictures that `qat` takes, as in a build.
_QAT_IMAGES = 2000
JSON, PAGE = "sweep.json", "sweep.html"
_WRITTEN = (".json", ".html", ".tflite", ".onnx")
_WORDS = ("demo", "imagenet", "random")


@dataclass(frozen=True)
class Settings:
    """Settings of a sweep.

    Attributes:
        points: Points of the grid.
        out: Folder that is written; each point gets a folder of its own in it.
        scheduler: Address of a Dask scheduler; None for processes on this machine.
        workers: Number of processes on this machine.
        shard_images: Number of pictures in a shard.
        device: URI of the device that latency is measured on afterwards; "" for no measurement.
        check_data: Read every picture again instead of trusting what the cache remembers.
        force: Replace files that are not mnedge's own, unchanged work.
    """

    points: Sequence[Point]
    out: Path
    scheduler: str | None = None
    workers: int = 1
    shard_images: int = 500
    device: str = "local"
    check_data: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        checked_number("--workers", self.workers)
        checked_number("--shard", self.shard_images)


@dataclass
class PointResult:
    """The answers about a point so far.

    Attributes:
        point: The point.
        work: Its recipe with everything resolved.
        build: The answer to its build; None before.
        hits: Hits of each artifact by name, summed over the shards that are done.
        scores: Scores of each artifact by name, of a task whose figures do not add up.
        error: Reason of its failure; "" if it did not fail.
    """

    point: Point
    work: Job
    build: Built | None = None
    hits: dict[str, Hits] = field(default_factory=dict)
    scores: dict[str, Scored] = field(default_factory=dict)
    error: str = ""


@dataclass
class Swept:
    """A sweep that ended.

    Attributes:
        results: One for each point, in the order of the grid.
        is_interrupted: Whether Ctrl-C ended it.
        recalled: Number of units whose answer was known from before.
        done: Number of units that were done now.
        sent: Worker, address and bytes of every parcel that was sent to the machines of a cluster.
    """

    results: list[PointResult]
    is_interrupted: bool = False
    recalled: int = 0
    done: int = 0
    sent: list[tuple[str, str, int]] = field(default_factory=list)


def run_steps(settings: Settings, progress: Progress) -> Swept:
    """Builds every point and evaluates its artifacts.

    Args:
        settings: Settings of the sweep.
        progress: Called with the name of a step and the share of it that is done, 0..1.

    Raises:
        InputError: A point cannot be built at all; nothing was started then.
        ToolError: The scheduler or its workers cannot be had.
    """
    check_reachable(settings.out)
    existing = [path for point in settings.points for path in (settings.out / point.folder).glob("*.*")]
    for path in (*(settings.out / name for name in (JSON, PAGE)), *sorted(existing)):
        if path.suffix in _WRITTEN and path.name != RECORD:
            check_file(path, force=settings.force)
    results = list(_resolved(settings))
    _check_cluster(settings, results)
    swept = Swept(results)
    progress("sweep", 0.0)
    work = _Sweep(settings, swept, progress)
    for result in results:
        work.add_build(result)
    try:
        with _workers(settings) as workers:
            for done in dispatch(workers, work.waiting):
                work.take(done)
            swept.sent = list(getattr(workers, "sent", ()))
    except KeyboardInterrupt:
        swept.is_interrupted = True
    return swept


def _resolved(settings: Settings) -> Iterator[PointResult]:
    """The points with everything resolved; data that is to be checked is read again once, not for every point."""
    checked: set[tuple[str, bool]] = set()
    for point in settings.points:
        data = point.recipe.data, point.recipe.skip_broken
        work = job.resolve(point.recipe, check_data=settings.check_data and data not in checked)
        if settings.check_data and data not in checked:
            checked.add(data)
            # Reads the files now: the cache remembers what it finds, for the other points and the workers.
            len(work.dataset.fingerprint)
        yield PointResult(point, work)


def _check_cluster(settings: Settings, results: Sequence[PointResult]) -> None:
    """Refuses to send what no parcel holds: the boxes and masks of pictures, and models of the user's."""
    for work in (result.work for result in results):
        if settings.scheduler is not None and work.model is not None:
            raise InputError(
                f"--scheduler takes recipes of variants, and this one names the model {work.model.path}; leave "
                "--scheduler out to sweep on this machine"
            )
        if settings.scheduler is not None and not work.task.adds_up:
            raise InputError(
                f"--scheduler takes recipes to classify, and this one is to {work.task.name}; leave --scheduler out to "
                "sweep on this machine"
            )


@contextmanager
def _workers(settings: Settings) -> Iterator[Workers]:
    if settings.scheduler is not None:
        from mnedge.workflows.sweep.cluster import connected

        with connected(settings.scheduler) as cluster:
            yield cluster
        return
    from mnedge.workflows.sweep.processes import cores, started

    with started(settings.workers, cores()) as processes:
        yield processes


@dataclass(frozen=True)
class _About:
    """The subject of a unit.

    Attributes:
        result: The point.
        key: Key that its answer is remembered by.
        artifact: Name of the artifact that is evaluated; "" for a build.
    """

    result: PointResult
    key: Mapping[str, object]
    artifact: str = ""


class _Sweep:
    """Turns points into units of work and answers into results."""

    def __init__(self, settings: Settings, swept: Swept, progress: Progress) -> None:
        self.settings = settings
        self.swept = swept
        self.progress = progress
        self.waiting: deque[Unit] = deque()
        self.about: dict[Unit, _About] = {}
        self.is_remote = settings.scheduler is not None
        self.shards: dict[str, parcels.Parcel] = {}
        per_point = [1 + self._artifact_count(result) * len(self._shards(result)) for result in swept.results]
        self.total = sum(per_point)

    def add_build(self, result: PointResult) -> None:
        """Makes the unit of a build, or takes up the build of an earlier sweep."""
        work = result.work
        recipe = work.recipe
        if work.model is None:
            recipe = replace(recipe, resolution=work.network.resolution, classes=work.network.classes)
        key = {
            "build": recipe.as_json(),
            "data": work.dataset.fingerprint,
            "weights": _weights(work),
            "labels": None if work.model is None else work.labels(),
        }
        known = parcels.recall(key, Built)
        if known is not None and self._is_in_place(result, known):
            self.swept.recalled += 1
            self._built(result, known)
            return
        unit = self._build_unit(result, recipe)
        self.about[unit] = _About(result, key)
        self.waiting.append(unit)

    def take(self, done: Done) -> None:
        """Takes an answer, keeps it, and adds the units that it makes possible."""
        self.swept.done += 1
        answer, about = done.answer, self.about.pop(done.unit)
        assert answer is not None
        if answer.failed is not None:
            about.result.error = about.result.error or answer.failed.error
        elif answer.built is not None:
            built = self._place(about.result, answer.built, done.files)
            parcels.remember(about.key, built)
            self._built(about.result, built)
        else:
            parcels.remember(about.key, answer)
            self._evaluated(about.result, about.artifact, answer)
        self._report()

    def _report(self) -> None:
        self.progress("sweep", min((self.swept.done + self.swept.recalled) / self.total, 1.0))

    def _folder(self, result: PointResult) -> Path:
        return self.settings.out / result.point.folder

    def _build_unit(self, result: PointResult, recipe: Recipe) -> Unit:
        work = result.work
        data = weights = calibration = None
        if self.is_remote and recipe.data != "demo":
            numbers = {}
            if work.calibration.dataset is work.dataset:
                numbers["calibration"] = work.calibration.numbers
            if recipe.method == "qat":
                numbers["train"] = work.dataset.split("train", _QAT_IMAGES)
            data = parcels.of_pictures(work.dataset, numbers)
        if self.is_remote and recipe.calibration is not None:
            calibration = _calibration(work.calibration)
        if self.is_remote and isinstance(work.weights, Path):
            weights = parcels.of_file(work.weights)
        file = work.weights.name if isinstance(work.weights, Path) else ""

        def ask() -> Request:
            return Request(
                build=BuildRequest(
                    recipe,
                    data=None if data is None else Place(parcel=data.address),
                    calibration=None if calibration is None else Place(parcel=calibration.address),
                    weights=None if weights is None else Place(parcel=weights.address, name=file),
                )
            )

        needed = tuple(parcel for parcel in (data, calibration, weights) if parcel is not None)
        return Unit(f"build {result.point.name}", ask, needed)

    def _shard_parcel(self, work: Job, shard: NDArray[np.int64]) -> parcels.Parcel:
        """The parcel of a shard; one object, so that its address is found out once for all artifacts."""
        made = parcels.of_pictures(work.dataset, {"eval": shard})
        return self.shards.setdefault(json.dumps(made.key), made)

    def _is_in_place(self, result: PointResult, known: Built) -> bool:
        folder = self._folder(result)
        return all(
            (folder / file.name).is_file() and sha256(folder / file.name) == file.sha256 for file in known.artifacts
        )

    def _place(self, result: PointResult, built: Built, files: Mapping[str, bytes]) -> Built:
        """Writes the artifacts of a build into the point's folder; returns the build with their checksums."""
        placed = []
        for file in built.artifacts:
            assert file.path is not None, file.name
            path = self._folder(result) / file.name
            data = files[file.path] if file.path in files else Path(file.path).read_bytes()
            deliver(path, data, force=self.settings.force)
            placed.append(replace(file, path=None, sha256=sha256(path), bytes=path.stat().st_size))
        return replace(built, artifacts=tuple(placed))

    def _built(self, result: PointResult, built: Built) -> None:
        result.build = built
        evaluations = [
            self._evaluation(result, file, shard)
            for file in built.artifacts
            if file.format == "tflite"
            for shard in self._shards(result)
        ]
        # Before the builds that wait: answers of whole points come early.
        self.waiting.extendleft(unit for unit in reversed(evaluations) if unit is not None)
        self._report()

    def _evaluation(self, result: PointResult, file: SweptFile, shard: NDArray[np.int64]) -> Unit | None:
        """The unit that evaluates an artifact on a shard; None if the answer is known from an earlier sweep."""
        work, path = result.work, self._folder(result) / file.name
        numbers = tuple(shard.tolist())
        key = {
            "answer": file.sha256,
            "data": work.dataset.fingerprint,
            "numbers": numbers,
            "task": work.task.name,
            "model": None if work.model is None else [work.model.sha256, work.recipe.as_json(), work.labels()],
        }
        if (known := parcels.recall(key, Answer)) is not None:
            self.swept.recalled += 1
            self._evaluated(result, file.name, known)
            return None
        artifact = parcels.of_file(path) if self.is_remote else None
        pictures = self._shard_parcel(work, shard) if self.is_remote and work.recipe.data != "demo" else None

        def ask() -> Request:
            return Request(
                evaluate=EvaluateRequest(
                    Place(path=str(path.resolve()))
                    if artifact is None
                    else Place(parcel=artifact.address, name=path.name),
                    recipe=None if work.model is None else work.recipe,
                    task=work.task.name,
                    data=work.recipe.data,
                    skip_broken=work.recipe.skip_broken,
                    pictures=None if pictures is None else Place(parcel=pictures.address),
                    numbers=numbers if pictures is None else None,
                    threads=work.recipe.threads,
                )
            )

        needed = tuple(parcel for parcel in (artifact, pictures) if parcel is not None)
        unit = Unit(f"evaluate {file.name} of {result.point.name}", ask, needed)
        self.about[unit] = _About(result, key, file.name)
        return unit

    @staticmethod
    def _evaluated(result: PointResult, artifact: str, answer: Answer) -> None:
        if answer.hits is not None:
            before = result.hits.get(artifact)
            result.hits[artifact] = answer.hits if before is None else before.plus(answer.hits)
        if answer.scored is not None:
            result.scores[artifact] = answer.scored

    def _shards(self, result: PointResult) -> list[NDArray[np.int64]]:
        """Picture numbers of each shard: strided, so that each has pictures of all classes.

        One shard holds all pictures if the figures of parts do not add up. For a model of the user's they may not:
        its output need not be scores of classes.
        """
        work = result.work
        if not work.has_accuracy:
            return []
        numbers = work.dataset.split("eval")
        if work.model is not None or not work.task.adds_up:
            return [numbers]
        count = math.ceil(len(numbers) / self.settings.shard_images)
        return [numbers[place::count] for place in range(count)]

    @staticmethod
    def _artifact_count(result: PointResult) -> int:
        from mnedge.workflows.build.stages import lowerings

        return 1 + (len(lowerings(result.work)) if result.work.recipe.int8 else 0)


def _weights(work: Job) -> str:
    return str(work.weights) if work.weights in _WORDS else work.weights_sha256


def _calibration(given: CalibrationSet) -> parcels.Parcel:
    if given.dataset is None:
        raise InputError(
            f"{given.name} holds arrays, which no cluster is sent; sweep on this machine, or give pictures"
        )
    return parcels.of_pictures(given.dataset, {"calibration": given.numbers})
