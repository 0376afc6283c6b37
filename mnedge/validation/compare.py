"""Accuracy and parity of artifacts on one or several devices, side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mnedge import devices
from mnedge.errors import InputError
from mnedge.validation.accuracy import accuracy_row
from mnedge.validation.parity import parity_row
from mnedge.validation.predict import Predictions, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset


def validate(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    uris: Sequence[str],
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Runs artifacts over pictures on devices, several devices in parallel.

    Returns:
        {accuracy: rows, parity: rows} as in report.json. Each artifact is held against the first one, and each
        further device against the first one, picture by picture.

    Raises:
        InputError: An artifact does not exist or has too few outputs for the data.
        ToolError: A device cannot be had; what other devices measured is lost only if none of them succeeds.
    """
    for path in artifacts:
        if not path.exists():
            raise InputError(f"{path} does not exist; give .tflite or .onnx files that `mnedge build` wrote")

    def on_device(uri: str) -> list[Predictions]:
        device = devices.get(uri)
        found = []
        for path in artifacts:
            stage = f"{path.name} on {uri}"

            def told(share: float, stage: str = stage) -> None:
                progress(stage, min(share, 0.999))

            said = predict(path, dataset, numbers, device=device, progress=told)
            progress(stage, 1.0)
            if said.outputs.shape[1] <= int(said.labels.max()):
                raise InputError(
                    f"{path} has {said.outputs.shape[1]} outputs, but {dataset.name} has class_index "
                    f"{int(said.labels.max())}; give the data that the model was made for"
                )
            found.append(said)
        return found

    with ThreadPoolExecutor(len(uris)) as pool:
        results = list(pool.map(on_device, uris))
    accuracy = [
        accuracy_row(said, artifact=path.name, dataset=dataset.name)
        for found in results
        for path, said in zip(artifacts, found, strict=True)
    ]
    first = results[0]
    parity = [
        parity_row(first[0], said, names=(artifacts[0].name, path.name))
        for path, said in list(zip(artifacts, first, strict=True))[1:]
    ]
    for uri, found in list(zip(uris, results, strict=True))[1:]:
        for path, here, there in zip(artifacts, first, found, strict=True):
            parity.append(parity_row(here, there, names=(f"{path.name} on {uris[0]}", f"{path.name} on {uri}")))
    return {"accuracy": accuracy, "parity": parity}
