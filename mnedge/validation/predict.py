"""Runs an artifact over a data set on a device; pictures are read while others are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.runtimes._runtime import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.devices import Device, ModelInfo


@dataclass(frozen=True, eq=False)
class Predictions:
    """What an artifact said of each picture.

    Attributes:
        outputs: First output as real values, float32, (pictures, classes).
        step_size: Real value of one output step; 0 for float outputs.
        numbers: Picture numbers in the data set.
        labels: Class indices.
        info: The model as the device's runtime loaded it.
        device: URI of the device.
    """

    outputs: NDArray[np.float32]
    step_size: float
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    info: ModelInfo
    device: str


def predict(
    path: Path,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    *,
    device: Device,
    runtime: str = "",
    progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Runs an artifact over pictures of a data set.

    Args:
        path: The artifact.
        dataset: Where the pictures come from; their resolution follows from the artifact's input.
        numbers: Which pictures.
        device: Where it runs.
        runtime: Name of the runtime; "" for the one that loads such files.
        progress: Told the share of the pictures that are done, 0..1.

    Raises:
        InputError: The runtime refuses the file, or a picture is broken.
        ToolError: The device or the runtime cannot be had.
    """
    kept: list[int] = []

    def images(resolution: int) -> Iterator[NDArray[np.uint8]]:
        for number, pixels in dataset.stream(numbers, resolution):
            kept.append(number)
            yield pixels

    results: list[NDArray[Any]] = []
    with device.load(path, runtime) as model:
        for outputs in model.run(images(model.info.input.shape[1]), numbers.size):
            results.append(outputs[0][0])
            if progress is not None:
                progress(len(results) / numbers.size)
        info = model.info
    spec = info.outputs[0]
    return Predictions(
        outputs=decode(np.stack(results), spec).astype(np.float32),
        step_size=float(spec.quantization.scale[0]) if spec.quantization is not None else 0.0,
        numbers=np.array(kept, np.int64),
        labels=dataset.labels[kept],
        info=info,
        device=device.name,
    )
