"""Cost of every op of a .tflite in other places: on devices, on emulated boards, in ONNX Runtime."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import devices as boards
from mnedge.devices import qemu
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.results.profile import Elsewhere
from mnedge.runtimes import get
from mnedge.validation.op_latency import each_alone, op_latency
from mnedge.workflows.on_boards import cost_on_board, latency_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnedge.devices import DeviceTiming
    from mnedge.graph.graph import Graph

_EMULATED = "qemu://"
_LOCAL = "local"
_BROWSER = "browser://"
# Of an op, on a device: enough for a median, and for the phone whose clock rises with the load.
_WARMUP_S, _SECONDS_EACH, _FEWEST_RUNS = 0.05, 0.05, 10
# What ONNX Runtime puts behind the name of a node that it makes of several.
_FUSED = re.compile(r"_token_\d+$")


def on_device(path: Path, uri: str, threads: int, progress: Callable[[float], None]) -> Elsewhere:
    """Measures each op of a model on a device.

    An emulated board counts the instructions of each layer of the C that the model compiles to. Any other device
    times each op as a model of its own; what the call costs is taken off (see `op_latency`).

    Args:
        path: An int8 .tflite.
        uri: URI of the device.
        threads: Threads of the runtime; boards have one.
        progress: Called with the share of the work that is done, 0..1.

    Raises:
        InputError: The URI is none, or is this machine.
        UnsupportedError: The device measures nothing, or an op has no kernel there.
        ToolError: The device cannot be had.
    """
    if uri == _LOCAL:
        raise InputError("--device local is what --profile measures already; give another device, or leave it out")
    graph = read_tflite(path)
    if uri.startswith(_EMULATED):
        board = qemu.connect(uri)
        cost = cost_on_board(path, board)
        costs, rest = by_op(graph, ((layer.tensor, layer.instructions or 0) for layer in cost.layers))
        return Elsewhere(uri, "compiled C", "instructions", emulated=True, costs=costs, rest=rest)
    if uri.startswith(_BROWSER):
        raise UnsupportedError(f"{uri} times no op of an int8 model alone: browsers take no int8 ends")
    device = boards.get(uri)
    measure = latency_of(device)
    seen: list[DeviceTiming] = []
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "op.tflite"

        def time_ms(alone: Graph) -> float:
            file.write_bytes(write_tflite(alone))
            timing = measure(file, threads=threads, warmup_s=_WARMUP_S, runs=_FEWEST_RUNS, seconds=_SECONDS_EACH)
            seen.append(timing)
            return float(np.median([sample.ms for sample in timing.samples]))

        times = each_alone(graph, time_ms, progress)
    info = seen[-1].info
    return Elsewhere(device.name, info.version, "ms", emulated=info.emulated, costs=tuple(times))


def in_onnxruntime(path: Path, onnx: Path, threads: int) -> Elsewhere:
    """Profiles the .onnx of the same network in ONNX Runtime, and sums its nodes by op of the .tflite.

    Args:
        path: A .tflite of mnedge's.
        onnx: The .onnx that was written of the same network, whose nodes are named after the same tensors.
        threads: Threads of the runtime.

    Raises:
        InputError: A file cannot be read, or no node is named after an op.
    """
    graph = read_tflite(path)
    rows = op_latency(onnx, threads=threads)
    costs, rest = by_op(graph, ((_FUSED.sub("", row.output), row.ms) for row in rows))
    if all(cost is None for cost in costs):
        raise InputError(
            f"no node of {onnx} is named after a tensor of {path}; give the .onnx that mnedge wrote beside it"
        )
    version = get("onnxruntime").version() or "onnxruntime"
    return Elsewhere(onnx.name, version, "ms", emulated=False, costs=costs, rest=rest)


def by_op(graph: Graph, parts: Iterable[tuple[str, float]]) -> tuple[tuple[float | None, ...], float]:
    """Sums the costs of parts by the op after whose tensor they are named: TENSOR, or TENSOR/what.

    Args:
        graph: The model.
        parts: Name and cost of each part.

    Returns:
        The cost of each op, None where no part is named after it; and the cost of parts that no op has.
    """
    found: dict[str, float] = {}
    made, rest = {name for op in graph.ops for name in op.outputs}, 0.0
    for name, cost in parts:
        owner = name
        while owner and owner not in made:
            owner = owner.rpartition("/")[0]
        if owner:
            found[owner] = found.get(owner, 0.0) + cost
        else:
            rest += cost
    sums = ([found[name] for name in op.outputs if name in found] for op in graph.ops)
    return tuple(sum(costs) if costs else None for costs in sums), rest
