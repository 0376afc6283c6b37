"""Sweeps in processes of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mnedge import data
from mnedge.errors import ToolError
from mnedge.workflows.sweep import account
from mnedge.workflows.sweep.dispatch import Done, Task, dispatch
from mnedge.workflows.sweep.grid import parse_axes, points
from mnedge.workflows.sweep.processes import Processes, started
from mnedge.workflows.sweep.run import Settings, sweep

if TYPE_CHECKING:
    from pathlib import Path

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


def _evaluations(recipe: Recipe, artifact: Path, count: int) -> list[Task]:
    pictures = {"data": recipe.data, "skip_broken": False}
    return [
        Task(f"part {number}", {
            "task": "evaluate", "artifact": {"path": str(artifact)}, "pictures": pictures, "numbers": [number],
            "threads": 1,
        })
        for number in range(count)
    ]  # fmt: skip


def test_a_sweep_is_evaluated_reported_and_goes_on_after_ctrl_c(tmp_path: Path, small_recipe: Recipe) -> None:
    grid = points(small_recipe, parse_axes(["granularity=per-channel,per-tensor"]))
    settings = Settings(grid, tmp_path / "out", workers=2, shard_images=6, device="")

    def interrupt(_stage: str, fraction: float) -> None:
        if fraction > 0.3:
            raise KeyboardInterrupt

    cut = sweep(settings, interrupt)
    assert cut.is_interrupted
    assert 0 < cut.done < 14
    swept = sweep(settings, _quiet)
    assert swept.done + swept.recalled == 2 * (1 + 2 * 3)
    # Both points have the same float artifact, whose three shards are evaluated once.
    assert swept.recalled == cut.done + 3
    told = account.write(swept, settings, {}, recipe="small")
    assert [row["status"] for row in told["rows"]].count("failed") == 0
    assert told == json.loads((tmp_path / "out" / "sweep.json").read_text())
    for row in told["rows"]:
        assert row["images"] == 18
        assert 0.0 <= row["top1_interval"][0] <= row["top1"] <= row["top1_interval"][1] <= 1.0
        assert (tmp_path / "out" / row["folder"] / f"{row['slug']}.int8.tflite").stat().st_size == row["size_bytes"]
    assert "granularity=per-tensor" in (tmp_path / "out" / "sweep.html").read_text()


def test_a_build_that_fails_is_told_in_its_row(tmp_path: Path, small_recipe: Recipe) -> None:
    shutil.copytree(small_recipe.data, tmp_path / "pictures")
    dataset = data.open_dataset(str(tmp_path / "pictures"))
    broken = tmp_path / "pictures" / dataset.sources[dataset.split("calibration")[0]]
    broken.write_bytes(b"no picture")
    settings = Settings(points(replace(small_recipe, data=str(tmp_path / "pictures")), {}), tmp_path / "out", device="")
    told = account.write(sweep(settings, _quiet), settings, {}, recipe="broken")
    (row,) = told["rows"]
    assert row["status"] == "failed"
    assert broken.name in row["error"]
    assert "--skip-broken" in (tmp_path / "out" / "sweep.html").read_text()


def test_a_process_that_is_killed_costs_its_task_only_and_none_is_left(
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
    assert sorted(one.task.name for one in done) == [f"part {number}" for number in range(6)]
    assert [one.answer["images"] for one in done if one.answer] == [1] * 6
    end = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_is_alive(pid) for pid in pids)


def test_a_task_that_kills_its_worker_ends_with_an_error() -> None:
    class Deadly(Processes):
        def start(self, worker: str, task: Task) -> None:
            super().start(worker, task)
            os.kill(self.pids()[worker], signal.SIGKILL)

    processes = Deadly(1, 1)
    try:
        (done,) = dispatch(processes, deque([Task("deadly", {"task": "evaluate"})]))
    finally:
        processes.close()
    assert done.answer is not None
    assert "its worker died 3 times" in done.answer["error"]


def test_a_bug_comes_back_as_its_traceback() -> None:
    with started(1, 1) as processes:
        (done,) = dispatch(processes, deque([Task("nonsense", {"task": "evaluate"})]))
    assert done.answer is not None
    assert "KeyError" in done.answer["error"]
    assert "Traceback" in done.answer["error"]


def test_no_worker_at_all_is_told() -> None:
    class Nobody(Processes):
        def names(self) -> list[str]:
            return []

        def finished(self, timeout_s: float) -> list[Done]:
            time.sleep(min(timeout_s, 0.02))
            return []

    processes = Nobody(1, 1)
    try:
        found = dispatch(processes, deque([Task("a", {})]), patience_s=0.1)
        with pytest.raises(ToolError, match="no worker has been there"):
            list(found)
    finally:
        processes.close()
