"""Accuracy and parity of artifacts on one or several devices, side by side."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from mnedge import devices
from mnedge.errors import InputError, ToolError
from mnedge.validation.accuracy import accuracy_row
from mnedge.validation.parity import parity_row
from mnedge.validation.predict import Predictions, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.devices import Device

_MOST_NAMED = 10


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
        device against this machine or the first device, picture by picture: `differs` names pictures whose class
        changes. `failed` has {device, error} of devices that could not be had.

    Raises:
        InputError: An artifact does not exist or has too few outputs for the data.
        ToolError: No device could be had.
    """
    for path in artifacts:
        if not path.exists():
            raise InputError(f"{path} does not exist; give .tflite or .onnx files that `mnedge build` wrote")

    opened = [devices.get(uri) for uri in uris]
    if "local" not in uris:
        # The host is what a device's outputs are held against, picture by picture; it is no column of its own.
        opened.insert(0, devices.get("local"))
    results, failed = _run(artifacts, dataset, numbers, opened, progress)
    names = {uri.partition("?")[0] for uri in uris}
    asked = {name: found for name, found in results.items() if name in names}
    if not asked:
        raise ToolError("\n".join(row["error"] for row in failed))
    accuracy = [
        accuracy_row(said, artifact=path.name, dataset=dataset.name)
        for found in asked.values()
        for path, said in zip(artifacts, found, strict=True)
    ]
    return {"accuracy": accuracy, "parity": _parity(artifacts, dataset, results), "failed": failed}


def _run(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    opened: Sequence[Device],
    progress: Callable[[str, float], None],
) -> tuple[dict[str, list[Predictions]], list[dict[str, str]]]:
    """Runs artifacts on devices side by side; what `_sorted_out` returns."""
    stopped = threading.Event()

    def on_device(device: Device) -> list[Predictions]:
        found = []
        for path in artifacts:
            stage = f"{path.name} on {device.name}"

            def told(share: float, stage: str = stage) -> None:
                if stopped.is_set():
                    raise ToolError(f"{stage}: interrupted")
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

    with ThreadPoolExecutor(len(opened)) as pool:
        futures = [pool.submit(on_device, device) for device in opened]
        try:
            wait(futures)
        except BaseException:
            stopped.set()
            for device in opened:
                device.interrupt()
            raise
    return _sorted_out(opened, futures)


def _sorted_out(
    opened: Sequence[Device], futures: Sequence[Future[list[Predictions]]]
) -> tuple[dict[str, list[Predictions]], list[dict[str, str]]]:
    """Results by device, and {device, error} of those that failed. Other errors than a device's are raised."""
    results: dict[str, list[Predictions]] = {}
    failed: list[dict[str, str]] = []
    for device, future in zip(opened, futures, strict=True):
        try:
            results[device.name] = future.result()
        except ToolError as exc:
            failed.append({"device": device.name, "error": str(exc)})
    return results, failed


def _parity(
    artifacts: Sequence[Path], dataset: Dataset, results: Mapping[str, Sequence[Predictions]]
) -> list[dict[str, Any]]:
    """Each artifact against the first one, and each further device against the first one, picture by picture."""
    (name, first), *others = results.items()
    rows = [
        parity_row(first[0], said, names=(artifacts[0].name, path.name))
        for path, said in list(zip(artifacts, first, strict=True))[1:]
    ]
    for other, found in others:
        for path, here, there in zip(artifacts, first, found, strict=True):
            row = parity_row(here, there, names=(f"{path.name} on {name}", f"{path.name} on {other}"))
            differs = here.outputs.argmax(axis=1) != there.outputs.argmax(axis=1)
            rows.append({**row, "differs": [dataset.sources[number] for number in here.numbers[differs][:_MOST_NAMED]]})
    return rows
