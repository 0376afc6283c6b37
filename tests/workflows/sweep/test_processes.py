"""Sweeps in processes of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnedge import cache, data
from mnedge.data import content
from mnedge.errors import ToolError
from mnedge.files import is_scratch
from mnedge.results import stored
from mnedge.results.sweep import SweepResult
from mnedge.workflows.build import job
from mnedge.workflows.sweep import account
from mnedge.workflows.sweep.dispatch import Done, Unit, dispatch
from mnedge.workflows.sweep.grid import parse_axes, points
from mnedge.workflows.sweep.processes import Processes, started
from mnedge.workflows.sweep.requests import BuildRequest, EvaluateRequest, Place, Request
from mnedge.workflows.sweep.steps import Settings, _resolved, run_steps

if TYPE_CHECKING:
    from mnedge.recipe import Recipe

pytestmark = pytest.mark.usefixtures("private_cache")


def _quiet(_stage: str, _fraction: float) -> None:
    pass


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _evaluations(recipe: Recipe, artifact: Path, count: int) -> list[Unit]:
    def unit(number: int) -> Unit:
        request = EvaluateRequest(Place(path=str(artifact)), data=recipe.data, numbers=(number,))
        return Unit(f"part {number}", lambda: Request(evaluate=request))

    return [unit(number) for number in range(count)]


@pytest.mark.slow
def test_a_sweep_is_evaluated_reported_and_goes_on_after_ctrl_c(tmp_path: Path, small_recipe: Recipe) -> None:
    grid = points(small_recipe, parse_axes(["granularity=per-channel,per-tensor"]))
    settings = Settings(grid, tmp_path / "out", workers=2, shard_images=6, device="")

    def interrupt(_stage: str, fraction: float) -> None:
        if fraction > 0.3:
            raise KeyboardInterrupt

    cut = run_steps(settings, interrupt)
    assert cut.is_interrupted
    assert 0 < cut.done < 14
    swept = run_steps(settings, _quiet)
    assert swept.done + swept.recalled == 2 * (1 + 2 * 3)
    # Both points have the same float artifact, whose three shards are evaluated once.
    assert swept.recalled == cut.done + 3
    told = account.write(swept, settings, {}, recipe="small")
    assert {row.tradeoff.status for row in told.rows} <= {"front", "fits"}
    assert told == stored.read(tmp_path / "out" / "sweep.json", SweepResult)
    for row in told.rows:
        assert row.images == 18
        assert row.top1_interval is not None
        assert row.tradeoff.top1 is not None
        assert 0.0 <= row.top1_interval[0] <= row.tradeoff.top1 <= row.top1_interval[1] <= 1.0
        folder = tmp_path / "out" / row.folder
        assert (folder / f"{row.slug}.int8.tflite").stat().st_size == row.tradeoff.size_bytes
        # The same artifacts as those of a build.
        assert {file.name for file in row.artifacts} == {
            f"{row.slug}.{precision}.{form}" for precision in ("fp32", "int8") for form in ("tflite", "onnx")
        }
    assert "granularity=per-tensor" in (tmp_path / "out" / "sweep.html").read_text()


@pytest.mark.slow
def test_a_build_that_fails_is_told_in_its_row(tmp_path: Path, small_recipe: Recipe) -> None:
    shutil.copytree(small_recipe.data, tmp_path / "pictures")
    dataset = data.open_dataset(str(tmp_path / "pictures"))
    broken = tmp_path / "pictures" / dataset.sources[dataset.split("calibration")[0]]
    broken.write_bytes(b"no picture")
    settings = Settings(points(replace(small_recipe, data=str(tmp_path / "pictures")), {}), tmp_path / "out", device="")
    told = account.write(run_steps(settings, _quiet), settings, {}, recipe="broken")
    (row,) = told.rows
    assert row.tradeoff.status == "failed"
    assert broken.name in (row.error or "")
    assert "--skip-broken" in (tmp_path / "out" / "sweep.html").read_text()


def test_a_process_that_is_killed_costs_its_unit_only_and_none_is_left(
    tmp_path: Path, small_recipe: Recipe, digits_fp32: Any
) -> None:
    from mnedge.formats.tflite_write import write_tflite

    artifact = tmp_path / "net.tflite"
    artifact.write_bytes(write_tflite(digits_fp32))
    waiting = deque(_evaluations(small_recipe, artifact, 6))
    done: list[Done] = []
    with started(2, 2) as processes:
        for one in dispatch(processes, waiting):
            done.append(one)
            if len(done) == 1:
                os.kill(next(iter(processes.pids().values())), signal.SIGKILL)
        pids = list(processes.pids().values())
    assert sorted(one.unit.name for one in done) == [f"part {number}" for number in range(6)]
    assert [one.answer.hits.images for one in done if one.answer and one.answer.hits] == [1] * 6
    end = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_is_alive(pid) for pid in pids)


def test_a_unit_that_kills_its_worker_ends_with_an_error() -> None:
    class Deadly(Processes):
        def start(self, worker: str, unit: Unit) -> None:
            super().start(worker, unit)
            os.kill(self.pids()[worker], signal.SIGKILL)

    processes = Deadly(1, 1)
    try:
        (done,) = dispatch(processes, deque([Unit("deadly", Request)]))
    finally:
        processes.close()
    assert done.answer is not None
    assert done.answer.failed is not None
    assert "its worker died 3 times" in done.answer.failed.error


def test_a_bug_comes_back_as_its_traceback(tmp_path: Path, small_recipe: Recipe, digits_fp32: Any) -> None:
    from mnedge.formats.tflite_write import write_tflite

    artifact = tmp_path / "net.tflite"
    artifact.write_bytes(write_tflite(digits_fp32))
    # No sweep asks for a picture that there is not.
    request = Request(evaluate=EvaluateRequest(Place(path=str(artifact)), data=small_recipe.data, numbers=(10**6,)))
    with started(1, 1) as processes:
        (done,) = dispatch(processes, deque([Unit("nonsense", lambda: request)]))
    assert done.answer is not None
    assert done.answer.failed is not None
    assert "Traceback" in done.answer.failed.error


def test_a_worker_that_is_ended_in_the_middle_of_a_build_cleans_up(small_recipe: Recipe) -> None:
    request = Request(build=BuildRequest(small_recipe))
    with started(1, 1) as processes:
        processes.start("process 0", Unit("build", lambda: request))
        end = time.monotonic() + 120
        while not any(is_scratch(path.name) for path in cache.root().glob(".*")) and time.monotonic() < end:
            time.sleep(0.005)
        assert any(is_scratch(path.name) for path in cache.root().glob(".*")), "the build makes no entry of the cache"
    assert [path.name for path in cache.root().glob(".*") if is_scratch(path.name)] == []


def test_check_data_reads_the_pictures_again_once_and_workers_trust_what_it_found(
    tmp_path: Path, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 0)
    grid = points(small_recipe, parse_axes(["granularity=per-channel,per-tensor"]))
    true = data.open_dataset(small_recipe.data).fingerprint
    work, name = cache.resumable("digests", {}), os.fsencode(Path(small_recipe.data))
    rows = json.loads(cache.recall(work, name) or b"")
    cache.keep(work, name, json.dumps({path: [mark, "0" * 64] for path, (mark, _) in rows.items()}).encode())
    settings = Settings(grid, tmp_path / "out", device="")
    assert {result.work.dataset.fingerprint for result in _resolved(settings)}.isdisjoint({true})
    read: list[bool] = []
    resolve = job.resolve

    def resolved(recipe: Recipe, *, check_data: bool = False) -> job.Job:
        read.append(check_data)
        return resolve(recipe, check_data=check_data)

    monkeypatch.setattr(job, "resolve", resolved)
    found = [result.work.dataset.fingerprint for result in _resolved(replace(settings, check_data=True))]
    assert found == [true, true]
    assert read == [True, False]


def test_no_worker_at_all_is_told() -> None:
    class Nobody(Processes):
        def names(self) -> list[str]:
            return []

        def finished(self, timeout_s: float) -> list[Done]:
            time.sleep(min(timeout_s, 0.02))
            return []

    processes = Nobody(1, 1)
    try:
        found = dispatch(processes, deque([Unit("a", Request)]), patience_s=0.1)
        with pytest.raises(ToolError, match="no worker has been there"):
            list(found)
    finally:
        processes.close()
