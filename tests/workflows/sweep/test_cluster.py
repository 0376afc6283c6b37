"""Sweeps on a real Dask scheduler with real workers, each with a cache of its own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mnedge import data, devices
from mnedge.errors import InputError, ToolError
from mnedge.validation.accuracy import accuracy_figures
from mnedge.validation.predict import predict
from mnedge.workflows.sweep.grid import parse_axes, points
from mnedge.workflows.sweep.steps import Settings, Swept, run_steps

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.recipe import Recipe
    from mnedge.results.sweep import Hits
    from tests.workflows.sweep.conftest import DaskCluster


def _quiet(_stage: str, _fraction: float) -> None:
    pass


def _counts(swept: Swept) -> list[dict[str, Hits]]:
    return [result.hits for result in swept.results]


@pytest.mark.slow
def test_a_unit_that_the_scheduler_forgets_is_lost_not_an_error() -> None:
    distributed = pytest.importorskip("distributed", reason="no Dask: pip install 'mnedge[dask]'")
    from mnedge.workflows.sweep.cluster import Cluster
    from mnedge.workflows.sweep.dispatch import Unit
    from mnedge.workflows.sweep.requests import Request

    with distributed.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        cluster, unit = Cluster(client), Unit("lost", Request)
        future = client.submit(time.sleep, 30)
        cluster._running[future] = (unit, next(iter(cluster.names())))
        client.cancel(future)
        (done,) = cluster.finished(5.0)
        assert (done.unit, done.answer) == (unit, None)
        assert cluster.finished(0.1) == []


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_a_sweep_counts_as_one_process_does_sends_nothing_twice_and_survives_a_worker(
    tmp_path: Path, dask_cluster: DaskCluster, small_recipe: Recipe
) -> None:
    grid = points(small_recipe, parse_axes(["granularity=per-channel,per-tensor"]))
    settings = Settings(grid[:1], tmp_path / "out", dask_cluster.address, shard_images=5, device="")
    first = run_steps(settings, _quiet)
    assert [result.error for result in first.results] == [""]

    # The same as the artifact on all pictures at once, on this machine.
    dataset = data.open_dataset(small_recipe.data)
    numbers = dataset.split("eval")
    for name, hits in first.results[0].hits.items():
        path = tmp_path / "out" / grid[0].folder / name
        said = predict(path, dataset, numbers, device=devices.get("local"))
        figures = accuracy_figures(said).metrics
        assert hits.images == said.numbers.size == numbers.size == 18
        assert hits.top1 == round(figures["top1"] * 18)
        assert hits.top5 == round(figures["top5"] * 18)
    assert set(first.results[0].hits) == {"mobilenet_v1_0.25_32.fp32.tflite", "mobilenet_v1_0.25_32.int8.tflite"}

    # What is known is not asked again, and what a machine has is not sent again.
    second = run_steps(replace(settings, points=grid), _quiet)
    # The points share their float artifact: a build and four shards of the int8 one are new.
    assert (first.done, first.recalled) == (9, 0)
    assert (second.done, second.recalled) == (5, 13)
    pairs = [(worker, address) for worker, address, _ in (*first.sent, *second.sent)]
    assert len(first.sent) > 4
    assert len(set(pairs)) == len(pairs)
    again = run_steps(replace(settings, points=grid), _quiet)
    assert (again.done, again.sent) == (0, [])
    assert _counts(again) == _counts(second)

    # A worker that dies in the middle costs its units only.
    killed: list[float] = []

    def kill(_stage: str, fraction: float) -> None:
        if fraction > 0.5 and not killed:
            killed.append(fraction)
            dask_cluster.kill("two")

    third = run_steps(replace(settings, points=grid, shard_images=2), kill)
    assert killed
    assert [result.error for result in third.results] == ["", ""]
    assert _counts(third) == _counts(second)


def test_a_scheduler_that_is_not_there_is_told_quickly(tmp_path: Path, small_recipe: Recipe) -> None:
    pytest.importorskip("distributed", reason="sweeps on a cluster need mnedge[dask]")
    settings = Settings(points(small_recipe, {}), tmp_path, "tcp://127.0.0.1:9", device="")
    begin = time.monotonic()
    with pytest.raises(ToolError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9") as caught:
        run_steps(settings, _quiet)
    assert caught.value.exit_code == 4
    assert time.monotonic() - begin < 30
    for address in ("10.0.0.1:8786", "https://somewhere"):
        with pytest.raises(InputError, match="no address"):
            run_steps(replace(settings, scheduler=address), _quiet)
