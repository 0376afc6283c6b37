"""`mnedge quantize`: a float model to int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mnedge.cli._output import Force, Json, print_json, print_table, progress
from mnedge.recipe import Effort, Granularity, IoDtype, Method, parse_size

PANEL = "Build"


def command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras, .h5, SavedModel folder, float .tflite or .onnx.")
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The int8 .tflite.", show_default=False)],
    data: Annotated[
        str, typer.Option(metavar="D", help="Pictures: demo, a folder or a labels.csv; or inputs: a .npy or .npz.")
    ] = "demo",
    calibration: Annotated[
        str | None,
        typer.Option(metavar="C", help="Calibration set: a name, .yaml, folder or .npy. [default: a split of --data]"),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help="Range of the model's pixels: 0..255, 0..1, -1..1, imagenet, caffe, LOW..HIGH, or MEAN,STD in 8-bit "
            "pixels; BGR, GREY or RGBA may follow. [default: what the model says or labelled pictures show]",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="Size of the input, where the model leaves it open."),
    ] = None,
    signature: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Signature of a SavedModel. [default: serving_default, or its only one]"),
    ] = None,
    head: Annotated[
        Literal["softmax", "logits", "sigmoid", "multi-label", "numbers", "map"] | None,
        typer.Option(help="What the first output is. [default: what the model shows]"),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class of the data that is the yes of a model with one output.")
    ] = None,
    method: Annotated[Method, typer.Option(help="Quantization after training, or with it.")] = "ptq",
    effort: Annotated[
        Effort,
        typer.Option(
            help="Quantization effort; max (and qat, unless fast) may use slower hard-swishes that quantize better."
        ),
    ] = "default",
    granularity: Annotated[
        Granularity | None, typer.Option(help="Granularity of weight scales. [default: the target's]")
    ] = None,
    ranges: Annotated[
        Literal["min-max", "percentile", "mse", "output"] | None,
        typer.Option(help="How ranges of activations are chosen. [default: output]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Most epochs of qat.")] = 20,
    io: Annotated[IoDtype, typer.Option(help="dtype of the input and the outputs.")] = "int8",
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Target whose passes lower the graph; `mnedge targets` lists them.")
    ] = "cpu",
    allow_float: Annotated[
        list[str] | None, typer.Option(metavar="OP", help="An op that may stay float; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Seed of everything random.")] = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantize a float model to int8, without its training code.

    Pictures come from the data's calibration split (ptq) or its train split (qat, labels used as far as the model has
    that many classes). The int8 input is the pixel minus 128 wherever one range serves all channels; preprocessing
    inside the model is folded into it.

    \b
    mnedge quantize my.keras -o my.int8.tflite --data photos
    mnedge quantize model.fp32.tflite -o model.int8.tflite --data photos/labels.csv --method qat
    mnedge quantize theirs.tflite -o theirs.int8.tflite --data photos --pixels 0..255
    """
    from mnedge.report.figures import decibels, percent
    from mnedge.workflows.quantize import quantize

    with progress() as told:
        result = quantize(
            model,
            out,
            data,
            calibration=calibration,
            pixels=pixels,
            size=parse_size(size),
            signature=signature,
            head=head,
            positive=positive,
            method=method,
            effort=effort,
            granularity=granularity,
            ranges=ranges,
            epochs=epochs,
            io=io,
            target=target,
            allow_float=allow_float or (),
            seed=seed,
            force=force,
            progress=told,
        )
    for note in result.notes:
        typer.echo(note, err=True)
    if as_json:
        print_json(result)
        return
    rows = [(step.name, f"{step.seconds:.1f}", percent(step.agreement), decibels(step.snr_db)) for step in result.steps]
    print_table("Quantization", ("step", ">seconds", ">agreement with float", ">SNR, dB"), rows)
    if result.outputs:
        ends = [(row.name, row.kind, percent(row.agreement), decibels(row.snr_db)) for row in result.outputs]
        print_table("Outputs", ("output", "kind", ">agreement with float", ">SNR, dB"), ends)
    if result.pixels is not None:
        typer.echo(f"A picture's pixels are {result.pixels} to the input, {_given(io)}.")
    typer.echo(f"{result.out}: {result.bytes:,} bytes, {result.ops} ops, {len(result.float_ops)} of them float")


def _given(io: IoDtype) -> str:
    """What a caller gives, in words."""
    if io == "float32":
        return "given as real numbers"
    return "given as they are" if io == "uint8" else "given as pixel minus 128"
