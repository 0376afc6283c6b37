"""How fast a Dask cluster evaluates, with 1, 2 and 4 workers on this machine, and what full ImageNet would take.

    python tests/benchmarks/sweep.py [--artifact FILE.tflite] [--data labels.csv] [--images 400] [--shard 50]

Each worker is a process with one thread and a cache of its own, as on a machine of its own. The first pass sends each
shard to one of them ("sent" is its pictures), the second finds them there. CPU milliseconds are those of the workers
alone; on a machine that is busy, or has fewer cores than workers, they tell what a core of one's own would do, and the
rate does not. The arithmetic takes the largest of them.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
from typer import echo

ROOT = Path(__file__).parent.parent.parent
SHARED = Path(os.environ.get("MNEDGE_SHARED_DATA") or ROOT.parent / "shared" / "data")
sys.path.insert(0, str(ROOT))

from mnedge import data  # noqa: E402
from mnedge.workflows.sweep import parcels  # noqa: E402
from mnedge.workflows.sweep.cluster import connected  # noqa: E402
from mnedge.workflows.sweep.dispatch import Unit, dispatch  # noqa: E402
from mnedge.workflows.sweep.requests import EvaluateRequest, Place, Request  # noqa: E402

WORKERS = (1, 2, 4)
IMAGENET, VARIANTS, ARTIFACTS = 50_000, 20, 2


def units(artifact: Path, dataset: Any, numbers: Any, shard: int) -> list[Unit]:
    """The shards as units of work, as a sweep makes them."""
    count = -(-len(numbers) // shard)
    model = parcels.of_file(artifact)

    def unit(name: str, pictures: parcels.Parcel) -> Unit:
        def ask() -> Request:
            place = Place(parcel=model.address, name=artifact.name)
            return Request(evaluate=EvaluateRequest(place, pictures=Place(parcel=pictures.address)))

        return Unit(name, ask, (model, pictures))

    found = []
    for place in range(count):
        pictures = parcels.of_pictures(dataset, {"eval": numbers[place::count]})
        found.append(unit(f"shard {place}", pictures))
    return found


def run_pass(workers: Any, work: list[Unit], pids: list[int]) -> tuple[float, float, int]:
    """Has all shards evaluated; gives wall seconds, CPU seconds of the workers, and hits."""
    before = cpu_seconds(pids)
    begin = time.monotonic()
    answers = [done.answer for done in dispatch(workers, deque(work))]
    wall = time.monotonic() - begin
    return (
        wall,
        cpu_seconds(pids) - before,
        sum(answer.hits.top1 for answer in answers if answer is not None and answer.hits is not None),
    )


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of some processes."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--data", default=str(SHARED / "imagenet" / "labels.csv"))
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--shard", type=int, default=50)
    asked = parser.parse_args()
    cluster_of = runpy.run_path(str(ROOT / "tests" / "workflows" / "sweep" / "conftest.py"))["DaskCluster"]
    dataset = data.open_dataset(asked.data)
    numbers = dataset.split("eval", asked.images)
    load = psutil.getloadavg()[0]
    echo(
        f"{asked.artifact.name}, {len(numbers)} pictures, {psutil.cpu_count()} cores, load {load:.1f} before the start"
    )
    echo("workers   first pass    sent   second pass   CPU ms/picture   CPU share of a worker   hits")
    per_picture_s = bytes_per_picture = 0.0
    for count in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MNEDGE_CACHE"] = str(Path(folder) / "client-cache")
            cluster = cluster_of(Path(folder))
            try:
                cluster.start()
                for number in range(count):
                    cluster.add_worker(f"worker-{number}")
                pids = [process.pid for name, process in cluster.processes.items() if name != "scheduler"]
                work = units(asked.artifact, dataset, numbers, asked.shard)
                with connected(cluster.address) as workers:
                    first_s, _, hits = run_pass(workers, work, pids)
                    model = work[0].parcels[0].address
                    sent = sum(size for _, address, size in workers.sent if address != model)
                    second_s, cpu_s, again = run_pass(workers, work, pids)
            finally:
                cluster.close()
        assert hits == again, "the same pictures, the same hits"
        per_picture_s = max(per_picture_s, cpu_s / len(numbers))
        bytes_per_picture = sum(len(one.parcels[1].read()) for one in work) / len(numbers)
        echo(
            f"{count:>7} {len(numbers) / first_s:>8.1f} /s {sent / 2**20:>5.1f} M {len(numbers) / second_s:>9.1f} /s "
            f"{1e3 * per_picture_s:>16.2f} {cpu_s / second_s / count:>19.0%} {hits:>13}"
        )
    pictures = IMAGENET * VARIANTS * ARTIFACTS
    hours = pictures * per_picture_s / 3600
    echo(
        f"{VARIANTS} variants, float and int8, {IMAGENET:,} pictures: {pictures:,} evaluations, {hours:.1f} core hours"
    )
    sent_gib = IMAGENET * bytes_per_picture / 2**30
    for count in (1, 4, 16, 64):
        echo(f"  {count:>3} workers with a core each: {hours / count:.2f} h, and {sent_gib:.1f} GiB are sent once")


if __name__ == "__main__":
    main()
