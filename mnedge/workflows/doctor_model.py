"""`doctor MODEL`: a model's content, its way to int8, the options that it needs, and its outlook for each target."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import registry, targets
from mnedge.errors import MnedgeError
from mnedge.files import size_bytes
from mnedge.foreign import is_file, is_folder
from mnedge.formats.tflite_read import read_tflite
from mnedge.graph.kernels import KERNELS
from mnedge.graph.macs import graph_macs, graph_parameters
from mnedge.passes._pass import run_passes
from mnedge.passes.fold_preprocessing import leading_affine
from mnedge.pixels import RANGES, Pixels
from mnedge.progress import telling
from mnedge.quantization.honesty import way_out
from mnedge.quantization.scheme import INT8_KINDS, check_float
from mnedge.results.diagnosis import Diagnosis, End, Need, Outlook
from mnedge.sources import OpenSizeError, open_source, source_of
from mnedge.sources._pixels import picture_order
from mnedge.workflows.doctor_int8 import diagnose_onnx, diagnose_tflite
from mnedge.workflows.doctor_outlook import compilable, counted, fits, without_kernel
from mnedge.workflows.inspect import inspect
from mnedge.workflows.optimize import is_quantized, rewrite
from mnedge.workflows.quantize import lowered
from mnedge.workflows.settle_pixels import settle_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnedge.graph.graph import Graph
    from mnedge.progress import Progress
    from mnedge.sources import Float

# The size that a model of an open one is looked at with: MobileNet's own.
_ASSUMED = (224, 224)
_CLASSES = ("softmax", "logits", "multi-label")
_PACKAGE = "mnedge.targets"


@dataclass(frozen=True, eq=False)
class _Looked:
    """A float model, its pixels if known, the size that was assumed, and the options of the user."""

    path: Path
    network: Float
    pixels: Pixels | None
    origin: str
    assumed: tuple[int, int] | None
    options: str

    @property
    def is_picture(self) -> bool:
        """Returns whether its only input is a picture."""
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
    """Diagnoses a model: its content, its way to int8, and the options that it needs. Nothing is quantized.

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
    path, notify = Path(model), telling(progress)
    if path.suffix == ".onnx" and path.exists() and inspect(path).quantized:
        return diagnose_onnx(path)
    source = source_of(path)
    if is_file(path) and path.suffix == ".tflite":
        graph = read_tflite(path)
        if is_quantized(graph):
            return diagnose_tflite(path, graph)
    notify("read the model", 0.0)
    network, assumed = _opened(path, size, signature)
    notify("read the model", 1.0)
    stated = Pixels.parse(pixels) if isinstance(pixels, str) else pixels
    options = _options(size or assumed, pixels, signature)
    origin = "told" if stated else network.pixels_origin
    looked = _Looked(path, network, stated or network.pixels, origin, assumed, options)
    notes = list(network.notes)
    if data is not None:
        from mnedge.data import open_dataset

        settled = settle_pixels(path, network, open_dataset(data), stated, notice=notes.append, progress=notify)
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
    """Returns the network; an open size that is not stated is assumed."""
    try:
        return open_source(path, size, signature), None
    except OpenSizeError:
        return open_source(path, _ASSUMED, signature), _ASSUMED


def _options(size: tuple[int, int] | None, pixels: Pixels | str | None, signature: str | None) -> str:
    """Returns the user's options for a command; a range may begin with a dash."""
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
    """Changes to a float model on its way to int8 for the first target, a sentence each."""
    graph = looked.network.graph
    said = []
    folded = leading_affine(graph)
    if looked.is_picture and folded is not None:
        kinds = counted(Counter(op.kind for op in folded.ops))
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
    said.append(f"{int8.total()} of {len(after.ops)} ops become int8: {counted(int8)}")
    return tuple(said)


def _difference(removed: Mapping[str, int], added: Mapping[str, int]) -> str:
    words = [f"-{count} {kind}" for kind, count in removed.items()] + [
        f"+{count} {kind}" for kind, count in added.items()
    ]
    return ", ".join(words) or "constants only"


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
    """Commands that build it, complete except for words in capitals."""
    name = shlex.quote(str(looked.path))
    stem = shlex.quote(f"{looked.path.name.removesuffix(looked.path.suffix)}.int8.tflite")
    if not looked.is_picture:
        given = f"{name} --data INPUTS.{'npy' if len(looked.network.graph.inputs) == 1 else 'npz'}{looked.options}"
        return (f"mnedge build {given} --int8", f"mnedge quantize {given} -o {stem}")
    source = "PICTURES" if data is None else shlex.quote(data)
    pixels = " --pixels RANGE" if looked.pixels is None else ""
    yes = " --positive CLASS" if looked.network.outputs[0].head == "sigmoid" else ""
    given = f"{name} --data {source}{looked.options}{pixels}"
    found = [f"mnedge quantize {given}{yes} -o {stem}"]
    if looked.network.outputs[0].head != "map":
        built = f"mnedge build {given}{yes} --int8"
        compiled = compilable(outlooks)
        found = [built, *([f"{built} --target {compiled}"] if compiled else []), *found]
    return tuple(found)


def _outlook(looked: _Looked, name: str) -> Outlook:
    """Outlook of a float model for a target: runs its passes and looks its ops up."""
    target = targets.get(name)
    try:
        graph = _start(looked, target.passes)
    except MnedgeError as exc:
        return Outlook(name, "refused", len(looked.network.graph.ops), {}, {}, str(exc))
    left = [op for op in graph.ops if op.kind not in INT8_KINDS]
    floats = Counter(op.kind for op in left)
    without = without_kernel(graph, target)
    verdict: Literal["int8", "float ops", "refused"] = "float ops" if floats else "int8"
    reason = ""
    if without:
        verdict, reason = "refused", f"its C has no kernel for {counted(without)}"
    elif floats and (target.kernels or any(kind not in KERNELS for kind in floats)):
        verdict, reason = "refused", f"no int8 form of {counted(floats)}; {way_out(left)}"
        if target.kernels:
            reason = f"no int8 form of {counted(floats)}, and its C has no float"
    else:
        try:
            check_float(graph, frozenset(floats))
        except MnedgeError as exc:
            verdict, reason = "refused", str(exc)
    return Outlook(name, verdict, len(graph.ops), floats, without, reason, fits(target, graph, floats))
