"""Time per op: what a latency is made of."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.results.latency import KindTime, OpTime
from mnedge.validation.latency import random_input

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

_PROFILED_RUNS = 50
_SECONDS_EACH = 0.03
_FEWEST_RUNS = 10


def op_latency(path: Path, *, threads: int = 1) -> list[OpTime]:
    """Measures each op of an artifact.

    An .onnx is profiled by ONNX Runtime itself. LiteRT's Python interpreter has no profiler, so each op of a .tflite is
    timed alone, as a model of one op with the same constants and the same delegate; what the call itself costs is taken
    off. The sum leaves out what ops share: caches that stay warm, and memory between them.

    Returns:
        The ops in order of execution.
    """
    if path.suffix == ".onnx":
        return _onnx_ops(path, threads)
    from mnedge.runtimes import naming

    with naming(path):
        return _tflite_ops(path, threads)


def by_kind(rows: Sequence[OpTime]) -> list[KindTime]:
    """Sums times of ops by kind, the largest first."""
    total = sum(row.ms for row in rows) or 1.0
    found = []
    for kind in dict.fromkeys(row.op for row in rows):
        times = [row.ms for row in rows if row.op == kind]
        found.append(KindTime(kind, len(times), sum(times), sum(times) / total))
    return sorted(found, key=lambda row: -row.ms)


def each_alone(
    graph: Graph, time_ms: Callable[[Graph], float], progress: Callable[[float], None] | None = None
) -> list[float]:
    """Times each op of a graph as a model of its own, and takes off what the call itself costs.

    Args:
        graph: The model; ops of the same kind, shapes and options are timed once.
        time_ms: Measures a graph, milliseconds.
        progress: Called with the share of the ops that is timed, 0..1.

    Returns:
        Milliseconds of each op, in order of execution.
    """
    timed: dict[Hashable, float] = {}
    found = []
    call_ms = time_ms(_smallest())
    for number, op in enumerate(graph.ops, start=1):
        alone = _alone(graph, op)
        ends = tuple((graph.tensors[name].shape, graph.tensors[name].dtype) for name in alone.tensors)
        key = (op.kind, ends, tuple(sorted(op.options.items())))
        if key not in timed:
            timed[key] = max(time_ms(alone) - call_ms, 0.0)
        found.append(timed[key])
        if progress is not None:
            progress(number / len(graph.ops))
    return found


def _tflite_ops(path: Path, threads: int) -> list[OpTime]:
    from mnedge.formats.tflite_read import read_tflite

    graph = read_tflite(path)
    times = each_alone(graph, lambda alone: _time_alone(alone, threads))
    return [
        OpTime(op.kind, op.outputs[0], graph.tensors[_fed(graph, op)[0]].shape, ms)
        for op, ms in zip(graph.ops, times, strict=True)
    ]


def _alone(graph: Graph, op: Op) -> Graph:
    """The graph of one op; what others make for it becomes an input."""
    return graph.replaced(ops=[op], inputs=_fed(graph, op), outputs=op.outputs)


def _fed(graph: Graph, op: Op) -> list[str]:
    """The tensors that others make for an op."""
    return [name for name in dict.fromkeys(op.inputs) if name is not None and not graph.tensors[name].is_constant]


def _smallest() -> Graph:
    """Returns a graph that computes next to nothing: its latency is that of the call."""
    value, one = Tensor("value", (1,), "float32"), constant("one", np.ones(1, np.float32))
    add = Op("ADD", ("value", "one"), ("sum",), {"activation": "NONE"})
    return Graph({"value": value, "one": one, "sum": Tensor("sum", (1,), "float32")}, (add,), ("value",), ("sum",))


def _time_alone(graph: Graph, threads: int) -> float:
    """Median milliseconds of computing alone, without copies in and out."""
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.runtimes import open_session

    with closing(open_session("litert", write_tflite(graph), threads)) as session:
        feed = [random_input(spec) for spec in session.inputs]
        return float(np.median(session.time_ms(*feed, runs=_FEWEST_RUNS, seconds=_SECONDS_EACH, copies=False)))


def _onnx_ops(path: Path, threads: int) -> list[OpTime]:
    from mnedge.runtimes.onnxruntime import profile

    with tempfile.TemporaryDirectory() as folder:
        events = json.loads(profile(path, threads, _PROFILED_RUNS, Path(folder)).read_text())
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    durations: dict[str, list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        name = name.removesuffix("_kernel_time")
        shapes = event["args"].get("input_type_shape") or [{}]
        shape: list[int] = next(iter(shapes[0].values()), []) if shapes else []
        found.setdefault(name, (event["args"]["op_name"], tuple(shape)))
        durations.setdefault(name, []).append(event["dur"] / 1e3)
    return [OpTime(kind, name, shape, float(np.median(durations[name]))) for name, (kind, shape) in found.items()]
