"""`doctor MODEL` for an int8 .tflite or .onnx, whose only ways are rewriting, compiling and running."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Literal

from mnedge import registry, targets
from mnedge.errors import MnedgeError
from mnedge.files import size_bytes
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_metadata import labels_of
from mnedge.graph.heads import head_of
from mnedge.graph.macs import graph_macs, graph_parameters
from mnedge.graph.precision import float_ops
from mnedge.results.diagnosis import Diagnosis, End, Need, Outlook
from mnedge.sources._family import family_of_graph
from mnedge.sources._pixels import picture_order
from mnedge.workflows.doctor_outlook import compilable, counted, int8_outlook
from mnedge.workflows.inspect import inspect
from mnedge.workflows.optimize import loads

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.results.inspection import EndRow


_PLAN = ("It is quantized already: build and quantize take the float model that it was made from",)


def diagnose_tflite(path: Path, graph: Graph) -> Diagnosis:
    """Diagnoses an int8 .tflite: the ways of optimize and compile, and the runtimes."""
    known = pixels_of(path)
    labels, _ = labels_of(graph)
    family = family_of_graph(graph)
    left = float_ops(graph)
    notes = []
    if left:
        kinds = counted(Counter(op.kind for op in left))
        notes.append(f"{len(left)} of {len(graph.ops)} ops compute in float: {kinds}")
    loaded: dict[bytes, str | None] = {}
    outlooks = tuple(int8_outlook(graph, name, loaded) for name in registry.names("mnedge.targets"))
    refusal = loads(path)
    if refusal is not None:
        mended = "; `mnedge optimize` mends that" if None in loaded.values() else ""
        notes.append(f"LiteRT does not load it as it is: {refusal}{mended}")
    name, stem = shlex.quote(str(path)), shlex.quote(path.stem)
    asked = "" if known is not None or picture_order(graph) is None else " --pixels RANGE"
    commands = [
        f"mnedge inspect {name}",
        f"mnedge optimize {name} --target cpu -o {stem}.cpu.tflite",
        f"mnedge validate {name} --data PICTURES{asked}",
    ]
    compiled = compilable(outlooks)
    if compiled is not None:
        commands.append(f"mnedge compile {name} --target {compiled} --out {stem}-c")
    why = "Neither its metadata nor the steps of its input say the range of its pixels"
    return Diagnosis(
        path=str(path),
        what="an int8 .tflite",
        bytes=size_bytes(path),
        precision="int8",
        family=family and family[0],
        alpha=family and family[1],
        parameters=graph_parameters(graph),
        macs=graph_macs(graph),
        inputs=tuple(_end(graph, end) for end in graph.inputs),
        outputs=tuple(_end(graph, end, head_of(graph, end)) for end in graph.outputs),
        assumed_size=None,
        pixels=None if known is None else str(known),
        pixels_origin="unknown" if known is None else "metadata",
        labels=labels,
        notes=tuple(notes),
        plan=_PLAN,
        needs=(Need("--pixels RANGE", why, required=True),) if asked else (),
        commands=tuple(commands),
        targets=outlooks,
    )


def _end(graph: Graph, name: str, head: str | None = None) -> End:
    tensor = graph.tensors[name]
    return End(name, tensor.open_shape or tensor.shape, tensor.dtype, head)


def diagnose_onnx(path: Path) -> Diagnosis:
    """Diagnoses an int8 .onnx: ONNX Runtime takes the file, other targets the .tflite that it becomes."""
    from mnedge.results.inspection import Refusal

    found = inspect(path)
    held = found.contents
    known = pixels_of(path)
    floats = Counter(name.split(" ")[0] for name in found.float_ops or ())
    refusal = found.runtime.error if isinstance(found.runtime, Refusal) else ""
    graph, unread = _read_int8(path)
    loaded: dict[bytes, str | None] = {}
    rows = []
    for name in registry.names("mnedge.targets"):
        if "onnx" not in targets.get(name).formats and graph is not None:
            rows.append(int8_outlook(graph, name, loaded))
            continue
        verdict: Literal["int8", "float ops", "refused"] = "float ops" if floats else "int8"
        reason = refusal
        if "onnx" not in targets.get(name).formats:
            reason = f"it takes a .tflite, and mnedge makes none of this .onnx: {unread}"
        rows.append(Outlook(name, "refused" if reason else verdict, held.op_count, floats, {}, reason))
    name, stem = shlex.quote(str(path)), shlex.quote(path.stem)
    asked = "" if known is not None else " --pixels RANGE"
    commands = [f"mnedge inspect {name}", f"mnedge validate {name} --data PICTURES{asked}", f"mnedge bench {name}"]
    if graph is not None:
        commands.append(f"mnedge optimize {name} -o {stem}.tflite")
    compiled = compilable(tuple(rows))
    if compiled is not None:
        commands.append(f"mnedge compile {name} --target {compiled} --out {stem}-c")
    return Diagnosis(
        path=str(path),
        what="an int8 .onnx",
        bytes=found.bytes,
        precision="int8",
        family=None,
        alpha=None,
        parameters=held.parameters,
        macs=held.macs,
        inputs=tuple(_of_row(row) for row in held.inputs),
        outputs=tuple(_of_row(row) for row in held.outputs),
        assumed_size=None,
        pixels=None if known is None else str(known),
        pixels_origin="unknown" if known is None else "metadata",
        labels=(),
        notes=(f"ONNX Runtime does not load it: {refusal}",) if refusal else (),
        plan=_PLAN,
        needs=(Need("--pixels RANGE", "Its metadata do not say the range of its pixels", required=True),)
        if asked
        else (),
        commands=tuple(commands),
        targets=tuple(rows),
    )


def _read_int8(path: Path) -> tuple[Graph | None, str]:
    """Returns the int8 graph of a QDQ .onnx, or the reason why it cannot be read."""
    from mnedge.sources.onnx import read_int8

    try:
        return read_int8(path), ""
    except MnedgeError as exc:
        return None, str(exc)


def _of_row(row: EndRow) -> End:
    return End(row.name, row.shape, row.dtype)
