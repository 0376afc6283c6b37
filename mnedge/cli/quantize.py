"""`mnedge quantize`: a float model to int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mnedge.choices import Activations, Effort, Granularity, IoDtype, Method, WeightBits
from mnedge.cli import _options as options
from mnedge.cli._options import AllowFloat, Calibration, Force, HeadName, Io, Json, Positive, Seed, Target
from mnedge.cli._output import print_json, print_table, progress, say

PANEL = "Build"


def command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras, .h5, SavedModel folder, float .tflite or .onnx.")
    ],
    *,
    out: Annotated[Path, options.out_file("The int8 .tflite.")],
    data: Annotated[str, options.data("Pictures: demo, a folder or a labels.csv; or inputs: a .npy or .npz.")] = "demo",
    calibration: Calibration = None,
    pixels: Annotated[str | None, options.pixels()] = None,
    size: Annotated[str | None, options.size()] = None,
    signature: Annotated[str | None, options.signature()] = None,
    head: HeadName = None,
    positive: Positive = None,
    method: options.Method[Method] = "ptq",
    effort: options.Effort[Effort] = "default",
    granularity: options.Granularity[Granularity | None] = None,
    activations: options.Activations[Activations] = "int8",
    max_slowdown: options.MaxSlowdown = None,
    weights_bits: options.WeightBits[WeightBits] = "8",
    ranges: Annotated[
        Literal["min-max", "percentile", "mse", "output"] | None,
        typer.Option(help="Method that chooses the ranges of activations. [default: output]"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, metavar="N", help="Most epochs of qat. [default: 20]")
    ] = None,
    io: Io[IoDtype] = "int8",
    target: Target[str] = "cpu",
    allow_float: AllowFloat = None,
    seed: Seed[int] = 0,
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
    from mnedge.recipe import parse_size
    from mnedge.report.figures import decibels, percent
    from mnedge.report.tables import layers
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
            activations=activations,
            max_slowdown=max_slowdown,
            weights_bits=weights_bits,
            epochs=epochs,
            io=io,
            target=target,
            allow_float=allow_float or (),
            seed=seed,
            force=force,
            progress=told,
        )
    for note in result.notes:
        say(note, err=True)
    if as_json:
        print_json(result)
        return
    rows = [(step.name, f"{step.seconds:.1f}", percent(step.agreement), decibels(step.snr_db)) for step in result.steps]
    print_table("Quantization", ("step", ">seconds", ">agreement with float", ">SNR, dB"), rows)
    if result.layers:
        found = layers(result.layers)
        print_table(found.title, found.columns, [[cell.text for cell in row] for row in found.rows])
        for note in found.notes:
            say(note)
    if result.outputs:
        ends = [(row.name, row.kind, percent(row.agreement), decibels(row.snr_db)) for row in result.outputs]
        print_table("Outputs", ("output", "kind", ">agreement with float", ">SNR, dB"), ends)
    if result.pixels is not None:
        say(f"A picture's pixels are {result.pixels} to the input, {_given(io)}.")
    say(f"{result.out}: {result.bytes:,} bytes, {result.ops} ops, {len(result.float_ops)} of them float")


def _given(io: IoDtype) -> str:
    """Describes how a caller gives an input of the int8 model."""
    if io == "float32":
        return "given as real numbers"
    return "given as they are" if io == "uint8" else "given as pixel minus 128"
