"""`mnedge quantize`: a float .tflite to int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import json_option, print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.data._dataset import Dataset
    from mnedge.graph.graph import Graph
    from mnedge.pixels import Pixels
    from mnedge.quantization.quantized import Quantized

_IMAGES = 200


@click.command()
@click.argument("source", metavar="IN.tflite", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The int8 .tflite.")
@click.option(
    "--data",
    metavar="D",
    default="demo",
    show_default=True,
    help="demo, a folder, a labels.csv, or arrays.npy or .npz.",
)
@click.option(
    "--pixels",
    metavar="RANGE",
    help="Range of the model's pixels, where the file does not say: 0..255, 0..1, -1..1, "
    "imagenet, caffe, LOW..HIGH, or MEAN,STD in 8-bit pixels; BGR, GREY or RGBA may follow.",
)
@click.option(
    "--method", type=click.Choice(["ptq", "qat"]), default="ptq", show_default=True, help="After or with training."
)
@click.option(
    "--effort", type=click.Choice(["fast", "default", "max"]), default="default", show_default=True,
    help="Of quantization; max, and qat but for fast, also take slower gates for hard-swishes that gain from it.",
)  # fmt: skip
@click.option(
    "--granularity",
    type=click.Choice(["per-channel", "per-tensor"]),
    help="Of weight scales. [default: the target's]",
)
@click.option("--ranges", metavar="R", help="min-max, percentile, mse or output. [default: output]")
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Of qat, at most.")
@click.option(
    "--io", "ends", type=click.Choice(["int8", "uint8", "float32"]), default="int8", help="dtype of the ends."
)
@click.option("--target", default="cpu", show_default=True, help="The target whose passes lower the graph first.")
@click.option("--allow-float", multiple=True, metavar="OP", help="An op that may stay float; repeatable.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@json_option
def command(source: Path, out: Path, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Quantize a float .tflite model to int8, with pictures but without the code that made it.

    Pictures come from the data's calibration split (ptq) or its train split (qat, labels used only as far as the
    model has that many classes). The int8 input is the pixel minus 128, whatever the model's range, as long as it is
    the same for all channels.

    \b
    mnedge quantize model.fp32.tflite -o model.int8.tflite --data photos/labels.csv
    mnedge quantize model.fp32.tflite -o model.int8.tflite --data photos --method qat
    mnedge quantize theirs.tflite -o theirs.int8.tflite --data photos --pixels 0..255
    """
    from mnedge.artifact import write_bytes
    from mnedge.data.arrays import is_arrays
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.pixels import Pixels
    from mnedge.quantization.honesty import check_int8
    from mnedge.quantization.io import with_io
    from mnedge.report.figures import decibels, percent
    from mnedge.targets import _target

    target = _target.get(options["target"])
    options["granularity"] = options["granularity"] or target.granularity
    read = read_tflite(source)
    _check_float(read, source)
    asked = None if options["pixels"] is None else Pixels.parse(options["pixels"])
    with progress() as told:
        if is_arrays(options["data"]):
            quantized, pixels = _with_arrays(read, asked, target.passes, options, told)
        else:
            quantized, pixels = _with_pictures(source, read, asked, target.passes, options, told)
    allowed = check_int8(quantized.graph, options["allow_float"])
    data = write_tflite(with_io(quantized.graph, options["ends"]))
    write_bytes(out, data)
    result = {
        "source": str(source),
        "out": str(out),
        "bytes": len(data),
        "pixels": None if pixels is None else str(pixels),
        "steps": list(quantized.steps),
        "settings": dict(quantized.settings),
        "float_ops": [op.kind for op in allowed],
    }
    if as_json:
        print_json(result)
        return
    rows = [
        (step["name"], f"{step['seconds']:.1f}", percent(step["agreement"]), decibels(step["snr_db"]))
        for step in quantized.steps
    ]
    print_table("Quantization", ("step", ">seconds", ">agreement with float", ">SNR, dB"), rows)
    if pixels is not None:
        click.echo(f"A picture's pixels are {pixels} to the input, {_steps(options['ends'])}.")
    click.echo(f"{out}: {len(data):,} bytes, {len(quantized.graph.ops)} ops, {len(allowed)} of them float")


def _check_float(graph: Graph, source: Path) -> None:
    """Says so before any picture is read."""
    from mnedge.errors import UnsupportedError

    if any(tensor.quantization is not None and not tensor.is_constant for tensor in graph.tensors.values()):
        raise UnsupportedError(
            f"{source} is quantized already; give the float model. `mnedge optimize --int8` brings uint8 to int8"
        )


def _steps(ends: str) -> str:
    """What a caller gives, in words."""
    if ends == "float32":
        return "given as real numbers"
    return "given as they are" if ends == "uint8" else "given as pixel minus 128"


def _with_pictures(
    source: Path,
    graph: Graph,
    asked: Pixels | None,
    passes: tuple[str, ...],
    options: dict[str, Any],
    told: Callable[[str, float], None],
) -> tuple[Quantized, Pixels]:
    """Quantizes with pictures; what they are to the model is settled first."""
    from mnedge.data import open_dataset
    from mnedge.workflows.settle_pixels import settle_pixels

    dataset = open_dataset(options["data"])
    notes: list[str] = []
    pixels = settle_pixels(source, graph, dataset, asked, notice=notes.append, progress=told)
    for note in notes:
        click.echo(note, err=True)
    graph, pixels = _lowered(graph, pixels, passes, options["ends"])
    return _quantize(graph, pixels, dataset, options, told), pixels


def _with_arrays(
    graph: Graph,
    asked: Pixels | None,
    passes: tuple[str, ...],
    options: dict[str, Any],
    told: Callable[[str, float], None],
) -> tuple[Quantized, Pixels | None]:
    """Quantizes with arrays as the model takes them; the input has their range, or that of pixels where it is told."""
    from mnedge.data.arrays import open_arrays
    from mnedge.errors import InputError
    from mnedge.formats.pixels import with_pixels
    from mnedge.passes._pass import run_passes
    from mnedge.quantization.ptq import quantize_ptq

    if options["method"] != "ptq":
        raise InputError("training with fake quantization takes pictures; with arrays leave --method qat out")
    if len(graph.inputs) != 1:
        raise InputError(f"the model has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}); quantize takes one")
    tensor = graph.tensors[graph.inputs[0]]
    values = open_arrays(Path(options["data"])).of(tensor.name, tensor.shape)
    graph = run_passes(graph, passes)
    if asked is not None:
        graph = replace(graph, metadata=with_pixels(graph.metadata, asked))
    quantized = quantize_ptq(
        graph,
        values[:_IMAGES],
        pixels=asked,
        effort=options["effort"],
        ranges=options["ranges"],
        granularity=options["granularity"],
        seed=options["seed"],
        allow_float=frozenset(options["allow_float"]),
        progress=lambda _, share: told("quantize to int8", share),
    )
    return quantized, asked


def _lowered(graph: Graph, pixels: Pixels, passes: tuple[str, ...], ends: str) -> tuple[Graph, Pixels]:
    """The graph after the target's passes, and what a picture is to it: preprocessing goes into the int8 input.

    With float ends the caller goes on preparing pictures as the float model wants them, so what prepares them stays.
    """
    from mnedge.formats.pixels import with_pixels
    from mnedge.passes._pass import run_passes
    from mnedge.passes.fold_preprocessing import pixel_input, shared_steps

    if ends == "float32":
        graph = run_passes(graph, ("fold-preprocessing", *passes))
    else:
        graph, pixels = pixel_input(graph, pixels)
        graph, pixels = shared_steps(run_passes(graph, passes), pixels)
    return replace(graph, metadata=with_pixels(graph.metadata, pixels)), pixels


def _quantize(
    graph: Graph, pixels: Pixels, dataset: Dataset, options: dict[str, Any], told: Callable[[str, float], None]
) -> Quantized:
    from mnedge import cache

    shape = graph.tensors[graph.inputs[0]].shape
    pictures, _ = dataset.pixels(dataset.split("calibration", _IMAGES), (shape[1], shape[2]))
    calibration = pixels.real(pixels.arranged(pictures))
    shared = {
        "pixels": pixels,
        "granularity": options["granularity"],
        "seed": options["seed"],
        "allow_float": frozenset(options["allow_float"]),
    }
    if options["method"] == "ptq":
        from mnedge.quantization.ptq import quantize_ptq

        return quantize_ptq(
            graph,
            calibration,
            effort=options["effort"],
            ranges=options["ranges"],
            progress=lambda _, share: told("quantize to int8", share),
            **shared,
        )
    from mnedge.quantization.qat import quantize_qat

    trained, labels = dataset.pixels(dataset.split("train"), (shape[1], shape[2]))
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    fits = len(labels) > 0 and int(labels.max()) < classes
    return quantize_qat(
        graph,
        pixels.real(pixels.arranged(trained)),
        labels if fits else None,
        calibration=calibration,
        checkpoint_dir=cache.root() / "qat",
        epochs=options["epochs"],
        effort=options["effort"],
        progress=told,
        **shared,
    )
