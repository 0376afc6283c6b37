"""Activations in int8, in int16 (16x8), or mixed: the layers at 16 bits that a latency budget brings most for."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError, UnsupportedError
from mnedge.files import write_bytes
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.graph.ops import INT16_KINDS, info
from mnedge.quantization.noise_shares import noise_shares
from mnedge.quantization.ptq import quantize_ptq
from mnedge.quantization.wide import int16_ops, widened
from mnedge.results.report import LayerBits
from mnedge.validation.latency import time_in_turns
from mnedge.validation.op_latency import op_latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnedge.batch import Samples
    from mnedge.choices import Activations, Method
    from mnedge.progress import Progress
    from mnedge.quantization.ptq import PostTraining
    from mnedge.quantization.quantized import Quantized
    from mnedge.targets import Target

MAX_SLOWDOWN = 1.1
# Samples whose noise is measured, and those that a file which is only timed is calibrated with.
_NOISE_IMAGES = 8
_TIMING_IMAGES = 2
# Elements of a tensor whose conversion is timed.
_CONVERTED = 16_384
# A layer that makes up less of the error than this is not worth a kernel of its own.
_LEAST_SHARE = 1e-3
# Seconds of runs of each of two files that are held against each other.
_SECONDS = 0.5


def check_activations(
    activations: Activations, max_slowdown: float | None, method: Method, targets: dict[str, Target]
) -> None:
    """Makes sure that activations can be quantized as asked for, before anything is computed.

    Raises:
        InputError: Options that do not go together.
        UnsupportedError: Training with int16, or a target on which the cost of a layer at 16 bits is not known.
    """
    if max_slowdown is not None and activations != "mixed":
        raise InputError(
            f"--max-slowdown is the budget of --activations mixed, and {activations} is asked for; leave it out"
        )
    if max_slowdown is not None and not max_slowdown >= 1:
        raise InputError(f"--max-slowdown is {max_slowdown:g}; a ratio to the int8 file's latency is at least 1")
    if activations == "int8":
        return
    if method == "qat":
        raise UnsupportedError(
            f"training with fake quantization computes in int8, and --activations {activations} is asked for; give "
            "--method ptq, or leave --activations out"
        )
    elsewhere = [name for name, target in targets.items() if target.kernels or target.accelerator]
    if activations == "mixed" and elsewhere:
        raise UnsupportedError(
            f"--activations mixed measures latency on this machine's LiteRT, which says nothing of the target "
            f"{elsewhere[0]}; give --activations int16 for it, or compile the .tflite that --target cpu makes"
        )


def quantize_activations(
    graph: Graph,
    images: Samples,
    chosen: PostTraining,
    activations: Activations = "int8",
    max_slowdown: float | None = None,
    *,
    progress: Progress | None = None,
) -> Quantized:
    """Quantizes after training, with activations in int8, in int16 where LiteRT has 16x8 kernels, or in both.

    Args:
        graph: Float graph; lowered for its target already.
        images: float32 (N, H, W, C), or a `Batch`.
        chosen: Choices of the quantization.
        activations: "int8", "int16", or "mixed": int16 where it takes most of the error away within the budget.
        max_slowdown: Budget of mixed: latency of the file over that of the int8 file; None for 1.1.
        progress: Called with what is being done and the share of it that is done, 0..1.

    Raises:
        InputError: No images, or an unknown range method.
        UnsupportedError: An op has no int8 form, or no op has a 16x8 kernel.
    """
    told = progress or (lambda _name, _share: None)
    if activations != "int8" and not int16_ops(graph):
        raise UnsupportedError(
            f"no op of the model has a 16x8 kernel in LiteRT; leave --activations {activations} out. "
            f"These have one: {', '.join(sorted(INT16_KINDS))}"
        )
    if activations == "int16":
        wide = replace(chosen, wide=int16_ops(graph))
        return _told(quantize_ptq(graph, images, wide, progress=told), graph, wide.wide, activations, {}, {})
    quantized = quantize_ptq(graph, images, chosen, progress=told)
    if activations == "int8":
        return quantized
    return _mixed(graph, images, chosen, quantized, max_slowdown or MAX_SLOWDOWN, told)


def _mixed(
    graph: Graph, images: Samples, chosen: PostTraining, int8: Quantized, max_slowdown: float, told: Progress
) -> Quantized:
    shares = noise_shares(scores_of(int8.graph), images[:_NOISE_IMAGES], told)
    with tempfile.TemporaryDirectory() as name:
        files = _Files(graph, images[:_TIMING_IMAGES], chosen, Path(name))
        told("time of layers at 16 bits", 0.0)
        costs = _Costs.measured(files)
        told("time of layers at 16 bits", 0.5)
        picks = _picked(graph, shares, costs, (max_slowdown - 1) * costs.int8_ms)
        wide, slowdown = _kept(picks, files.slowdown, max_slowdown)
    told("time of layers at 16 bits", 1.0)
    alone = {name: costs.of(frozenset([name])) / costs.int8_ms for name in int16_ops(graph)}
    made = quantize_ptq(graph, images, replace(chosen, wide=wide), progress=told) if wide else int8
    if wide and not _is_nearer(made, int8):
        made, wide, slowdown = int8, frozenset(), 1.0
    settings = {"max_slowdown": max_slowdown, "slowdown": round(slowdown, 3)}
    found = _told(made, graph, wide, "mixed", shares, alone)
    return replace(found, settings={**found.settings, **settings})


def _is_nearer(made: Quantized, other: Quantized) -> bool:
    """Returns whether a graph comes nearer to float than another: fitting may take more than 16 bits bring."""
    ours, theirs = (math.inf if side.steps[-1].snr_db is None else side.steps[-1].snr_db for side in (made, other))
    return ours > theirs


def _kept(
    picks: list[frozenset[str]], slowdown_of: Callable[[frozenset[str]], float], max_slowdown: float
) -> tuple[frozenset[str], float]:
    """The ops of as many picks, from the first on, as keep to the budget together, by bisection; and their slowdown."""
    wide, kept, most, found = frozenset[str](), 0, len(picks), 1.0
    tried = most
    while kept < most:
        ops = frozenset[str]().union(*picks[:tried])
        slowdown = slowdown_of(ops)
        if slowdown <= max_slowdown:
            wide, kept, found = ops, tried, slowdown
        else:
            most = tried - 1
        tried = (kept + most + 1) // 2
    return wide, found


@dataclass(frozen=True)
class _Files:
    """Files whose ops lie in int8 and int16 as in those that ship, made quickly, for their time alone.

    Attributes:
        graph: The float graph.
        images: Few samples.
        chosen: Choices of the quantization.
        folder: Folder of the files.
    """

    graph: Graph
    images: Samples
    chosen: PostTraining
    folder: Path

    def write(self, name: str, wide: frozenset[str] = frozenset()) -> Path:
        """Writes the file with these ops in int16."""
        quick = replace(self.chosen, effort="fast", ranges="min-max", wide=wide)
        path = self.folder / f"{name}.tflite"
        write_bytes(path, write_tflite(quantize_ptq(self.graph, self.images, quick).graph))
        return path

    def slowdown(self, wide: frozenset[str]) -> float:
        """The latency with these ops in int16 over that of int8, of the fastest runs: other work only adds to them."""
        timings = time_in_turns([self.write("int8"), self.write("mixed", wide)], seconds=_SECONDS)
        int8_ms, mixed_ms = (float(timing.samples_ms.min()) for timing in timings)
        return mixed_ms / int8_ms


def scores_of(graph: Graph) -> Graph:
    """The graph up to what its first output's SOFTMAX or LOGISTIC reads, whose steps say more than those of shares."""
    op = graph.producers().get(graph.outputs[0])
    if op is None or op.kind not in ("LOGISTIC", "SOFTMAX"):
        return graph
    return without_dead(graph.replaced(outputs=[str(op.inputs[0])]))


def _told(
    made: Quantized,
    graph: Graph,
    wide: Iterable[str],
    activations: Activations,
    shares: dict[str, float],
    costs: dict[str, float],
) -> Quantized:
    """The quantized graph with a row for every op that computes real values."""
    layers = tuple(
        LayerBits(op.outputs[0], op.kind, 16 if op.outputs[0] in wide else 8, shares.get(name), costs.get(name))
        for op in graph.ops
        for name in op.outputs[:1]
        if graph.tensors[name].dtype.startswith("float")
    )
    return replace(made, layers=layers, settings={**made.settings, "activations": activations})


@dataclass(frozen=True)
class _Costs:
    """Milliseconds that ops at 16 bits take longer, conversions included.

    Attributes:
        graph: The float graph.
        int8_ms: Milliseconds of all ops in int8.
        added_ms: Milliseconds that each op takes longer in int16, by its first output.
        to_16_ms: Milliseconds of an element's conversion from int8.
        to_8_ms: Milliseconds of an element's conversion to int8.
    """

    graph: Graph
    int8_ms: float
    added_ms: dict[str, float]
    to_16_ms: float
    to_8_ms: float

    @classmethod
    def measured(cls, files: _Files) -> _Costs:
        """Times every op in int8 and in int16, and a conversion each way."""
        graph = files.graph
        wide = int16_ops(graph)
        ms, ms_16 = (
            {row.output: row.ms for row in op_latency(path)}
            for path in (files.write("int8"), files.write("int16", wide))
        )
        added = {name: ms_16[f"{name}/int16" if name in graph.outputs else name] - ms[name] for name in wide}
        path = files.folder / "conversions.tflite"
        write_bytes(path, write_tflite(_conversions()))
        to_16, to_8 = (row.ms / _CONVERTED for row in op_latency(path))
        return cls(graph, sum(ms.values()), added, to_16, to_8)

    def of(self, wide: frozenset[str]) -> float:
        """Milliseconds that the graph takes longer with these ops in int16."""
        made, in_16 = widened(self.graph, wide)
        conversions = [op.outputs[0] for op in made.ops if op.kind == "QUANTIZE"]
        moved = sum(
            (self.to_16_ms if name in in_16 else self.to_8_ms) * math.prod(made.tensors[name].shape)
            for name in conversions
        )
        return moved + sum(self.added_ms[name] for name in wide)


def _conversions() -> Graph:
    """A graph that brings int8 to int16 and back."""
    fine, coarse = Quantization.per_tensor(1e-3, 0), Quantization.per_tensor(0.1, 3)
    shape = (1, _CONVERTED)
    tensors = [
        Tensor("steps", shape, "int8", coarse),
        Tensor("wide", shape, "int16", fine),
        Tensor("back", shape, "int8", coarse),
    ]
    ops = (Op("QUANTIZE", ("steps",), ("wide",)), Op("QUANTIZE", ("wide",), ("back",)))
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("steps",), ("back",))


def _picked(graph: Graph, shares: dict[str, float], costs: _Costs, budget_ms: float) -> list[frozenset[str]]:
    """Sets of ops that leave one more activation unrounded each, by falling share of the error for their time.

    An activation is in int16 for what reads it where the op that makes it and those that read it are; activations
    beside each other share ops and conversions, so that costs are those of all picks so far together.
    """
    # What a caller gets is int8 again.
    worth = [name for name, share in shares.items() if share > _LEAST_SHARE and name not in graph.outputs]
    around = {name: _around(graph, name) for name in worth}
    open_names = {name: ops for name, ops in around.items() if ops}
    picks: list[frozenset[str]] = []
    wide: frozenset[str] = frozenset()
    spent = 0.0
    while True:
        costs_with = {name: costs.of(wide | ops) for name, ops in open_names.items()}
        fitting = {name: cost for name, cost in costs_with.items() if cost <= budget_ms}
        if not fitting:
            return picks
        # A pick between two others may save conversions: it costs nothing.
        name = max(fitting, key=lambda name: shares[name] / max(fitting[name] - spent, 1e-6))
        picks.append(open_names.pop(name))
        wide, spent = wide | picks[-1], fitting[name]


def _around(graph: Graph, name: str) -> frozenset[str]:
    """The ops that must be in int16 for an activation to stay so; none where one of them has no such kernel."""
    makers, readers, able = graph.producers(), graph.consumers(), int16_ops(graph)
    names, ops = [name], set[str]()
    while names:
        tensor = names.pop()
        beside = [makers[tensor], *readers[tensor]] if tensor in makers else readers[tensor]
        for op in beside:
            if op.outputs[0] in ops:
                continue
            ops.add(op.outputs[0])
            if op.outputs[0] not in able:
                return frozenset()
            # An op that only moves steps passes them on.
            names += [output for output in op.outputs if info(op).shared_scale]
    return frozenset(ops) if name in makers else frozenset()
