"""READ FIRST: `sweep(settings)`, the steps in their order.

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
from typing import TYPE_CHECKING, Any

from mnedge.artifact import check_file, check_reachable, deliver, sha256
from mnedge.errors import InputError
from mnedge.workflows.build import job
from mnedge.workflows.sweep import parcels
from mnedge.workflows.sweep.dispatch import Task, dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnedge.data.calibration import CalibrationSet
    from mnedge.workflows.build.job import Job
    from mnedge.workflows.sweep.dispatch import Done, Workers
    from mnedge.workflows.sweep.grid import Point

    Progress = Callable[[str, float], None]

# Training pictures that `qat` takes, as in a build.
_QAT_IMAGES = 2000
REPORTS = ("sweep.json", "sweep.html")
_WRITTEN = (".json", ".html", ".tflite", ".onnx")
_WORDS = ("demo", "imagenet", "random")


@dataclass(frozen=True)
class Settings:
    """What to sweep.

    Attributes:
        points: Of the grid.
        out: Folder; each point gets one of its own in it.
        scheduler: Address of a Dask scheduler; None for processes on this machine.
        workers: Processes on this machine.
        shard_images: Pictures of a shard.
        device: Where the latency of .tflite artifacts is measured afterwards; "" for nowhere.
        force: Replace files that are not mnedge's own, unchanged work.
    """

    points: Sequence[Point]
    out: Path
    scheduler: str | None = None
    workers: int = 1
    shard_images: int = 500
    device: str = "local"
    force: bool = False


@dataclass
class PointResult:
    """What is known of a point.

    Attributes:
        point: Which.
        work: Its recipe with everything resolved.
        build: Answer of its build; None before.
        counts: {images, top1, top5} of each artifact, summed over the shards that are done.
        runtimes: Of each artifact, as the workers told them.
        error: Why it failed; "" where it did not.
    """

    point: Point
    work: Job
    build: dict[str, Any] | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass
class Swept:
    """A sweep that ended.

    Attributes:
        results: One for each point, in the order of the grid.
        is_interrupted: Whether Ctrl-C ended it.
        recalled: Tasks whose answer was known from before.
        done: Tasks that were done now.
        sent: Worker, address and bytes of every parcel that was sent to the machines of a cluster.
    """

    results: list[PointResult]
    is_interrupted: bool = False
    recalled: int = 0
    done: int = 0
    sent: list[tuple[str, str, int]] = field(default_factory=list)


def sweep(settings: Settings, progress: Progress) -> Swept:
    """Builds every point and evaluates its artifacts.

    Args:
        settings: What to sweep.
        progress: Told the name of a step and the share of it that is done, 0..1.

    Raises:
        InputError: A point cannot be built at all; nothing was started then.
        ToolError: The scheduler or its workers cannot be had.
    """
    check_reachable(settings.out)
    existing = [path for point in settings.points for path in (settings.out / point.folder).glob("*.*")]
    for path in (*(settings.out / name for name in REPORTS), *sorted(existing)):
        if path.suffix in _WRITTEN:
            check_file(path, force=settings.force)
    results = [PointResult(point, job.resolve(point.recipe)) for point in settings.points]
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


class _Sweep:
    """Turns points into tasks and answers into results."""

    def __init__(self, settings: Settings, swept: Swept, progress: Progress) -> None:
        self.settings = settings
        self.swept = swept
        self.progress = progress
        self.waiting: deque[Task] = deque()
        self.is_remote = settings.scheduler is not None
        self.shards: dict[str, parcels.Parcel] = {}
        per_point = [1 + self._artifact_count(result) * len(self._shards(result)) for result in swept.results]
        self.total = sum(per_point)

    def add_build(self, result: PointResult) -> None:
        """Makes a build task, or takes up the build of an earlier sweep."""
        request, needed = self._build_request(result)
        key = {"build": request["recipe"], "data": result.work.dataset.fingerprint, "weights": _weights(result.work)}
        known = parcels.recall(key)
        if known is not None and self._is_in_place(result, known):
            self.swept.recalled += 1
            self._built(result, known)
            return
        self.waiting.append(Task(f"build {result.point.name}", request, needed, (result, key)))

    def take(self, done: Done) -> None:
        """Takes an answer, keeps it, and adds what it makes possible."""
        self.swept.done += 1
        answer, (result, key) = done.answer, done.task.about
        assert answer is not None
        if "error" in answer:
            result.error = result.error or str(answer["error"])
        elif done.task.request["task"] == "build":
            self._place(result, answer, done.files)
            parcels.remember(key, answer)
            self._built(result, answer)
        else:
            parcels.remember(key, answer)
            self._counted(result, done.task.request["about"], answer)
        self._tell()

    def _tell(self) -> None:
        self.progress("sweep", min((self.swept.done + self.swept.recalled) / self.total, 1.0))

    def _folder(self, result: PointResult) -> Path:
        return self.settings.out / result.point.folder

    def _build_request(self, result: PointResult) -> tuple[dict[str, Any], tuple[parcels.Parcel, ...]]:
        work = result.work
        variant = work.variant
        recipe = replace(work.recipe, resolution=variant.resolution, classes=variant.classes)
        request: dict[str, Any] = {
            "task": "build",
            "recipe": recipe.as_json(),
            "data": None,
            "weights": None,
            "calibration": None,
        }
        needed = []
        if self.is_remote and work.recipe.data != "demo":
            numbers = {}
            if work.calibration.dataset is work.dataset:
                numbers["calibration"] = work.calibration.numbers
            if work.recipe.method == "qat":
                numbers["train"] = work.dataset.split("train", _QAT_IMAGES)
            needed.append(parcels.of_pictures(work.dataset, numbers))
            request["data"] = {"needs": len(needed) - 1}
        if self.is_remote and work.recipe.calibration is not None:
            needed.append(_calibration(work.calibration))
            request["calibration"] = {"needs": len(needed) - 1}
        if self.is_remote and isinstance(work.weights, Path):
            needed.append(parcels.of_file(work.weights))
            request["weights"] = {"needs": len(needed) - 1, "name": work.weights.name}
        return request, tuple(needed)

    def _shard_parcel(self, work: Job, shard: Any) -> parcels.Parcel:  # noqa: ANN401 - picture numbers
        """One object a shard: its address is found out once for all artifacts."""
        made = parcels.of_pictures(work.dataset, {"eval": shard})
        return self.shards.setdefault(json.dumps(made.key), made)

    def _is_in_place(self, result: PointResult, known: dict[str, Any]) -> bool:
        folder = self._folder(result)
        return all(
            (folder / row["name"]).is_file() and sha256(folder / row["name"]) == row["sha256"]
            for row in known["artifacts"]
        )

    def _place(self, result: PointResult, answer: dict[str, Any], files: dict[str, bytes]) -> None:
        """Writes the artifacts of a build into the point's folder, and their checksums into the answer."""
        for row in answer["artifacts"]:
            source, path = row.pop("path"), self._folder(result) / row["name"]
            data = files[source] if source in files else Path(source).read_bytes()
            deliver(path, data, force=self.settings.force)
            row["sha256"], row["bytes"] = sha256(path), path.stat().st_size

    def _built(self, result: PointResult, answer: dict[str, Any]) -> None:
        result.build = answer
        evaluations = []
        for row in answer["artifacts"]:
            if row["format"] == "tflite":
                evaluations += [self._evaluation(result, row, shard) for shard in self._shards(result)]
        # Before the builds that wait: answers of whole points come early.
        self.waiting.extendleft(task for task in reversed(evaluations) if task is not None)
        self._tell()

    def _evaluation(self, result: PointResult, row: dict[str, Any], shard: Any) -> Task | None:  # noqa: ANN401
        work, path = result.work, self._folder(result) / row["name"]
        numbers = shard.tolist()
        key = {"evaluate": row["sha256"], "data": work.dataset.fingerprint, "numbers": numbers}
        known = parcels.recall(key)
        if known is not None:
            self.swept.recalled += 1
            self._counted(result, row["name"], known)
            return None
        request: dict[str, Any] = {"task": "evaluate", "about": row["name"], "threads": work.recipe.threads}
        request |= {"artifact": {"path": str(path.resolve())}, "numbers": numbers}
        request["pictures"] = {"data": work.recipe.data, "skip_broken": work.recipe.skip_broken}
        needed: list[parcels.Parcel] = []
        if self.is_remote:
            needed.append(parcels.of_file(path))
            request["artifact"] = {"needs": 0, "name": path.name}
            if work.recipe.data != "demo":
                needed.append(self._shard_parcel(work, shard))
                request |= {"pictures": {"needs": 1}, "numbers": None}
        name = f"evaluate {row['name']} of {result.point.name}"
        return Task(name, request, tuple(needed), (result, key))

    @staticmethod
    def _counted(result: PointResult, artifact: str, answer: dict[str, Any]) -> None:
        counts = result.counts.setdefault(artifact, dict.fromkeys(("images", "top1", "top5"), 0))
        for name in counts:
            counts[name] += answer[name]
        result.runtimes[artifact] = answer["runtime"]

    def _shards(self, result: PointResult) -> list[Any]:
        """Picture numbers of each shard: strided, so that each has pictures of all classes."""
        if not result.work.is_labelled:
            return []
        numbers = result.work.dataset.split("eval")
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
