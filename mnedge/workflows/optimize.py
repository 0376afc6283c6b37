"""`optimize`: rewrites an existing model for a runtime, with an account of the changes."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import targets
from mnedge.artifact import check_file, deliver, together
from mnedge.data import open_dataset
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.files import size_bytes
from mnedge.foreign import MODEL_BYTES, is_there, read_file
from mnedge.formats.pixels import known_pixels
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.graph.kept import check_kept
from mnedge.passes._pass import run_passes
from mnedge.pixels import CHANNELS, Pixels
from mnedge.progress import telling
from mnedge.results.optimization import AgreementRow, Gain, ModelFile, Optimization, Rewrite
from mnedge.runtimes import open_session
from mnedge.runtimes._runtime import encoded
from mnedge.validation.agreement import agreement
from mnedge.validation.latency import compare, random_inputs, time_in_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.data.dataset import Dataset
    from mnedge.progress import Progress
    from mnedge.runtimes import Session
    from mnedge.untyped import AnyArray

_RANDOM_INPUTS = 64
_FEWEST_INPUTS = 8
_RANDOM_VALUES = 1 << 24
_PICTURES = 200
_TO_INT8 = "uint8-to-int8"
_FOR_INT8_ONLY = ("lower-to-multiply", "lower-hard-swish", "pool-to-mean", "fully-connected-to-conv")


def passes_for(graph: Graph, target: str, *, int8: bool = False) -> tuple[str, ...]:
    """Names of the passes that lower a graph for a target.

    A float graph gets those of the target's passes that help float: the runtimes have float HARD_SWISH, pooling and
    FULLY_CONNECTED of their own. `int8` puts first what brings uint8 to int8, which rounds weights and so is asked
    for; microcontroller targets, which take nothing else, have it of their own.

    Raises:
        InputError: No such target.
    """
    found = targets.get(target)
    if is_quantized(graph):
        return (_TO_INT8, *found.int8_passes) if int8 and _TO_INT8 not in found.int8_passes else found.int8_passes
    return tuple(name for name in found.passes if name not in _FOR_INT8_ONLY)


def is_quantized(graph: Graph) -> bool:
    """Returns whether any activation is int8 or uint8."""
    return any(
        tensor.dtype in ("int8", "uint8") and tensor.quantization is not None and not tensor.is_constant
        for tensor in graph.tensors.values()
    )


def rewrite(graph: Graph, names: Sequence[str]) -> tuple[Graph, list[Rewrite]]:
    """Applies passes one by one and says what each one changed; passes that changed nothing are left out."""
    found = []
    for name in names:
        after = run_passes(graph, (name,))
        account = _difference(name, graph, after)
        if account is not None:
            found.append(account)
            graph = after
    return graph, found


def _difference(name: str, before: Graph, after: Graph) -> Rewrite | None:
    if all(getattr(before, entry.name) == getattr(after, entry.name) for entry in fields(Graph)):
        # Cheap, and true of most passes: tensors are compared by identity.
        return None
    old, new = (Counter(op.kind for op in graph.ops) for graph in (before, after))
    rescaled = rounded = 0
    for tensor in after.tensors.values():
        source = before.tensors.get(tensor.name)
        if source is None or source is tensor:
            continue
        if source.data is not None and tensor.data is not None and not np.array_equal(source.data, tensor.data):
            rounded += 1
        elif source.quantization is not None and tensor.quantization is not None:
            rescaled += not np.array_equal(source.quantization.scale, tensor.quantization.scale)
    if old == new and not rescaled and not rounded and write_tflite(before) == write_tflite(after):
        return None
    return Rewrite(name, _summary(name), dict(old - new), dict(new - old), rescaled, rounded)


def optimize(
    source: Path | str,
    out: Path | str,
    *,
    target: str = "cpu",
    int8: bool = False,
    data: str | None = None,
    pixels: Pixels | str | None = None,
    measure: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> Optimization:
    """Rewrites an existing model for a runtime and writes the result.

    A model with nothing to gain is copied byte for byte. Input and outputs keep name, shape, dtype and scale.

    Args:
        source: A float, int8 or uint8 .tflite, anybody's; or an .onnx, which becomes an .ort or, where `out` is a
            .tflite and it is float or QDQ int8, that.
        out: The new file.
        target: Name of a target.
        int8: Bring uint8 to int8 as well; its weights are rounded where int8 cannot hold them.
        data: Pictures to measure agreement on besides random input: demo, a folder or a labels.csv.
        pixels: Range of pixels as `Pixels.parse` reads it; None for what the file says. Only `data` needs it.
        measure: Measure agreement and speed.
        force: Replace files that are not mnedge's own, unchanged work.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: The file cannot be read, there is no such target, or `out` is not mnedge's to replace.
        UnsupportedError: The model holds an op outside the supported ones.
    """
    source, out, notify = Path(source), Path(out), telling(progress)
    if is_there(out) and is_there(source) and out.samefile(source):
        raise InputError(f"{out} is the input itself, and both are compared; give another name with -o")
    check_file(out, force=force)
    if source.suffix == ".onnx":
        if out.suffix == ".tflite":
            return _to_tflite(source, out, target, force=force)
        return _to_ort(source, out, force=force)
    asked = Pixels.parse(pixels) if isinstance(pixels, str) else pixels
    dataset = None if data is None else open_dataset(data)
    content = read_file(source, MODEL_BYTES)
    known = None if dataset is None or not measure else known_pixels(source, asked)
    graph = parse_tflite(content, str(source))
    _check_shapes(graph, source)
    names = passes_for(graph, target, int8=int8)
    after, rewrites = rewrite(graph, names)
    check_kept(graph, after)
    optimized = write_tflite(after) if rewrites else content
    result = Optimization(
        source=str(source),
        out=str(out),
        target=target,
        passes=tuple(rewrites),
        why="" if rewrites else _why(names, target),
        before=ModelFile(size_bytes(source), len(graph.ops)),
        after=ModelFile(len(optimized), len(after.ops)),
    )
    # What cannot be measured is not left as if it were done.
    with together():
        deliver(out, optimized, force=force)
        if not measure or not rewrites:
            return result
        pictures = None if dataset is None or known is None else (dataset, known)
        return _measured(result, source, out, graph, pictures, notify)


def _check_shapes(graph: Graph, source: Path) -> None:
    """Refuses a graph whose shapes are not known: passes would take an open height for 1."""
    for name in graph.inputs:
        shape = graph.tensors[name].open_shape
        if -1 in shape[1:]:
            extents = " x ".join("?" if extent < 0 else str(extent) for extent in shape)
            raise UnsupportedError(
                f"input {name} of {source} leaves its shape open ({extents}), and rewrites need it; convert the model "
                "with a fixed size first"
            )


def _to_tflite(source: Path, out: Path, target: str, *, force: bool) -> Optimization:
    """Brings a float or QDQ int8 .onnx to .tflite, lowered for a target; `validate` holds both files together."""
    from mnedge.report.inspect_onnx import inspect_onnx
    from mnedge.sources import open_source
    from mnedge.sources.onnx import read_int8

    quantized = any(row.kind in ("DequantizeLinear", "QuantizeLinear") for row in inspect_onnx(source).ops)
    graph = read_int8(source) if quantized else open_source(source).graph
    after, rewrites = rewrite(graph, passes_for(graph, target))
    content = write_tflite(after)
    deliver(out, content, force=force)
    return Optimization(
        source=str(source),
        out=str(out),
        target=target,
        passes=tuple(rewrites),
        before=ModelFile(size_bytes(source), len(graph.ops)),
        after=ModelFile(len(content), len(after.ops)),
    )


def _to_ort(source: Path, out: Path, *, force: bool) -> Optimization:
    """Brings an .onnx to ORT format, with the list of operators that a minimal build needs beside it."""
    from mnedge.formats.ort import write_ort

    if out.suffix != ".ort":
        raise InputError(
            f"{source} becomes an .ort for mobile, or a .tflite, and {out} is no such name; give -o NAME.ort"
        )
    config = out.with_suffix(".required_operators.config")
    check_file(config, force=force)
    model = write_ort(source)
    with together():
        deliver(out, model.data, force=force)
        deliver(config, model.required_operators, force=force)
    return Optimization(
        source=str(source),
        out=str(out),
        before=ModelFile(size_bytes(source)),
        after=ModelFile(len(model.data)),
        required_operators=str(config),
    )


def _why(names: Sequence[str], target: str) -> str:
    if not names:
        return f"{target} asks for no rewrites of such a model"
    return f"nothing to gain, none of the rewrites for {target} applies ({', '.join(names)})"


def _summary(name: str) -> str:
    """Returns the first line of a pass' docstring without its full stop."""
    text = import_module(f"mnedge.passes.{name.replace('-', '_')}").__doc__ or ""
    return text.strip().partition("\n")[0].rstrip(".")


def _measured(
    result: Optimization,
    source: Path,
    out: Path,
    graph: Graph,
    pictures: tuple[Dataset, Pixels] | None,
    notify: Progress,
) -> Optimization:
    """The result with agreement and latency, and with partitions as far as the files load."""
    refusal = loads(source)
    notify("measure agreement", 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        reference = source if refusal is None else _reference(source, graph, Path(scratch))
        agreed = [_agreement("random", reference, out, None, delegate=refusal is None)]
        if pictures is not None:
            agreed.append(_agreement(pictures[0].name, reference, out, pictures, delegate=refusal is None))
    notify("measure agreement", 1.0)
    notify("measure latency", 0.0)
    timings = time_in_turns(
        [out] if refusal else [source, out], progress=lambda share: notify("measure latency", share)
    )
    notify("measure latency", 1.0)
    return replace(
        result,
        before=result.before if refusal else replace(result.before, partitions=timings[0].partitions),
        after=replace(result.after, partitions=timings[-1].partitions),
        gain=Gain(
            refusal,
            tuple(agreed),
            tuple(timing.row() for timing in timings),
            compare(timings)[0].row() if len(timings) > 1 else None,
        ),
    )


def _reference(source: Path, graph: Graph, folder: Path) -> Path:
    """The file that a rewrite is held against: the source, or its graph as written here where LiteRT refuses that.

    Old converters gave a bias the axis of its weights, which LiteRT refuses to read and this reader puts right.
    """
    try:
        open_session("litert", source, 1, delegate=False).close()
    except InputError:
        mended = folder / source.name
        mended.write_bytes(write_tflite(graph))
        return mended
    return source


def loads(path: Path) -> str | None:
    """Returns the reason why LiteRT cannot load a file; None if it can."""
    try:
        open_session("litert", path, 1).close()
    except (InputError, ToolError) as exc:
        return str(exc)
    return None


def _agreement(
    name: str, source: Path, out: Path, pictures: tuple[Dataset, Pixels] | None, *, delegate: bool
) -> AgreementRow:
    """Measures the agreement of both files on random input or on pictures of a data set."""
    with (
        closing(open_session("litert", source, 1, delegate=delegate)) as before,
        closing(open_session("litert", out, 1, delegate=delegate)) as after,
    ):
        inputs = _inputs(before, pictures)
        outputs = [[session.run(*values) for values in inputs] for session in (before, after)]
        found = agreement(before.outputs, *outputs)
    return AgreementRow(inputs=name, count=len(inputs), delegate=delegate, agreement=found)


def _inputs(session: Session, pictures: tuple[Dataset, Pixels] | None) -> list[tuple[AnyArray, ...]]:
    """Random values for every input, or pictures as the model takes them."""
    spec = session.input
    if pictures is None:
        # A mask of half a megapixel per input is kept for both models: fewer inputs say as much.
        values = sum(math.prod(entry.shape) for entry in session.inputs)
        count = max(_FEWEST_INPUTS, min(_RANDOM_INPUTS, _RANDOM_VALUES // values))
        return [random_inputs(session, seed) for seed in range(count)]
    dataset, known = pictures
    if len(session.inputs) > 1 or len(spec.shape) != 4 or spec.shape[3] != CHANNELS[known.order]:
        shape = " and ".join("x".join(str(extent) for extent in entry.shape) for entry in session.inputs)
        raise InputError(
            f"the model takes {shape}, and --data gives pictures, {known.order}; leave --data out: agreement "
            "is then measured on random input"
        )
    found, _ = dataset.pixels(dataset.split("eval", _PICTURES), (spec.shape[1], spec.shape[2]))
    return [(values,) for values in encoded(known.arranged(found), spec, known)]
