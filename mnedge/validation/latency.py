"""Latency of artifacts on this machine: warm-up, then interleaved rounds, so that a drifting machine hurts all alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import runtimes
from mnedge.runtimes._runtime import encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WARM_UP_S = 0.3
_BUDGET_S = 2.0
_MIN_RUNS, _MAX_RUNS = 30, 1000


def measure_latency(paths: Sequence[Path], *, threads: int = 1, seed: int = 0) -> list[dict[str, Any]]:
    """Times artifacts side by side on random pictures.

    Args:
        paths: The artifacts.
        threads: Threads of each session.
        seed: Of the pictures.

    Returns:
        Rows {artifact, runtime, device, threads, p50_ms, p90_ms, p99_ms, runs, partitions, samples_ms}.
    """
    rng = np.random.default_rng(seed)
    sessions, images, runs = [], [], []
    for path in paths:
        session = runtimes.get(runtimes.for_file(path)).open(path, threads)
        image = encode(rng.integers(0, 256, session.input.shape).astype(np.uint8), session.input)
        started = time.perf_counter()
        count = 0
        while time.perf_counter() - started < _WARM_UP_S:
            session.run(image)
            count += 1
        sessions.append(session)
        images.append(image)
        runs.append(int(np.clip(count * _BUDGET_S / _WARM_UP_S, _MIN_RUNS, _MAX_RUNS)))
    samples: list[list[float]] = [[] for _ in paths]
    for number in range(max(runs, default=0)):
        for place, session in enumerate(sessions):
            if number < runs[place]:
                started = time.perf_counter()
                session.run(images[place])
                samples[place].append((time.perf_counter() - started) * 1e3)
    return [
        {
            "artifact": path.name,
            "runtime": session.version,
            "device": "local",
            "threads": threads,
            **{f"p{share}_ms": float(np.percentile(times, share)) for share in (50, 90, 99)},
            "runs": len(times),
            "partitions": session.partitions,
            "samples_ms": times,
        }
        for path, session, times in zip(paths, sessions, samples, strict=True)
    ]
