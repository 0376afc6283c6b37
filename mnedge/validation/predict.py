"""Runs an artifact over a data set on a device; pictures are read while others are computed."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.devices import TakesSeveral
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.heads import head_of_file
from mnedge.formats.pixels import known_pixels, order_of
from mnedge.graph.graph import arguments_of
from mnedge.graph.heads import answering_output, shows_numbers
from mnedge.pixels import CHANNELS
from mnedge.runtimes._runtime import decode, encode_values, encoded
from mnedge.validation.raw_samples import open_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.data.arrays import Arrays
    from mnedge.data.dataset import Dataset
    from mnedge.devices import Device, ModelInfo
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels
    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray

_MOST_IN_MEMORY_BYTES = 256 << 20
# Outputs of post-processing in the file: boxes, classes, scores, count.
_FOUND = 4
_CORNERS = 4
_INDICES = ("int32", "int64")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of an artifact for some pictures.

    Attributes:
        outputs: First output as real values, float32, (pictures, classes), or (pictures, H, W, classes) of a
            segmentation; what is large lies in a file without a name.
        others: The further outputs, likewise.
        step_size: Real value of one output step; 0 for float outputs.
        numbers: Picture numbers in the data set.
        labels: Class indices.
        info: The model as the device's runtime loaded it.
        device: URI of the device.
        path: The artifact, whose metadata may say how to read its outputs.
        head: Kind of the first output.
    """

    outputs: NDArray[np.float32]
    others: tuple[NDArray[np.float32], ...]
    step_size: float
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    info: ModelInfo
    device: str
    path: Path = Path()
    head: Head = "logits"

    @property
    def scores(self) -> NDArray[np.float32]:
        """The output that two artifacts are compared by: the first, or of post-processing its scores by rank."""
        return self.others[1] if len(self.others) == _FOUND - 1 else self.outputs

    def class_of(self, place: int) -> NDArray[np.int64]:
        """The class of a picture, int64 (), or of each place of a dense output, (H, W): the highest score's.

        An ARG_MAX in the file has made it already.
        """
        output = self.outputs[place]
        return np.asarray(output if self.gives_indices else output.argmax(axis=-1), np.int64)

    @property
    def gives_indices(self) -> bool:
        """Returns whether the first output holds class indices, not scores."""
        return self.info.outputs[0].dtype in _INDICES


def predict(
    path: Path,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    *,
    device: Device,
    runtime: str = "",
    pixels: Pixels | None = None,
    head: Head | None = None,
    classes: int | None = None,
    opened: Callable[[ModelInfo], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Runs an artifact over pictures of a data set.

    Args:
        path: The artifact.
        dataset: Data set of the pictures; their resolution follows from the artifact's input.
        numbers: Numbers of the pictures.
        device: Device that runs the artifact.
        runtime: Name of the runtime; "" for the one that loads such files.
        pixels: Pixels of the network; None for what the file says.
        head: Kind of the first output; None for what the file shows.
        classes: Number of classes that the data tells apart: of several outputs the one with as many scores comes
            first. None leaves the file's order.
        opened: Called with the loaded model before the first picture; an exception from it ends the run.
        progress: Called with the share of the pictures that are done, 0..1.

    Raises:
        InputError: The runtime refuses the file, it does not say what its pixels are, or a picture is broken.
        ToolError: The device or the runtime cannot be had.
    """
    kept: list[int] = []

    def pictures(size: tuple[int, int], known: Pixels) -> Iterator[NDArray[np.uint8]]:
        for number, picture in dataset.stream(numbers, size):
            kept.append(number)
            yield known.arranged(picture)

    with device.load(path, runtime) as model:
        if opened is not None:
            opened(model.info)
        spec = model.info.input
        known = pixels_for(path, spec.shape, pixels)
        images = encoded(pictures((spec.shape[1], spec.shape[2]), known), spec, known)
        made = model.run(images, numbers.size)
        results = _collected(made, model.info.outputs, numbers.size, progress)
        info = model.info
    labels = np.array(kept, np.int64)
    return _predictions(path, results, info, (labels, dataset.labels[labels]), device, head, classes)


def predict_arrays(
    path: Path,
    arrays: Arrays | Path,
    *,
    device: Device,
    runtime: str = "",
    arguments: Mapping[str, str] | None = None,
    head: Head | None = None,
    progress: Callable[[float], None] | None = None,
) -> Predictions:
    """Runs an artifact of one or several inputs over arrays, real numbers as the network takes them.

    `arrays` may be the path of a raw file, which the inputs then cut into samples.

    Its `labels` are the truths, of whatever shape they have, or -1 where there are none. `arguments` are other names
    for its inputs (see `Arrays.batch`). For the other arguments see `predict`.

    Raises:
        InputError: The runtime refuses the file, or the arrays do not fit its inputs.
        UnsupportedError: It has several inputs, and the device takes models with one.
        ToolError: The device or the runtime cannot be had.
    """
    with device.load(path, runtime) as model:
        specs = model.info.inputs
        arrays = open_raw(arrays, specs) if isinstance(arrays, Path) else arrays
        batch = arrays.batch(specs, arguments)
        fed = [(batch.arrays[spec.name], spec) for spec in specs]
        samples = (
            tuple(encode_values(values[place : place + 1], spec) for values, spec in fed)
            for place in range(arrays.count)
        )
        if len(specs) == 1:
            made = model.run((values for (values,) in samples), arrays.count)
        elif isinstance(model, TakesSeveral):
            made = model.run_several(samples, arrays.count)
        else:
            raise UnsupportedError(
                f"{path} has {len(specs)} inputs ({', '.join(spec.name for spec in specs)}), and {device.name} takes "
                "models with one; run it on this machine (--device local)"
            )
        results = _collected(made, model.info.outputs, arrays.count, progress)
        info = model.info
    truths = arrays.truths.get("", np.full(arrays.count, -1, np.int64))
    said = _predictions(path, results, info, (np.arange(arrays.count), truths), device, head)
    # Logits and other numbers look the same in a file; the right answers tell them apart.
    return replace(said, head="numbers") if head is None and said.head == "logits" and shows_numbers(truths) else said


def arguments_of_file(path: Path) -> dict[str, str]:
    """The input that each argument of a .tflite's signatures stands for; none of other files."""
    if path.suffix != ".tflite":
        return {}
    from mnedge.formats.tflite_read import read_tflite

    try:
        return arguments_of(read_tflite(path).signatures)
    except UnsupportedError:
        return {}  # Of an op that no Graph holds: the names of its tensors remain.


def _collected(
    made: Iterator[list[AnyArray]],
    specs: Sequence[TensorSpec],
    count: int,
    progress: Callable[[float], None] | None,
) -> list[NDArray[np.float32]]:
    """The real values of all outputs, (images that came, …)."""
    results: list[NDArray[np.float32]] = []
    done = 0
    for done, outputs in enumerate(made, start=1):
        results = results or [_room((count, *output.shape[1:])) for output in outputs]
        for room, output, spec in zip(results, outputs, specs, strict=True):
            room[done - 1] = decode(output[0], spec)
        if progress is not None:
            progress(done / count)
    return [room[:done] for room in results]


def _predictions(
    path: Path,
    results: list[NDArray[np.float32]],
    info: ModelInfo,
    samples: tuple[NDArray[np.int64], AnyArray],
    device: Device,
    head: Head | None,
    classes: int | None = None,
) -> Predictions:
    if order := _order(path, len(results)) or _answer_first(path, info.outputs, classes):
        results = [results[place] for place in order]
        info = replace(info, outputs=tuple(info.outputs[place] for place in order))
    spec = info.outputs[0]
    return Predictions(
        outputs=results[0],
        others=tuple(results[1:]),
        step_size=float(spec.quantization.scale[0]) if spec.quantization is not None else 0.0,
        numbers=samples[0],
        labels=samples[1],
        info=info,
        device=device.name,
        path=path,
        head=head or head_of_file(path, spec.shape, spec.quantization, spec.name),
    )


def _order(path: Path, count: int) -> tuple[int, ...]:
    """Places of boxes, classes, scores and count of a post-processing in a .tflite; () for other outputs."""
    if path.suffix != ".tflite" or count != _FOUND:
        return ()
    from mnedge.formats.custom_options import detection_order
    from mnedge.formats.tflite_read import read_tflite

    return detection_order(read_tflite(path))


def _answer_first(path: Path, specs: Sequence[TensorSpec], classes: int | None) -> tuple[int, ...]:
    """The places of the outputs with the one that tells the classes first; () where they stay as they are."""
    if classes is None or len(specs) < 2 or gives_objects(specs):
        return ()
    heads = [head_of_file(path, spec.shape, spec.quantization, spec.name) for spec in specs]
    widths = [spec.shape[-1] if spec.shape else 1 for spec in specs]
    first = answering_output(list(zip(heads, widths, strict=True)), classes)
    return (first, *(place for place in range(len(specs)) if place != first)) if first else ()


def gives_objects(specs: Sequence[TensorSpec]) -> bool:
    """Returns whether outputs are those of post-processing in the file: boxes (1, n, 4), classes, scores and count."""
    return len(specs) == _FOUND and any(len(spec.shape) == 3 and spec.shape[-1] == _CORNERS for spec in specs)


def check_takes_pictures(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses an input that is not a picture.

    Raises:
        InputError: It has no height, width and channels.
    """
    if len(shape) != 4 or order_of(shape[3]) is None:
        raise InputError(
            f"{path} takes {'x'.join(map(str, shape))}; pictures are given as 1 x height x width x 1, 3 or 4 "
            "channels, so only `mnedge bench`, `inspect` and `optimize` take this model"
        )


def pixels_for(path: Path, shape: tuple[int, ...], told: Pixels | None) -> Pixels:
    """Returns the pixels of a network with an input of that shape; called before the first picture is read.

    Args:
        path: The artifact, for its metadata and for messages.
        shape: Shape of its input.
        told: By the user; None for what the file says.

    Raises:
        InputError: It takes no pictures, its pixels are unknown, or have another number of channels.
    """
    check_takes_pictures(path, shape)
    taken = "x".join(map(str, shape))
    pixels = known_pixels(path, told)
    if shape[3] != CHANNELS[pixels.order]:
        raise InputError(
            f"{path} takes {taken}, and pixels are {pixels}: {pixels.order} has {CHANNELS[pixels.order]} channels, "
            f"the input {shape[3]}; name the order of channels behind the range, e.g. --pixels '0..255 "
            f"{order_of(shape[3]) or 'RGB'}' (RGB, BGR, GREY or RGBA)"
        )
    return pixels


def _room(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Room for results: in memory, or in a mapped file that goes away with the array where they are many."""
    if 4 * math.prod(shape) < _MOST_IN_MEMORY_BYTES:
        return np.zeros(shape, np.float32)
    # NumPy keeps the mapping, and the mapping the file, when the stream is closed.
    with tempfile.TemporaryFile() as stream:
        if hasattr(os, "posix_fallocate"):
            # A mapped file that outgrows the disk would kill the process; this raises instead.
            os.posix_fallocate(stream.fileno(), 0, 4 * math.prod(shape))
        return np.memmap(stream, np.float32, "w+", shape=shape)
