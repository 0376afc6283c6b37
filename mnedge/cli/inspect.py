"""`mnedge inspect`: the content of a model file, and how the runtime really takes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnedge.results.inspection import EndRow, Inspection, LayerNoise, TensorRow
    from mnedge.results.profile import LayerProfile

_LONGEST_NAME = 60

PANEL = "Measure"


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tflite or .onnx file, or a Keras model.")],
    *,
    layers: Annotated[
        bool, typer.Option("--layers", help="Measure the quantization noise of every tensor and its cost.")
    ] = False,
    reference: Annotated[Path | None, typer.Option(metavar="FILE", help="With --layers: the float .tflite.")] = None,
    data: Annotated[str, options.data("With --layers: demo, a folder or a labels.csv; or a .npy or .npz.")] = "demo",
    pixels: Annotated[str | None, options.pixels("With --layers: ", "the files'")] = None,
    split: Annotated[str, options.split("With --layers: ")] = "eval",
    images: Annotated[int, typer.Option(min=1, metavar="N", help="With --layers: number of pictures.")] = 32,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --layers: also write a page with plots here.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="With --layers: also measure time and memory of every op.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --profile: an int8 .tflite of the same network to hold it against."),
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="URI",
            help="With --profile: also measure every op on this device, beside this machine; repeatable.",
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --profile: the .onnx of the same build, profiled in ONNX Runtime too."),
    ] = None,
    node_data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --profile: also write the figures for Model Explorer here."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show what a model file holds, and how the runtime takes it.

    Ops, dtypes, sizes, inputs and outputs. For a .tflite it also says how many delegate partitions LiteRT makes of it
    and which ops stay outside, for an .onnx which nodes ONNX Runtime executes after its own rewriting. In an int8
    model, float ops are named.

    \b
    mnedge inspect model.int8.tflite
    mnedge inspect --layers model.int8.tflite --reference model.fp32.tflite --data photos --page layers.html
    mnedge inspect --layers model.int8.tflite --reference model.fp32.tflite --profile --baseline old.int8.tflite
    mnedge inspect --layers model.int8.tflite --reference model.fp32.tflite --profile --device ssh://pi@raspberrypi
    """
    from mnedge.artifact import check_file
    from mnedge.errors import InputError
    from mnedge.workflows.inspect import inspect, inspect_layers, profile_layers

    of_profile = {"--baseline": baseline, "--device": devices, "--onnx": onnx, "--node-data": node_data}
    _check(layers=layers, profile=profile, of_profile=of_profile)
    if not layers:
        found = inspect(file)
        if as_json:
            print_json(found)
        else:
            _print(found)
        return
    if reference is None:
        raise InputError("--layers holds the model against a float one; name it with --reference FILE.tflite")
    if page is not None:
        check_file(page, force=force)
    measured: LayerProfile | None = None
    with progress() as told:
        if profile:
            measured = profile_layers(
                file,
                reference,
                data,
                baseline=baseline,
                devices=devices or (),
                onnx=onnx,
                pixels=pixels,
                split=split,
                images=images,
                progress=told,
            )
            noise = measured.noise
        else:
            noise = inspect_layers(file, reference, data, pixels=pixels, split=split, images=images, progress=told)
    _deliver(noise, measured, file, page, node_data, force=force)
    if as_json:
        print_json(noise if measured is None else measured)
        return
    if measured is not None:
        _print_profile(measured)
    _print_layers(noise)
    if page is not None:
        say(f"{page} shows all of them")
    if node_data is not None:
        say(f"{node_data} holds the figures for Model Explorer: open {file.name} there, then load a file as node data")


def _check(*, layers: bool, profile: bool, of_profile: Mapping[str, object]) -> None:
    """Refuses flags that need others."""
    from mnedge.errors import InputError

    if profile and not layers:
        raise InputError("--profile is of ops; give --layers too, and the float model with --reference FILE.tflite")
    which = next((flag for flag, value in of_profile.items() if value), None)
    if which and not profile:
        raise InputError(f"{which} takes what --profile measures; give --layers --profile too")


def _deliver(
    noise: LayerNoise,
    measured: LayerProfile | None,
    file: Path,
    page: Path | None,
    node_data: Path | None,
    *,
    force: bool,
) -> None:
    """Writes the page and the files for Model Explorer, where they are asked for."""
    from mnedge.artifact import deliver
    from mnedge.report.layers_page import render_layers
    from mnedge.report.node_data import node_data as texts_of

    if page is not None:
        deliver(page, render_layers(noise, file.name, measured), force=force)
    if node_data is not None and measured is not None:
        for name, text in texts_of(measured).items():
            deliver(node_data / name, text, force=force)


def _print(found: Inspection) -> None:
    from mnedge.report import figures

    held = found.contents
    kind = "quantized" if found.quantized else "float"
    overhead = found.bytes - held.weights_bytes
    dtypes = ", ".join(f"{name} {figures.size(size)}" for name, size in held.weights_bytes_by_dtype.items())
    say(f"{found.path}: {kind} {found.format}, {figures.size(found.bytes)}")
    say(f"  {figures.magnitude(held.parameters)} parameters, {figures.magnitude(held.macs)} multiply-adds")
    say(f"  constants {figures.size(held.weights_bytes)} ({dtypes}), the rest {figures.size(overhead)}")
    print_table(
        "Ends",
        ("", "name", "shape", "dtype", ">scale", ">zero point"),
        (
            (end, _name(row), _shape(row), row.dtype, _number(row.scale), row.zero_point)
            for end, rows in (("in", held.inputs), ("out", held.outputs))
            for row in rows
        ),
    )
    dilated = any(row.dilated for row in held.ops)
    print_table(
        f"{held.op_count} ops",
        ("op", ">count", *([">dilated"] if dilated else []), "makes", ">multiply-adds", ">constants"),
        (
            (
                row.kind,
                row.count,
                *([row.dilated or ""] if dilated else []),
                " ".join(row.dtypes),
                figures.magnitude(row.macs) if row.macs else "",
                figures.size(row.weights_bytes) if row.weights_bytes else "",
            )
            for row in held.ops
        ),
    )
    for op in held.custom_ops or ():
        options = ((name, figures.plain(value)) for name, value in op.options.items())
        if op.options:
            print_table(f"Options of the custom op {op.kind}", ("option", ">value"), options)
        else:
            say(f"The custom op {op.kind} has no options that can be read")
    for title, tensors in (
        ("Largest constants", held.largest_weights),
        ("Largest activations", held.largest_activations),
    ):
        rows = ((_name(row), _shape(row), row.dtype, figures.size(row.bytes)) for row in tensors)
        print_table(title, ("tensor", "shape", "dtype", ">size"), rows)
    if held.metadata:
        texts = (
            (name, f"{value:,} bytes" if isinstance(value, int) else value) for name, value in held.metadata.items()
        )
        print_table("Metadata", ("name", "value"), texts)
    for sentence in _verdicts(found):
        say(sentence)


def _verdicts(found: Inspection) -> Iterable[str]:
    from mnedge.results.inspection import Refusal

    runtime = found.runtime
    if isinstance(runtime, Refusal):
        yield f"not loaded: {runtime.error}"
    elif runtime.partitions is None:
        kinds = ", ".join(f"{kind} {count}" for kind, count in (runtime.executes or {}).items())
        yield f"{runtime.version} executes {runtime.ops} nodes: {kinds}"
    else:
        plural = "s" * (runtime.partitions != 1)
        outside = ", ".join(f"{kind} {count}" for kind, count in (runtime.outside or {}).items())
        partitions = f"{runtime.partitions} delegate partition{plural}"
        yield f"{runtime.version}: {partitions}, outside: {outside or 'nothing'}"
    if found.float_ops:
        count = len(found.float_ops)
        more = f" and {count - 8} more" if count > 8 else ""
        yield f"{count} float op{'s' * (count != 1)} in a quantized model: {', '.join(found.float_ops[:8])}{more}"
    elif found.float_ops is not None:
        yield "no float ops: all of it computes in integers"


def _name(row: EndRow | TensorRow) -> str:
    """A tensor's name; the converter joins the names of all that it fused, and the end of them says most."""
    name = row.name
    return name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}"


def _shape(row: EndRow | TensorRow) -> str:
    if row.shape is None:
        return "known when run"
    return "x".join(str(extent) for extent in row.shape) or "scalar"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _print_profile(result: LayerProfile) -> None:
    from mnedge.report.profile_tables import tables_of

    for table in reversed(tables_of(result)):
        print_table(table.title, table.columns, ([cell.text for cell in cells] for cells in table.rows))
        for note in table.notes:
            say(note)


def _print_layers(result: LayerNoise) -> None:
    from mnedge.report import figures
    from mnedge.report.layers_page import WORST, sparkline, table

    worst = result.tensors[:WORST]
    shown = table(worst)
    columns = (*shown.columns, "how often, log")
    rows = ([cell.text for cell in cells] for cells in shown.rows)
    sparks = (sparkline(row.histogram.counts) for row in worst)
    titled = f"The {len(worst)} of {len(result.tensors)} tensors that cost most at the output"
    print_table(titled, columns, ((*row, spark) for row, spark in zip(rows, sparks, strict=True)))
    for note in shown.notes:
        say(note)
    agreement = result.agreement
    say(
        f"agreement with float on {result.images} pictures: {figures.percent(agreement.int8)}; "
        f"with real activations, so by the weights alone: {figures.percent(agreement.weights_only)}"
    )
