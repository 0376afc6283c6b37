"""Accuracy and parity of artifacts on one or several devices, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnedge import devices
from mnedge.errors import InputError, ToolError
from mnedge.formats.pixels import pixels_of
from mnedge.validation.accuracy import accuracy_row
from mnedge.validation.parity import parity_row, same_class
from mnedge.validation.predict import Predictions, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.devices import Device
    from mnedge.pixels import Pixels

_MOST_NAMED = 10
_RUNS_HERE = (".tflite", ".onnx", ".ort")


def validate(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    uris: Sequence[str],
    progress: Callable[[str, float], None],
    *,
    figures: Callable[[Predictions, Dataset], dict[str, Any]],
    pixels: Pixels | None = None,
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]] = same_class,
) -> dict[str, Any]:
    """Runs artifacts over pictures on devices, several devices in parallel.

    Args:
        artifacts: Their files.
        dataset: The pictures, and what is right.
        numbers: Which pictures.
        uris: Of the devices.
        progress: Told what runs where and the share of it that is done, 0..1.
        figures: The figures of an accuracy row, as the task has them.
        pixels: What a picture is to a single network, or, of several, to those whose files do not say it; None for
            what each file says.
        agreement: Of two predictions: the share of each picture of which they say the same.

    Returns:
        {accuracy: rows, parity: rows} as in report.json. Each artifact is held against the first one, and each
        device against this machine or the first device, picture by picture: `differs` names pictures whose class
        changes. `failed` has {device, error} of devices that could not be had or failed; the artifacts that they had
        finished by then have their rows all the same.

    Raises:
        InputError: An artifact does not exist or has too few outputs for the data.
        ToolError: No device could be had.
    """
    for path in artifacts:
        if not path.exists():
            raise InputError(f"{path} does not exist; give .tflite or .onnx files that `mnedge build` wrote")

    # The host is what a device's outputs are held against, picture by picture; it is no column of its own then.
    host = "local" not in uris and all(path.suffix in _RUNS_HERE for path in artifacts)
    results, failed = _run(artifacts, dataset, numbers, ["local", *uris] if host else uris, progress, pixels)
    asked = {name: found for name, found in results.items() if name != "local" or not host}
    if not asked:
        raise ToolError("\n".join(row["error"] for row in failed))
    accuracy = [
        accuracy_row(said, figures(said, dataset), artifact=path.name, dataset=dataset.name)
        for found in asked.values()
        for path, said in zip(artifacts, found, strict=False)
    ]
    return {"accuracy": accuracy, "parity": _parity(artifacts, dataset, results, agreement), "failed": failed}


def _run(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    uris: Sequence[str],
    progress: Callable[[str, float], None],
    pixels: Pixels | None,
) -> tuple[dict[str, list[Predictions]], list[dict[str, str]]]:
    """Runs artifacts on devices at the same time; what `devices.side_by_side` returns."""

    def on_device(device: Device) -> Iterator[Predictions]:
        first: tuple[int, ...] = ()
        for path in artifacts:
            stage = f"{path.name} on {device.name}"

            def told(share: float, stage: str = stage) -> None:
                progress(stage, min(share, 0.999))

            # What is told of several is for those that do not say it themselves: an int8 file may take other pixels
            # than the float one that it comes from.
            known = pixels if len(artifacts) == 1 else pixels_of(path) or pixels
            said = predict(path, dataset, numbers, device=device, pixels=known, progress=told)
            progress(stage, 1.0)
            first = first or said.outputs.shape[1:]
            if said.outputs.shape[1:] != first:
                one, other = ("x".join(map(str, shape)) for shape in (said.outputs.shape[1:], first))
                raise InputError(
                    f"{path} has {one} outputs, {artifacts[0]} has {other}: they cannot agree; validate them one by one"
                )
            yield said

    return devices.side_by_side(uris, on_device)


def _parity(
    artifacts: Sequence[Path],
    dataset: Dataset,
    results: Mapping[str, Sequence[Predictions]],
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]],
) -> list[dict[str, Any]]:
    """Each artifact against the first one, and each further device against the first one, picture by picture."""
    (name, first), *others = results.items()
    rows = [
        parity_row(first[0], said, names=(artifacts[0].name, path.name), agreement=agreement)
        for path, said in list(zip(artifacts, first, strict=False))[1:]
    ]
    for other, found in others:
        for path, here, there in zip(artifacts, first, found, strict=False):
            names = (f"{path.name} on {name}", f"{path.name} on {other}")
            row = parity_row(here, there, names=names, agreement=agreement)
            differs = agreement(here, there) < 1
            rows.append({**row, "differs": [dataset.sources[number] for number in here.numbers[differs][:_MOST_NAMED]]})
    return rows
