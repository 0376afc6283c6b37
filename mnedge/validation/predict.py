"""Runs an artifact over a data set: pictures are read while others are computed, one session per core."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import runtimes
from mnedge.runtimes._runtime import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.runtimes._runtime import Session


@dataclass(frozen=True, eq=False)
class Predictions:
    """What an artifact said of each picture.

    Attributes:
        outputs: First output as real values, float32, (pictures, classes).
        steps: The same as in the file: int8, uint8 or float32.
        step_size: Real value of one output step; 0 for float outputs.
        numbers: Picture numbers in the data set.
        labels: Class indices.
        version: Runtime, version and delegate.
        partitions: Delegate partitions; None where the notion does not exist.
        ops: Ops or nodes that ran after the runtime's own rewriting.
    """

    outputs: NDArray[np.float32]
    steps: NDArray[Any]
    step_size: float
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    version: str
    partitions: int | None
    ops: int


def predict(
    path: Path,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    *,
    runtime: str = "",
    workers: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Runs an artifact over pictures of a data set on this machine.

    Args:
        path: The artifact.
        dataset: Where the pictures come from; their resolution follows from the artifact's input.
        numbers: Which pictures.
        runtime: Name of the runtime; "" for the one that loads such files.
        workers: Sessions side by side, one thread each; 0 for one per core.
        progress: Told the share of the pictures that are done, 0..1.

    Raises:
        InputError: The runtime refuses the file, or a picture is broken.
        ToolError: The runtime is not installed.
    """
    engine = runtimes.get(runtime or runtimes.for_file(path))
    workers = workers or os.cpu_count() or 1
    first = engine.open(path, 1)
    spare = [first]
    own = threading.local()
    lock = threading.Lock()

    def session() -> Session:
        if not hasattr(own, "session"):
            with lock:
                taken = spare.pop() if spare else None
            own.session = taken if taken is not None else engine.open(path, 1)
        return own.session  # type: ignore[no-any-return]

    def infer(pixels: NDArray[np.uint8]) -> NDArray[Any]:
        return session().run(encode(pixels[None], first.input))[0][0]

    kept: list[int] = []
    results: list[NDArray[Any]] = []
    pending: deque[Future[NDArray[Any]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, pixels in dataset.stream(numbers, first.input.shape[1]):
                kept.append(number)
                pending.append(pool.submit(infer, pixels))
                if len(pending) > 4 * workers:
                    results.append(pending.popleft().result())
                    if progress is not None:
                        progress(len(results) / numbers.size)
            results.extend(future.result() for future in pending)
        finally:
            for future in pending:
                future.cancel()
    spec = first.outputs[0]
    steps = np.stack(results)
    return Predictions(
        outputs=decode(steps, spec).astype(np.float32),
        steps=steps,
        step_size=float(spec.quantization.scale[0]) if spec.quantization is not None else 0.0,
        numbers=np.array(kept, np.int64),
        labels=dataset.labels[kept],
        version=first.version,
        partitions=first.partitions,
        ops=first.ops,
    )
