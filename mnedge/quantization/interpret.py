"""Graphs run in LiteRT on many pictures, one interpreter a core: several times as fast as through TensorFlow."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mnedge.batch import batch_of
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.arithmetic import PIXEL_NUDGE
from mnedge.graph.memory import tensor_bytes
from mnedge.runtimes import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Tensor
    from mnedge.untyped import AnyArray

T = TypeVar("T")
# More interpreters than that only share the memory's bandwidth.
_MOST_WORKERS = 8
# Pictures that go to an interpreter in one message, and what their inputs and outputs may take: in the processor's
# caches both sides find them again.
_MOST_AT_ONCE, _EXCHANGED_BYTES = 32, 4 << 20


def sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample of a tensor: without its axis of the batch, where it has one."""
    return shape[1:] if shape[:1] == (1,) else shape


def interpret(graph: Graph, feeds: Samples, collect: Callable[[int, list[AnyArray]], T], *, least: int = 1) -> list[T]:
    """Runs a graph picture by picture, and keeps the result of `collect` for each.

    Args:
        graph: A float or an int8 graph, or a part of one; batch 1.
        feeds: (N, …) for every input of the graph, of `sample_shape` each; in its dtype, or float32, which becomes
            steps (with ties upward) where the input is quantized.
        collect: Called with a picture's number and the graph's outputs, in the threads that run the interpreters:
            what it keeps must be a copy, and small, or N times that must fit the memory.
        least: Pictures for which another interpreter is worth its start.

    Returns:
        What `collect` returned, by picture; it does not depend on the number of cores.
    """
    arrays = list(batch_of(graph.inputs, feeds).arrays.values())
    count = len(arrays[0])
    workers = max(1, min(os.cpu_count() or 1, _MOST_WORKERS, count // least))
    model = write_tflite(graph)
    results: dict[int, T] = {}

    inputs = [graph.tensors[name] for name in graph.inputs]
    exchanged = sum(tensor_bytes(graph.tensors[name]) for name in (*graph.inputs, *graph.outputs))
    at_once = max(1, min(_MOST_AT_ONCE, _EXCHANGED_BYTES // max(exchanged, 1)))

    def given(number: int) -> tuple[AnyArray, ...]:
        return tuple(
            _given(feed[number].reshape(tensor.shape), tensor) for feed, tensor in zip(arrays, inputs, strict=True)
        )

    def work(first: int) -> None:
        numbers = range(first, count, workers)
        with closing(open_session("litert", model, 1)) as session:
            for start in range(0, len(numbers), at_once):
                group = numbers[start : start + at_once]
                for number, outputs in zip(group, session.look_all([given(number) for number in group]), strict=True):
                    results[number] = collect(number, outputs)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return [results[number] for number in range(count)]


def all_outputs(graph: Graph, images: Samples) -> dict[str, NDArray[np.float32]]:
    """Real values (N, …) of every output of a float or int8 graph, by its name; see `first_output`."""
    made = interpret(graph, images, lambda _, outputs: [output.copy() for output in outputs])
    found = {}
    for name, rows in zip(graph.outputs, zip(*made, strict=True), strict=True):
        quantization, values = graph.tensors[name].quantization, _joined(rows)
        found[name] = values if quantization is None else quantization.dequantize(values)
    return found


def _joined(rows: Sequence[AnyArray]) -> AnyArray:
    """Joins the outputs of samples, (1, …) each, to (N, …); one without an axis of the batch gets it."""
    has_batch = rows[0].ndim > 1 and rows[0].shape[0] == 1
    return np.concatenate(rows) if has_batch else np.stack(rows)


def first_output(graph: Graph, images: Samples) -> NDArray[np.float32]:
    """Real values (N, …) of the first output of a float or int8 graph for samples, such as images (N, H, W, C)."""
    made = _joined(interpret(graph, images, lambda _, outputs: outputs[0].copy()))
    quantization = graph.tensors[graph.outputs[0]].quantization
    return made if quantization is None else quantization.dequantize(made)


def input_steps(graph: Graph, images: Samples) -> dict[str, AnyArray]:
    """Samples, such as images (N, H, W, C), in the steps of a quantized graph's inputs, by name."""
    made = {}
    for name, values in batch_of(graph.inputs, images).arrays.items():
        tensor = graph.tensors[name]
        made[name] = np.empty(values.shape, tensor.dtype)
        for number, value in enumerate(values):
            made[name][number] = _given(value, tensor)
    return made


def _given(values: AnyArray, tensor: Tensor) -> AnyArray:
    if tensor.quantization is None or values.dtype != np.float32:
        return values
    limits = np.iinfo(tensor.dtype)
    steps = values / tensor.quantization.scale[0]
    steps += np.float32(0.5 + PIXEL_NUDGE)
    np.floor(steps, out=steps)
    steps += np.float32(tensor.quantization.zero_point[0])
    return np.asarray(np.clip(steps, limits.min, limits.max, out=steps).astype(tensor.dtype))
