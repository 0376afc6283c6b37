"""Time, memory and error of every op of an int8 .tflite, joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.formats.tflite_read import read_tflite
from mnedge.graph.memory import live_bytes, tensor_bytes
from mnedge.results.profile import LayerProfile, OpProfile
from mnedge.runtimes import get
from mnedge.validation.op_latency import op_latency

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.results.inspection import LayerNoise


def profile_ops(path: Path, noise: LayerNoise, *, threads: int = 1) -> LayerProfile:
    """Measures the time of each op of a model, and puts its memory and its share of the error beside it.

    Args:
        path: The int8 .tflite.
        noise: Noise of its tensors (`layers.noise_by_tensor`).
        threads: Threads of the runtime.
    """
    graph = read_tflite(path)
    times = op_latency(path, threads=threads)
    live = live_bytes(graph)
    errors = _output_errors(graph, noise)
    rows = []
    for index, (op, time) in enumerate(zip(graph.ops, times, strict=True)):
        constants = {name for name in op.inputs if name is not None and graph.tensors[name].is_constant}
        rows.append(
            OpProfile(
                index=index,
                op=op.kind,
                tensor=op.outputs[0],
                shape=graph.tensors[op.outputs[0]].shape,
                ms=time.ms,
                live_bytes=live[index],
                weights_bytes=sum(tensor_bytes(graph.tensors[name]) for name in constants),
                output_error=errors[index],
            )
        )
    return LayerProfile(str(path), get("litert").version() or "litert", threads, tuple(rows), noise)


def _output_errors(graph: Graph, noise: LayerNoise) -> list[float]:
    """Noise power at the output, over the signal's, that each op accounts for."""
    found = [0.0] * len(graph.ops)
    decibels = noise.output_sqnr_db.int8
    if decibels is None:
        return found
    for row in noise.tensors:
        index = row.index - len(graph.inputs)
        if index >= 0:
            found[index] += 10 ** (-decibels / 10) * (1 - 10 ** (-row.output_gain_db / 10))
    return found
