"""`mnedge inspect`: what is in a model file, and how the runtime really takes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import json_option, print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.pixels import Pixels

_LONGEST_NAME = 60


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="Measure the quantization noise of every tensor and what it costs.")
@click.option("--reference", type=click.Path(path_type=Path), help="With --layers: the float .tflite.")
@click.option("--data", default="demo", show_default=True, help="With --layers: demo, a folder or a labels.csv.")
@click.option(
    "--pixels",
    metavar="RANGE",
    help="With --layers: range of the models' pixels, where the files do not say: 0..255, "
    "0..1, -1..1, imagenet, caffe, LOW..HIGH, or MEAN,STD in 8-bit pixels; BGR, GREY or RGBA may follow.",
)
@click.option("--split", default="eval", show_default=True, help="With --layers: which split of the data.")
@click.option("--images", type=click.IntRange(min=1), default=32, show_default=True, help="With --layers: how many.")
@click.option("--page", type=click.Path(path_type=Path), help="With --layers: also write a page with plots here.")
@json_option
def command(
    file: Path,
    layers: bool,
    reference: Path | None,
    data: str,
    pixels: str | None,
    split: str,
    images: int,
    page: Path | None,
    as_json: bool,
) -> None:
    """Show the ops, dtypes, sizes, inputs and outputs of a .tflite or .onnx file.

    For a .tflite it also says how many delegate partitions LiteRT makes of it and which ops stay outside, for
    an .onnx which nodes ONNX Runtime executes after its own rewriting. In an int8 model, float ops are named.

    \b
    mnedge inspect model.int8.tflite
    mnedge inspect --layers model.int8.tflite --reference model.fp32.tflite --data photos --page layers.html
    """
    from mnedge.errors import InputError
    from mnedge.pixels import Pixels

    if layers:
        if reference is None:
            raise InputError("--layers holds the model against a float one; name it with --reference FILE.tflite")
        asked = None if pixels is None else Pixels.parse(pixels)
        _layers(file, reference, (data, split, images), asked, page, as_json=as_json)
        return
    inspectors = {".tflite": _inspect_tflite, ".onnx": _inspect_onnx}
    if file.suffix not in inspectors:
        raise InputError(f"{file} has no suffix that mnedge inspects; it inspects {' and '.join(inspectors)} files")
    found = inspectors[file.suffix](file)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _inspect_tflite(path: Path) -> dict[str, Any]:
    from mnedge import runtimes
    from mnedge.errors import InputError, ToolError
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.report.inspect_tflite import inspect_graph, is_quantized
    from mnedge.validation.int8 import int8_ops

    graph = read_tflite(path)
    quantized = is_quantized(graph)
    found = {
        **_header(path, "tflite", quantized=quantized),
        **inspect_graph(graph),
        "float_ops": int8_ops(path)[1] if quantized else None,
    }
    try:
        session = runtimes.get("litert").open(path, 1)
    except (InputError, ToolError) as exc:
        return {**found, "runtime": {"error": str(exc)}}
    undelegated = Counter(getattr(session, "undelegated", ()))
    runtime = {
        "version": session.version,
        "partitions": session.partitions,
        "ops": session.ops,
        "outside": dict(undelegated.most_common()),
    }
    return {**found, "runtime": runtime}


def _inspect_onnx(path: Path) -> dict[str, Any]:
    from mnedge import runtimes
    from mnedge.errors import InputError, ToolError
    from mnedge.report.inspect_onnx import inspect_onnx
    from mnedge.runtimes.onnxruntime import optimized_nodes
    from mnedge.validation.int8 import int8_ops

    counted = inspect_onnx(path)
    kinds = {row["kind"] for row in counted["ops"]}
    quantized = any(kind.startswith("QLinear") or kind == "DequantizeLinear" for kind in kinds)
    found = {**_header(path, "onnx", quantized=quantized), **counted, "float_ops": None}
    try:
        nodes = optimized_nodes(path)
    except (InputError, ToolError) as exc:
        return {**found, "runtime": {"error": str(exc)}}
    if quantized:
        found["float_ops"] = int8_ops(path)[1]
    runtime = {
        "version": runtimes.get("onnxruntime").version(),
        "partitions": None,
        "ops": len(nodes),
        "executes": dict(Counter(kind for kind, _, _ in nodes).most_common()),
    }
    return {**found, "runtime": runtime}


def _header(path: Path, file_format: str, *, quantized: bool) -> dict[str, Any]:
    from mnedge.artifact import size_bytes

    return {"path": str(path), "format": file_format, "bytes": size_bytes(path), "quantized": quantized}


def _print(found: dict[str, Any]) -> None:
    from mnedge.report import figures

    kind = "quantized" if found["quantized"] else "float"
    overhead = found["bytes"] - found["weights_bytes"]
    dtypes = ", ".join(f"{name} {figures.size(size)}" for name, size in found["weights_bytes_by_dtype"].items())
    click.echo(f"{found['path']}: {kind} {found['format']}, {figures.size(found['bytes'])}")
    click.echo(
        f"  {figures.magnitude(found['parameters'])} parameters, {figures.magnitude(found['macs'])} multiply-adds"
    )
    click.echo(f"  constants {figures.size(found['weights_bytes'])} ({dtypes}), the rest {figures.size(overhead)}")
    print_table(
        "Ends",
        ("", "name", "shape", "dtype", ">scale", ">zero point"),
        (
            (end, _name(row), _shape(row), row["dtype"], _number(row["scale"]), row["zero_point"])
            for end, rows in (("in", found["inputs"]), ("out", found["outputs"]))
            for row in rows
        ),
    )
    dilated = any(row.get("dilated") for row in found["ops"])
    print_table(
        f"{found['op_count']} ops",
        ("op", ">count", *([">dilated"] if dilated else []), "makes", ">multiply-adds", ">constants"),
        (
            (
                row["kind"],
                row["count"],
                *([row["dilated"] or ""] if dilated else []),
                " ".join(row["dtypes"]),
                figures.magnitude(row["macs"]) if row["macs"] else "",
                figures.size(row["weights_bytes"]) if row["weights_bytes"] else "",
            )
            for row in found["ops"]
        ),
    )
    for row in found.get("custom_ops", []):
        options = ((name, figures.plain(value)) for name, value in row["options"].items())
        if row["options"]:
            print_table(f"Options of the custom op {row['kind']}", ("option", ">value"), options)
        else:
            click.echo(f"The custom op {row['kind']} has no options that can be read")
    for title, name in (("Largest constants", "largest_weights"), ("Largest activations", "largest_activations")):
        rows = ((_name(row), _shape(row), row["dtype"], figures.size(row["bytes"])) for row in found[name])
        print_table(title, ("tensor", "shape", "dtype", ">size"), rows)
    if found["metadata"]:
        metadata = found["metadata"].items()
        texts = ((name, f"{value:,} bytes" if isinstance(value, int) else value) for name, value in metadata)
        print_table("Metadata", ("name", "value"), texts)
    for sentence in _verdicts(found):
        click.echo(sentence)


def _verdicts(found: dict[str, Any]) -> Iterable[str]:
    runtime = found["runtime"]
    if "error" in runtime:
        yield f"not loaded: {runtime['error']}"
    elif runtime["partitions"] is None:
        kinds = ", ".join(f"{kind} {count}" for kind, count in runtime["executes"].items())
        yield f"{runtime['version']} executes {runtime['ops']} nodes: {kinds}"
    else:
        plural = "s" * (runtime["partitions"] != 1)
        outside = ", ".join(f"{kind} {count}" for kind, count in runtime["outside"].items())
        partitions = f"{runtime['partitions']} delegate partition{plural}"
        yield f"{runtime['version']}: {partitions}, outside: {outside or 'nothing'}"
    if found["float_ops"]:
        shown = ", ".join(found["float_ops"][:8])
        more = f" and {len(found['float_ops']) - 8} more" if len(found["float_ops"]) > 8 else ""
        plural = "s" * (len(found["float_ops"]) != 1)
        yield f"{len(found['float_ops'])} float op{plural} in a quantized model: {shown}{more}"
    elif found["float_ops"] is not None:
        yield "no float ops: all of it computes in integers"


def _name(row: dict[str, Any]) -> str:
    """A tensor's name; the converter joins the names of all that it fused, and the end of them says most."""
    name: str = row["name"]
    return name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}"


def _shape(row: dict[str, Any]) -> str:
    if row["shape"] is None:
        return "known when run"
    return "x".join(str(extent) for extent in row["shape"]) or "scalar"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _layers(
    file: Path,
    reference: Path,
    pictures: tuple[str, str, int],
    asked: Pixels | None,
    page: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measures, and shows the noise of every tensor."""
    from mnedge.artifact import write_text
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.report.layers_page import render_layers
    from mnedge.validation.layers import noise_by_tensor

    graph, other = read_tflite(file), read_tflite(reference)
    images = _images(file, pictures, graph.tensors[graph.inputs[0]].shape, asked)
    with progress() as told:
        result = noise_by_tensor(graph, other, images, told)
    if page is not None:
        write_text(page, render_layers(result, file.name))
    if as_json:
        print_json(result)
    else:
        _print_layers(result)
        if page is not None:
            click.echo(f"{page} shows all of them")


def _images(
    file: Path, pictures: tuple[str, str, int], shape: tuple[int, ...], asked: Pixels | None
) -> NDArray[np.float32]:
    """Pictures as the model takes them, real numbers."""
    import numpy as np

    from mnedge.data import open_dataset
    from mnedge.validation.predict import pixels_for

    pixels = pixels_for(file, shape, asked)
    click.echo(f"pixels are {pixels} to the model", err=True)
    data, split, count = pictures
    dataset = open_dataset(data)
    numbers = dataset.split(split, count)
    found = np.stack([picture for _, picture in dataset.stream(numbers, (shape[1], shape[2]))])
    return pixels.real(pixels.arranged(found))


def _print_layers(result: dict[str, Any]) -> None:
    from mnedge.report import figures
    from mnedge.report.layers_page import WORST, sparkline, table

    worst = result["tensors"][:WORST]
    shown = table(worst)
    columns = (*shown.columns, "how often, log")
    rows = ([cell.text for cell in cells] for cells in shown.rows)
    sparks = (sparkline(row["histogram"]["counts"]) for row in worst)
    titled = f"The {len(worst)} of {len(result['tensors'])} tensors that cost most at the output"
    print_table(titled, columns, ((*row, spark) for row, spark in zip(rows, sparks, strict=True)))
    for note in shown.notes:
        click.echo(note)
    agreement = result["agreement"]
    click.echo(
        f"agreement with float on {result['images']} pictures: {figures.percent(agreement['int8'])}; "
        f"with real activations, so by the weights alone: {figures.percent(agreement['weights_only'])}"
    )
