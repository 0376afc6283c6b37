"""Outlooks of `doctor MODEL`: a target's view of an int8 graph, and what is slow or does not fit."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import targets
from mnedge.codegen.lower import SUPPORTED, lower
from mnedge.codegen.obstacles import AT_THE_ENDS
from mnedge.errors import MnedgeError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.macs import graph_parameters
from mnedge.graph.precision import float_ops
from mnedge.passes._pass import run_passes
from mnedge.report import figures
from mnedge.results.diagnosis import Outlook
from mnedge.workflows.optimize import loads, passes_for

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph
    from mnedge.targets import Target


def without_kernel(graph: Graph, target: Target) -> Counter[str]:
    """Counts the ops that a target's C has no kernel for, by kind; none for a target that takes no C."""
    if not target.kernels:
        return Counter()
    return Counter(op.kind for op in graph.ops if op.kind not in (*SUPPORTED, *AT_THE_ENDS))


def counted(kinds: Counter[str]) -> str:
    """Kinds with their numbers, the most frequent first."""
    return ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())


def compilable(outlooks: tuple[Outlook, ...]) -> str | None:
    """The first target that makes C of the model; None where none does."""
    return next((row.target for row in outlooks if row.verdict == "int8" and targets.get(row.target).kernels), None)


def fits(target: Target, graph: Graph, floats: Counter[str]) -> tuple[str, ...]:
    """Obstacles to speed and size, a sentence each."""
    found = []
    weights = graph_parameters(graph)
    if target.kernels and target.flash_bytes and weights > target.flash_bytes:
        found.append(
            f"{figures.size(weights)} of weights do not fit the {figures.size(target.flash_bytes)} of flash that a "
            "typical part has"
        )
    if target.accelerator and not floats:
        found.append("Vela decides which of them the NPU runs")
    elif target.accelerator:
        found.append(f"{counted(floats)} run in float on the Cortex-M beside the NPU, which is slow")
    elif floats and not target.kernels:
        found.append(f"{counted(floats)} need --allow-float and run in float between QUANTIZE and DEQUANTIZE, slower")
    return tuple(found)


def int8_outlook(graph: Graph, name: str, loaded: dict[bytes, str | None]) -> Outlook:
    """Returns the outlook of an int8 graph for a target; `loaded` keeps LiteRT's refusals of the files so far."""
    target = targets.get(name)
    try:
        graph = run_passes(graph, passes_for(graph, name))
    except MnedgeError as exc:
        return Outlook(name, "refused", len(graph.ops), {}, {}, str(exc))
    floats = Counter(op.kind for op in float_ops(graph))
    without = without_kernel(graph, target)
    verdict: Literal["int8", "float ops", "refused"] = "float ops" if floats else "int8"
    reason = ""
    if without:
        verdict, reason = "refused", f"its C has no kernel for {counted(without)}"
    elif floats and target.kernels:
        verdict, reason = "refused", f"{counted(floats)} compute in float, and its C has no float"
    elif target.kernels:
        try:
            lower(graph)
        except MnedgeError as exc:
            verdict, reason = "refused", str(exc)
    elif not target.accelerator and (said := _refusal(graph, loaded)):
        verdict, reason = "refused", f"LiteRT does not load what its passes make of it: {said}"
    return Outlook(name, verdict, len(graph.ops), floats, without, reason, _fits_int8(target, graph, floats))


def _refusal(graph: Graph, loaded: dict[bytes, str | None]) -> str | None:
    """Reason why LiteRT cannot load a graph; None if it can."""
    content = write_tflite(graph)
    if content not in loaded:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.tflite"
            path.write_bytes(content)
            loaded[content] = loads(path)
    return loaded[content]


def _fits_int8(target: Target, graph: Graph, floats: Counter[str]) -> tuple[str, ...]:
    if floats and not target.kernels and not target.accelerator:
        return (f"{counted(floats)} run in float, slower",)
    return fits(target, graph, floats)
