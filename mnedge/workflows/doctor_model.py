"""`doctor MODEL`: what a model is, what mnedge does with it, what it has to be told, what each target makes of it."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import registry, targets
from mnedge.artifact import size_bytes
from mnedge.codegen.lower import SUPPORTED, lower
from mnedge.errors import MnedgeError
from mnedge.foreign import is_file, is_folder
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_metadata import labels_of
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.heads import head_of
from mnedge.graph.kernels import KERNELS
from mnedge.graph.macs import graph_macs, graph_parameters
from mnedge.graph.precision import float_ops
from mnedge.passes._pass import run_passes
from mnedge.passes.fold_preprocessing import leading_affine
from mnedge.pixels import RANGES, Pixels
from mnedge.progress import telling
from mnedge.quantization.honesty import way_out
from mnedge.quantization.scheme import INT8_KINDS, check_float
from mnedge.report import figures
from mnedge.results.diagnosis import Diagnosis, End, Need, Outlook
from mnedge.sources import OpenSizeError, open_source, source_of
from mnedge.sources._family import family_of_graph
from mnedge.sources._pixels import picture_order
from mnedge.workflows.inspect import inspect
from mnedge.workflows.optimize import is_quantized, loads, passes_for, rewrite
from mnedge.workflows.quantize import lowered
from mnedge.workflows.settle_pixels import settle_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnedge.graph.graph import Graph
    from mnedge.progress import Progress
    from mnedge.results.inspection import EndRow
    from mnedge.sources import Float
    from mnedge.targets import Target

# The size that a model of an open one is looked at with: MobileNet's own.
_ASSUMED = (224, 224)
_AT_THE_ENDS = ("QUANTIZE", "DEQUANTIZE")
_CLASSES = ("softmax", "logits", "multi-label")
_PACKAGE = "mnedge.targets"


@dataclass(frozen=True, eq=False)
class _Looked:
    """A float model with what is known of its pixels, the size that was assumed for it, and the options told so far."""

    path: Path
    network: Float
    pixels: Pixels | None
    origin: str
    assumed: tuple[int, int] | None
    told: str

    @property
    def is_picture(self) -> bool:
        """Whether its only input is a picture."""
        return len(self.network.graph.inputs) == 1 and picture_order(self.network.graph) is not None


def diagnose(
    model: Path | str,
    data: str | None = None,
    *,
    pixels: Pixels | str | None = None,
    size: tuple[int, int] | None = None,
    signature: str | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Reads a model and says what it is, what mnedge does with it and what it has to be told. Nothing is quantized.

    Args:
        model: A .keras, .h5, SavedModel folder, .tflite or .onnx, float or int8.
        data: Labelled pictures, a folder or a labels.csv, that may show the range of the pixels; None for none.
        pixels: Range of the pixels as `Pixels.parse` reads it; None for what the model says.
        size: Height and width in pixels, where the model leaves them open.
        signature: Signature of a SavedModel to take; None for its default or only one.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: There is no model at the path, it is damaged, or it contradicts what is told.
        UnsupportedError: It holds what cannot be brought in, e.g. a Lambda layer; the message names the way out.
    """
    path, told = Path(model), telling(progress)
    if path.suffix == ".onnx" and path.exists() and inspect(path).quantized:
        return _of_int8_onnx(path)
    source = source_of(path)
    if is_file(path) and path.suffix == ".tflite":
        graph = read_tflite(path)
        if is_quantized(graph):
            return _of_int8(path, graph)
    told("read the model", 0.0)
    network, assumed = _opened(path, size, signature)
    told("read the model", 1.0)
    asked = Pixels.parse(pixels) if isinstance(pixels, str) else pixels
    options = _options(size or assumed, pixels, signature)
    origin = "told" if asked else network.pixels_origin
    looked = _Looked(path, network, asked or network.pixels, origin, assumed, options)
    notes = list(network.notes)
    if data is not None:
        from mnedge.data import open_dataset

        settled = settle_pixels(path, network, open_dataset(data), asked, notice=notes.append, progress=told)
        looked = replace(looked, pixels=settled, origin="shown" if looked.pixels is None else origin)
    found = network.graph
    outlooks = tuple(_outlook(looked, name) for name in registry.names(_PACKAGE))
    return Diagnosis(
        path=str(path),
        what=source.what,
        bytes=_bytes(path),
        precision="float",
        family=network.family,
        alpha=network.alpha,
        parameters=graph_parameters(found),
        macs=graph_macs(found),
        inputs=tuple(_input(found, name, assumed) for name in found.inputs),
        outputs=tuple(End(output.name, output.shape, "float32", output.head) for output in network.outputs),
        assumed_size=assumed,
        pixels=None if looked.pixels is None else str(looked.pixels),
        pixels_origin=looked.origin,
        labels=network.labels,
        notes=tuple(notes),
        plan=_plan(looked),
        needs=_needs(looked),
        commands=_commands(looked, data, outlooks),
        targets=outlooks,
    )


def _opened(path: Path, size: tuple[int, int] | None, signature: str | None) -> tuple[Float, tuple[int, int] | None]:
    """The network; where its size is open and not told, with an assumed one."""
    try:
        return open_source(path, size, signature), None
    except OpenSizeError:
        return open_source(path, _ASSUMED, signature), _ASSUMED


def _options(size: tuple[int, int] | None, pixels: Pixels | str | None, signature: str | None) -> str:
    """The options of a command that repeat what was told; a range may begin with a dash."""
    words = "" if size is None else f" --size {size[0]}x{size[1]}"
    words += "" if signature is None else f" --signature {shlex.quote(signature)}"
    return words if pixels is None else f"{words} {shlex.quote(f'--pixels={pixels}')}"


def _bytes(path: Path) -> int:
    if is_folder(path):
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return size_bytes(path)


def _input(graph: Graph, name: str, assumed: tuple[int, int] | None) -> End:
    tensor = graph.tensors[name]
    is_open = assumed is not None and len(tensor.shape) == 4
    return End(name, (1, -1, -1, tensor.shape[3]) if is_open else tensor.shape, tensor.dtype)


def _plan(looked: _Looked) -> tuple[str, ...]:
    """What happens to a float model on its way to int8 for the first target, a sentence each."""
    graph = looked.network.graph
    said = []
    folded = leading_affine(graph)
    if looked.is_picture and folded is not None:
        kinds = _counted(Counter(op.kind for op in folded.ops))
        said.append(f"The preparation of the pixels ({kinds}) goes into the int8 input, which is the pixel minus 128")
    elif looked.is_picture:
        said.append("The int8 input is the pixel minus 128: no app has to scale")
    try:
        start = _start(looked)
        after, changes = rewrite(start, targets.get("cpu").passes)
    except MnedgeError as exc:
        return (*said, f"The passes of the target cpu stop: {exc}")
    said += [
        f"{change.name}: {change.what.rstrip('.')} ({_difference(change.removed, change.added)})" for change in changes
    ]
    int8 = Counter(op.kind for op in after.ops if op.kind in INT8_KINDS)
    said.append(f"{int8.total()} of {len(after.ops)} ops become int8: {_counted(int8)}")
    return tuple(said)


def _difference(removed: Mapping[str, int], added: Mapping[str, int]) -> str:
    words = [f"-{count} {kind}" for kind, count in removed.items()] + [
        f"+{count} {kind}" for kind, count in added.items()
    ]
    return ", ".join(words) or "constants only"


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())


def _start(looked: _Looked, passes: Iterable[str] = ()) -> Graph:
    """The float graph after some passes, with the preparation of its pixels taken out as quantizing takes it."""
    graph, order = looked.network.graph, picture_order(looked.network.graph)
    if not looked.is_picture or order is None:
        return run_passes(graph, passes)
    # Which range it is changes constants, never ops: any will do to see what becomes of them.
    known = looked.pixels or Pixels.parse("-1..1", order)
    return lowered(graph, known, tuple(passes), "int8")[0]


def _needs(looked: _Looked) -> tuple[Need, ...]:
    network = looked.network
    # Of several outputs the one that tells classes apart is what labels are of.
    first = next((output for output in network.outputs if output.head in _CLASSES), network.outputs[0])
    found = []
    if len(network.graph.inputs) > 1:
        names = ", ".join(network.graph.inputs)
        why = f"It has {len(network.graph.inputs)} inputs: samples of each as an array of its name ({names})"
        found.append(Need("--data FILE.npz", why, required=True))
    elif not looked.is_picture:
        found.append(
            Need("--data FILE.npy", "Its input is no picture: inputs as the model takes them are needed", required=True)
        )
    if looked.assumed is not None:
        found.append(
            Need("--size HEIGHTxWIDTH", "The height and width are open; 224x224 is assumed on this page", required=True)
        )
    if looked.is_picture and looked.pixels is None:
        ranges = ", ".join(RANGES)
        why = f"Nothing in it says the range of its pixels ({ranges}); pictures of its classes in --data may show it"
        found.append(Need("--pixels RANGE", why, required=True))
    if first.head in _CLASSES and not network.labels:
        count = first.shape[-1]
        why = f"It names none of its {count} classes; without, the folders of --data are taken in the order of names"
        found.append(Need("--labels FILE", why, required=False))
    if first.head == "sigmoid":
        found.append(
            Need("--positive CLASS", "One output, yes or no: where --data has more than two classes", required=False)
        )
    # Rows of numbers, such as key points, are no scores of classes.
    if first.head == "numbers" and math.prod(first.shape) == first.shape[-1] > 1 and not network.labels:
        why = f"Its {first.shape[-1]} numbers are logits of classes if they have names, else a regression"
        found.append(Need("--labels FILE", why, required=False))
    return tuple(found)


def _commands(looked: _Looked, data: str | None, outlooks: tuple[Outlook, ...]) -> tuple[str, ...]:
    """Commands that build it, complete but for words in capitals."""
    name = shlex.quote(str(looked.path))
    stem = shlex.quote(f"{looked.path.name.removesuffix(looked.path.suffix)}.int8.tflite")
    if not looked.is_picture:
        given = f"{name} --data INPUTS.{'npy' if len(looked.network.graph.inputs) == 1 else 'npz'}{looked.told}"
        return (f"mnedge build {given} --int8", f"mnedge quantize {given} -o {stem}")
    source = "PICTURES" if data is None else shlex.quote(data)
    pixels = " --pixels RANGE" if looked.pixels is None else ""
    yes = " --positive CLASS" if looked.network.outputs[0].head == "sigmoid" else ""
    given = f"{name} --data {source}{looked.told}{pixels}"
    found = [f"mnedge quantize {given}{yes} -o {stem}"]
    if looked.network.outputs[0].head != "map":
        built = f"mnedge build {given}{yes} --int8"
        compiled = _compilable(outlooks)
        found = [built, *([f"{built} --target {compiled}"] if compiled else []), *found]
    return tuple(found)


def _compilable(outlooks: tuple[Outlook, ...]) -> str | None:
    """The first target that makes C of the model; None where none does."""
    return next((row.target for row in outlooks if row.verdict == "int8" and targets.get(row.target).kernels), None)


def _outlook(looked: _Looked, name: str) -> Outlook:
    """What becomes of a float model for a target: its passes are run, and its ops looked up."""
    target = targets.get(name)
    try:
        graph = _start(looked, target.passes)
    except MnedgeError as exc:
        return Outlook(name, "refused", len(looked.network.graph.ops), {}, {}, str(exc))
    left = [op for op in graph.ops if op.kind not in INT8_KINDS]
    floats = Counter(op.kind for op in left)
    without = Counter(op.kind for op in graph.ops if target.kernels and op.kind not in (*SUPPORTED, *_AT_THE_ENDS))
    verdict: Literal["int8", "float ops", "refused"] = "float ops" if floats else "int8"
    reason = ""
    if without:
        verdict, reason = "refused", f"its C has no kernel for {_counted(without)}"
    elif floats and (target.kernels or any(kind not in KERNELS for kind in floats)):
        verdict, reason = "refused", f"no int8 form of {_counted(floats)}; {way_out(left)}"
        if target.kernels:
            reason = f"no int8 form of {_counted(floats)}, and its C has no float"
    else:
        try:
            check_float(graph, frozenset(floats))
        except MnedgeError as exc:
            verdict, reason = "refused", str(exc)
    return Outlook(name, verdict, len(graph.ops), floats, without, reason, _fits(target, graph, floats))


def _fits(target: Target, graph: Graph, floats: Counter[str]) -> tuple[str, ...]:
    """What will be slow or does not fit, a sentence each."""
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
        found.append(f"{_counted(floats)} run in float on the Cortex-M beside the NPU, which is slow")
    elif floats and not target.kernels:
        found.append(f"{_counted(floats)} need --allow-float and run in float between QUANTIZE and DEQUANTIZE, slower")
    return tuple(found)


def _of_int8(path: Path, graph: Graph) -> Diagnosis:
    """An int8 .tflite, anybody's: what optimize, compile and the runtimes make of it."""
    known = pixels_of(path)
    labels, _ = labels_of(graph)
    family = family_of_graph(graph)
    left = float_ops(graph)
    notes = []
    if left:
        kinds = _counted(Counter(op.kind for op in left))
        notes.append(f"{len(left)} of {len(graph.ops)} ops compute in float: {kinds}")
    loaded: dict[bytes, str | None] = {}
    outlooks = tuple(_outlook_of_int8(graph, name, loaded) for name in registry.names(_PACKAGE))
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
    compiled = _compilable(outlooks)
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
        plan=("It is quantized already: build and quantize take the float model that it was made from",),
        needs=(Need("--pixels RANGE", why, required=True),) if asked else (),
        commands=tuple(commands),
        targets=outlooks,
    )


def _end(graph: Graph, name: str, head: str | None = None) -> End:
    tensor = graph.tensors[name]
    return End(name, tensor.open_shape or tensor.shape, tensor.dtype, head)


def _outlook_of_int8(graph: Graph, name: str, loaded: dict[bytes, str | None]) -> Outlook:
    """What a target makes of an int8 graph after its passes; `loaded` keeps what LiteRT said of each file so far."""
    target = targets.get(name)
    try:
        graph = run_passes(graph, passes_for(graph, name))
    except MnedgeError as exc:
        return Outlook(name, "refused", len(graph.ops), {}, {}, str(exc))
    floats = Counter(op.kind for op in float_ops(graph))
    without = Counter(op.kind for op in graph.ops if target.kernels and op.kind not in (*SUPPORTED, *_AT_THE_ENDS))
    verdict: Literal["int8", "float ops", "refused"] = "float ops" if floats else "int8"
    reason = ""
    if without:
        verdict, reason = "refused", f"its C has no kernel for {_counted(without)}"
    elif floats and target.kernels:
        verdict, reason = "refused", f"{_counted(floats)} compute in float, and its C has no float"
    elif target.kernels:
        try:
            lower(graph)
        except MnedgeError as exc:
            verdict, reason = "refused", str(exc)
    elif not target.accelerator and (said := _refusal(graph, loaded)):
        verdict, reason = "refused", f"LiteRT does not load what its passes make of it: {said}"
    return Outlook(name, verdict, len(graph.ops), floats, without, reason, _fits_int8(target, graph, floats))


def _refusal(graph: Graph, loaded: dict[bytes, str | None]) -> str | None:
    """Why LiteRT cannot load a graph; None where it can."""
    content = write_tflite(graph)
    if content not in loaded:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.tflite"
            path.write_bytes(content)
            loaded[content] = loads(path)
    return loaded[content]


def _fits_int8(target: Target, graph: Graph, floats: Counter[str]) -> tuple[str, ...]:
    if floats and not target.kernels and not target.accelerator:
        return (f"{_counted(floats)} run in float, slower",)
    return _fits(target, graph, floats)


def _of_int8_onnx(path: Path) -> Diagnosis:
    """An int8 .onnx, anybody's: what ONNX Runtime makes of it, and other targets of the .tflite that it becomes."""
    from mnedge.results.inspection import Refusal

    found = inspect(path)
    held = found.contents
    known = pixels_of(path)
    floats = Counter(name.split(" ")[0] for name in found.float_ops or ())
    refusal = found.runtime.error if isinstance(found.runtime, Refusal) else ""
    graph, unread = _read_int8(path)
    loaded: dict[bytes, str | None] = {}
    rows = []
    for name in registry.names(_PACKAGE):
        if "onnx" not in targets.get(name).formats and graph is not None:
            rows.append(_outlook_of_int8(graph, name, loaded))
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
    compiled = _compilable(tuple(rows))
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
        plan=("It is quantized already: build and quantize take the float model that it was made from",),
        needs=(Need("--pixels RANGE", "Its metadata do not say the range of its pixels", required=True),)
        if asked
        else (),
        commands=tuple(commands),
        targets=tuple(rows),
    )


def _read_int8(path: Path) -> tuple[Graph | None, str]:
    """The int8 graph of a QDQ .onnx, or why it is none."""
    from mnedge.sources.onnx import read_int8

    try:
        return read_int8(path), ""
    except MnedgeError as exc:
        return None, str(exc)


def _of_row(row: EndRow) -> End:
    return End(row.name, row.shape, row.dtype)
