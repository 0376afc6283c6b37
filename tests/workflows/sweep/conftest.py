"""A small network with weights in a file, pictures on disk, and a Dask cluster of processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CLASSES = ("Äpfel", "bananas", "梨")
_START_S = 90.0


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 pictures of three classes, each its own colour with noise, as PNG."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index, name in enumerate(_CLASSES):
        (root / name).mkdir()
        for number in range(30):
            pixels = generator.integers(0, 160, (40, 40, 3))
            pixels[..., index] += 90
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of V1 0.25 for three classes; random, but in a file, so accuracy is measured."""
    from mnedge.models import Variant
    from mnedge.models.build import build_model
    from mnedge.models.weights import save_compact

    path = tmp_path_factory.mktemp("weights") / "v1.h5"
    save_compact(build_model(Variant("v1", 0.25, 32, 3), "random", 1), path)
    return path


@pytest.fixture
def small_recipe(pictures: Path, weights: Path) -> Recipe:
    """The recipe of that network, quick to build."""
    return Recipe(
        variant="v1", alpha=0.25, resolution=32, weights=str(weights), data=str(pictures), int8=True, effort="fast",
        targets=("cpu",),
    )  # fmt: skip


@dataclass
class DaskCluster:
    """A scheduler and its workers, each worker with a cache of its own, as on a machine of its own."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""

    def start(self) -> None:
        """Starts the scheduler."""
        place = self.folder / "scheduler.json"
        self._run(
            "scheduler", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", place
        )
        end = time.monotonic() + _START_S
        while not place.is_file() or not place.read_text().strip():
            assert time.monotonic() < end, "no scheduler"
            time.sleep(0.1)
        self.address = json.loads(place.read_text())["address"]

    def add_worker(self, name: str) -> None:
        """Starts a worker and waits until the scheduler knows it."""
        from distributed import Client

        self._run(
            name, "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--name", name, "--local-directory", self.folder / f"{name}-local",
        )  # fmt: skip
        with Client(self.address, timeout=_START_S, set_as_default=False) as client:
            client.wait_for_workers(len(self.processes) - 1, timeout=_START_S)

    def kill(self, name: str) -> None:
        """As the kernel does when memory is out."""
        os.kill(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def close(self) -> None:
        """Ends everything that was started."""
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def _run(self, name: str, module: str, *arguments: object) -> None:
        environment = {
            **os.environ,
            "MNEDGE_CACHE": str(self.folder / f"{name}-cache"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # the kernel shares cores by session, as among machines
            )


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler with two workers, real processes."""
    pytest.importorskip("distributed", reason="sweeps on a cluster need mnedge[dask]")
    cluster = DaskCluster(tmp_path)
    try:
        cluster.start()
        for name in ("one", "two"):
            cluster.add_worker(name)
        yield cluster
    finally:
        cluster.close()
