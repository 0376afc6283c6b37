"""`inspect`: the content of a model file, how the runtime really takes it, and where an int8 model loses."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.arrays import is_arrays, open_arrays
from mnedge.errors import InputError, ToolError
from mnedge.pixels import Pixels
from mnedge.progress import telling
from mnedge.results.inspection import Inspection, Refusal, RuntimeView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.progress import Progress
    from mnedge.results.inspection import LayerNoise
    from mnedge.results.profile import LayerProfile

log = logging.getLogger(__name__)


def inspect(file: Path | str) -> Inspection:
    """Counts ops, dtypes, sizes, inputs and outputs of a model file, and asks the runtime how it takes it.

    Args:
        file: A .tflite or .onnx file; a Keras model or SavedModel is inspected as the float .tflite that it becomes.

    Raises:
        InputError: The file has another suffix, cannot be read, or is damaged.
    """
    from mnedge.workflows.executable import executable

    inspectors = {".tflite": _inspect_tflite, ".onnx": _inspect_onnx}
    with executable([file]) as (path,):
        if path.suffix not in inspectors:
            known = f"{' and '.join(inspectors)} files, Keras models and SavedModel folders"
            raise InputError(f"{path} has no suffix that mnedge inspects; it inspects {known}")
        found = inspectors[path.suffix](path)
    return found if path == Path(file) else replace(found, path=str(file))


def inspect_layers(
    file: Path | str,
    reference: Path | str,
    data: str = "demo",
    *,
    pixels: Pixels | str | None = None,
    split: str = "eval",
    images: int = 32,
    progress: Progress | None = None,
) -> LayerNoise:
    """Measures the quantization noise of every tensor of an int8 model, and its cost at the output.

    Args:
        file: The int8 .tflite.
        reference: The float .tflite that it should agree with.
        data: demo, a folder or a labels.csv; or a .npy or .npz, which a model of several inputs needs.
        pixels: Range of the pixels if the files state none, as `Pixels.parse` reads it.
        split: Split of the data.
        images: Number of pictures.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: A file cannot be read, the model has no quantized activation, or the two do not fit each other.
    """
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.graph.graph import arguments_of
    from mnedge.runtimes import naming
    from mnedge.silence import start_tensorflow
    from mnedge.validation.layers import noise_by_tensor
    from mnedge.validation.predict import pixels_for
    from mnedge.workflows.settle_pixels import check_takes_one

    graph, other = read_tflite(Path(file)), read_tflite(Path(reference))
    start_tensorflow()
    if is_arrays(data):
        inputs = [graph.tensors[name] for name in graph.inputs]
        samples = open_arrays(Path(data)).batch(inputs, arguments_of(graph.signatures))
        with naming(f"{file} or {reference}"):
            return noise_by_tensor(graph, other, samples[:images], telling(progress))
    check_takes_one(Path(file), graph)
    asked = Pixels.parse(pixels) if isinstance(pixels, str) else pixels
    shape = graph.tensors[graph.inputs[0]].shape
    known = pixels_for(Path(file), shape, asked)
    log.info("pixels are %s to the model", known)
    pictures = _pictures(data, split, images, shape, known)
    with naming(f"{file} or {reference}"):
        return noise_by_tensor(graph, other, pictures, telling(progress))


def profile_layers(
    file: Path | str,
    reference: Path | str,
    data: str = "demo",
    *,
    baseline: Path | str | None = None,
    devices: Sequence[str] = (),
    onnx: Path | str | None = None,
    pixels: Pixels | str | None = None,
    split: str = "eval",
    images: int = 32,
    threads: int = 1,
    progress: Progress | None = None,
) -> LayerProfile:
    """Measures time, memory and error of every op of an int8 model, here and elsewhere, and beside those of another.

    Args:
        file: The int8 .tflite.
        reference: The float .tflite that it should agree with.
        data: demo, a folder or a labels.csv; or a .npy or .npz, which a model of several inputs needs.
        baseline: An int8 .tflite of the same network, such as that of an earlier build.
        devices: URIs of devices that time each op too; emulated boards (qemu://…) count instructions.
        onnx: The .onnx of the same build, whose nodes ONNX Runtime times.
        pixels: Range of the pixels if the files state none, as `Pixels.parse` reads it.
        split: Split of the data.
        images: Number of pictures.
        threads: Threads of the runtime.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: A file cannot be read, a model has no quantized activation, or the files do not fit each other.
        UnsupportedError: A device measures nothing, or an op has no kernel there.
        ToolError: A device cannot be had.
    """
    from mnedge.validation.profile import profile_ops
    from mnedge.workflows.op_costs import in_onnxruntime, on_device

    # What may fail at once comes before what takes long.
    told = telling(progress)
    elsewhere = [] if onnx is None else [in_onnxruntime(Path(file), Path(onnx), threads)]
    for uri in devices:
        stage = f"cost of ops on {uri}"
        told(stage, 0.0)
        elsewhere.append(on_device(Path(file), uri, threads, partial(told, stage)))
        told(stage, 1.0)
    found = []
    for path in (Path(file), *([] if baseline is None else [Path(baseline)])):
        noise = inspect_layers(path, reference, data, pixels=pixels, split=split, images=images, progress=progress)
        told("time of ops", 0.0)
        found.append(profile_ops(path, noise, threads=threads))
        told("time of ops", 1.0)
    profile = replace(found[0], elsewhere=tuple(elsewhere))
    return profile if baseline is None else profile.against(found[1])


def _inspect_tflite(path: Path) -> Inspection:
    from mnedge import runtimes
    from mnedge.files import size_bytes
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.report.inspect_tflite import inspect_graph, is_quantized
    from mnedge.validation.int8 import int8_ops

    graph = read_tflite(path)
    quantized = is_quantized(graph)
    runtime: RuntimeView | Refusal
    try:
        with closing(runtimes.open_session("litert", path, 1)) as session:
            outside = dict(Counter(session.undelegated).most_common())
            runtime = RuntimeView(session.version, session.partitions, session.ops, outside=outside)
    except (InputError, ToolError) as exc:
        runtime = Refusal(str(exc))
    return Inspection(
        path=str(path),
        format="tflite",
        bytes=size_bytes(path),
        quantized=quantized,
        contents=inspect_graph(graph),
        float_ops=tuple(int8_ops(path)[1]) if quantized else None,
        runtime=runtime,
    )


def _inspect_onnx(path: Path) -> Inspection:
    from mnedge import runtimes
    from mnedge.files import size_bytes
    from mnedge.report.inspect_onnx import inspect_onnx
    from mnedge.runtimes.onnxruntime import optimized_nodes
    from mnedge.validation.int8 import float_nodes

    contents = inspect_onnx(path)
    quantized = any(row.kind.startswith("QLinear") or row.kind == "DequantizeLinear" for row in contents.ops)
    float_ops: tuple[str, ...] | None = None
    runtime: RuntimeView | Refusal
    try:
        nodes = optimized_nodes(path)
    except (InputError, ToolError) as exc:
        runtime = Refusal(str(exc))
    else:
        executes = dict(Counter(kind for kind, _, _ in nodes).most_common())
        version = runtimes.get("onnxruntime").version() or "onnxruntime"
        runtime = RuntimeView(version, None, len(nodes), executes=executes)
        float_ops = tuple(float_nodes(nodes)) if quantized else None
    return Inspection(str(path), "onnx", size_bytes(path), quantized, contents, float_ops, runtime)


def _pictures(data: str, split: str, count: int, shape: tuple[int, ...], pixels: Pixels) -> NDArray[np.float32]:
    """Pictures as the model takes them, real numbers."""
    from mnedge.data import open_dataset

    dataset = open_dataset(data)
    found = np.stack([picture for _, picture in dataset.stream(dataset.split(split, count), (shape[1], shape[2]))])
    return pixels.real(pixels.arranged(found))
