"""Figures and parity of artifacts on arrays instead of pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnedge import devices
from mnedge.data.arrays import open_arrays
from mnedge.results.validation import Validation
from mnedge.validation.accuracy import accuracy_row
from mnedge.validation.heads import head_figures
from mnedge.validation.outputs import output_rows
from mnedge.validation.parity import parity_row
from mnedge.validation.predict import arguments_of_file, predict_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnedge.graph.heads import Head
    from mnedge.validation.predict import Predictions


def validate_arrays(
    artifacts: Sequence[Path],
    source: Path,
    uri: str,
    progress: Callable[[str, float], None],
    *,
    head: Head | None = None,
    runtime: str = "",
) -> Validation:
    """Runs artifacts over arrays on a device.

    Args:
        artifacts: Their files.
        source: The .npy or .npz.
        uri: URI of the device.
        progress: Called with the name of the stage and the share of it that is done, 0..1.
        head: Kind of the first output; None for what each file shows.
        runtime: Name of the runtime on the device; "" for the one that loads such files.

    Returns:
        Accuracy of the first output, empty where the file holds no truths of it, parity, each artifact against the
        first one, and both of every output.

    Raises:
        InputError: The arrays do not fit an artifact, or truths do not fit its output.
        ToolError: The device cannot be had.
    """
    arrays = open_arrays(source)
    device = devices.get(uri)
    # An .onnx has the tensors of the .tflite that it was made with, but no signature that names them.
    arguments = {name: tensor for file in artifacts for name, tensor in arguments_of_file(file).items()}
    results: list[Predictions] = []
    for artifact in artifacts:
        told = partial(progress, f"{artifact.name} on {device.name}")
        said = predict_arrays(
            artifact, arrays, device=device, runtime=runtime, arguments=arguments, head=head, progress=told
        )
        results.append(said)
    named = [(artifact.name, said) for artifact, said in zip(artifacts, results, strict=True)]
    outputs = output_rows(named, arrays.name, arrays.truths)
    accuracy = []
    if "" in arrays.truths:
        for name, said in named:
            figures = head_figures(said.head, said.outputs, arrays.truths[""])
            accuracy.append(accuracy_row(said, figures, artifact=name, dataset=arrays.name))
    parity = [
        parity_row(results[0], said, names=(artifacts[0].name, artifact.name))
        for artifact, said in list(zip(artifacts, results, strict=True))[1:]
    ]
    return Validation(tuple(accuracy), tuple(parity), outputs=outputs)
