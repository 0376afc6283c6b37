"""`mnedge build`: the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnedge.choices import (
    Activations,
    Effort,
    Granularity,
    IoDtype,
    Method,
    OnnxActivations,
    PostProcessing,
    Task,
    WeightBits,
)
from mnedge.cli import _options as options
from mnedge.cli._options import (
    AllowFloat,
    Alpha,
    Calibration,
    CheckData,
    Force,
    Io,
    Json,
    OutputStride,
    Positive,
    Seed,
    SkipBroken,
    TaskName,
    Threads,
)
from mnedge.cli._output import print_json, progress, say
from mnedge.models import families

PANEL = "Build"


def command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]", help="Your own model: a .keras, .h5, SavedModel folder, float .tflite or .onnx."
        ),
    ] = None,
    *,
    variant: Annotated[
        str | None,
        typer.Option(metavar="FAMILY", help=f"Network to build: {', '.join(families.names())}. [default: v3-small]"),
    ] = None,
    alpha: Alpha[float | None] = None,
    resolution: Annotated[
        int | None, typer.Option(metavar="R", help="Side of the input, pixels. [default: 224, or 96 for demo]")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(metavar="N", help="Number of classes. [default: those of the weights, or of the data]")
    ] = None,
    task: TaskName[Task | None] = None,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HEAD",
            help="Head of segment: lr-aspp or deeplab; of MODEL what its first output is: softmax, logits, sigmoid, "
            "multi-label, numbers or map. [default: the weights', or the first; what MODEL shows]",
        ),
    ] = None,
    output_stride: OutputStride = None,
    int8: Annotated[bool | None, typer.Option("--int8", help="Build int8 artifacts beside the float ones.")] = None,
    method: options.Method[Method | None] = None,
    effort: options.Effort[Effort | None] = None,
    granularity: options.Granularity[Granularity | None] = None,
    activations: options.Activations[Activations | None] = None,
    max_slowdown: options.MaxSlowdown = None,
    weights_bits: options.WeightBits[WeightBits | None] = None,
    io: Io[IoDtype | None] = None,
    post_processing: Annotated[
        PostProcessing | None,
        typer.Option(
            help="Place of the post-processing of detect and segment: inside the files, or outside. [default: outside]"
        ),
    ] = None,
    onnx_activations: Annotated[
        OnnxActivations | None,
        typer.Option(help="dtype of int8 ONNX activations: uint8 for x86, int8 for Arm. [default: the target's]"),
    ] = None,
    allow_float: AllowFloat = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W",
            help="Weights: demo, imagenet, random, timm:NAME, or a .h5, .weights.h5, .keras or .safetensors file. "
            "[default: demo]",
        ),
    ] = None,
    data: Annotated[
        str | None,
        options.data(
            "Data: demo, a folder with one folder per class, a labels.csv, or the task's own; for a MODEL of several "
            "inputs or without pictures a .npy or .npz. [default: demo]"
        ),
    ] = None,
    pixels: Annotated[str | None, options.pixels("With MODEL: ")] = None,
    size: Annotated[str | None, options.size("With MODEL: ")] = None,
    signature: Annotated[str | None, options.signature("With MODEL: ")] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="MODEL's class names, one a line. [default: its own or the data's]"),
    ] = None,
    positive: Positive = None,
    calibration: Calibration = None,
    skip_broken: SkipBroken[bool | None] = None,
    check_data: CheckData = False,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Target, see `mnedge targets`; repeatable. [default: cpu]"),
    ] = None,
    threads: Threads[int | None] = None,
    seed: Seed[int | None] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=TEXT",
            help="Give the bundles a version, group, license or description; repeatable, wins over the recipe.",
        ),
    ] = None,
    recipe_name: Annotated[
        str | None, typer.Option("--recipe", metavar="R", help="A recipe's name or file; flags win over it.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="REPORT", help="Hold the build against this report.json.")
    ] = None,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Refuse other tools than those of manifest.json in --out, or of `mnedge lock`."),
    ] = False,
    locked_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Refuse other tools than those of this manifest.json or constraints file."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the gates as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a summary in Markdown.")] = None,
    out: Annotated[Path | None, options.out_folder("Write into this folder. [default: artifacts/SLUG]")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build, quantize and measure a model, with a report.

    \b
    mnedge build my.keras --data photos --int8
    mnedge build --variant v3-small --int8
    mnedge build --variant v2 --alpha 0.35 --resolution 96 --int8 --target cortex-m4
    mnedge build --variant v1 --alpha 0.25 --int8 --weights w.h5 --data photos/labels.csv
    mnedge build --task segment --variant v2 --alpha 0.35 --int8 --weights my.keras --data pets/
    mnedge build --recipe demo
    mnedge build --recipe mine.yaml --baseline last/report.json --junit gates.xml

    Exits 1 when a gate of the recipe fails, or a figure is worse than the baseline's by more than its tolerance.
    """
    from mnedge import recipe
    from mnedge.artifact import check_file, deliver
    from mnedge.report.junit import render_junit, render_junit_of_error
    from mnedge.report.markdown import render_markdown
    from mnedge.report.terminal import print_report
    from mnedge.validation.gates import check_gates
    from mnedge.workflows.build.pipeline import build

    if model is not None:
        _check_alone(variant=variant, alpha=alpha, resolution=resolution, classes=classes, weights=weights)
    wanted = recipe.load(recipe_name) if recipe_name else recipe.Recipe()
    wanted = wanted.with_flags(
        {
            "model": None if model is None else str(model),
            "pixels": pixels,
            "size": size,
            "signature": signature,
            "labels": labels,
            "positive": positive,
            "variant": variant,
            "alpha": alpha,
            "resolution": resolution,
            "classes": classes,
            "task": task,
            "head": head,
            "output_stride": output_stride,
            "int8": int8,
            "method": method,
            "effort": effort,
            "granularity": granularity,
            "activations": activations,
            "max_slowdown": max_slowdown,
            "weights_bits": weights_bits,
            "io": io,
            "post_processing": post_processing,
            "onnx_activations": onnx_activations,
            "allow_float": tuple(allow_float or ()),
            "weights": weights,
            "data": data,
            "calibration": calibration,
            "skip_broken": skip_broken,
            "targets": tuple(targets or ()),
            "threads": threads,
            "seed": seed,
            "release": {**wanted.release, **_entries(release or [])} or None,
        }
    )
    for path in filter(None, (junit, markdown)):
        check_file(path, force=force)
    try:
        with progress() as told:
            report = build(
                wanted,
                out,
                told,
                baseline=baseline,
                locked=locked,
                locked_to=locked_to,
                check_data=check_data,
                force=force,
            )
    except Exception as exc:
        # A CI job whose build dies shows why where it would have shown the gates.
        if junit is not None:
            deliver(junit, render_junit_of_error(str(recipe_name or model or wanted.variant), exc), force=force)
        raise
    if junit is not None:
        deliver(junit, render_junit(report), force=force)
    if markdown is not None:
        deliver(markdown, render_markdown(report), force=force)
    if as_json:
        print_json(report)
    else:
        print_report(report)
        folder = out or Path("artifacts") / report.slug
        say(f"{folder}/ holds the artifacts; open {folder / 'report.html'} to see them")
        if wanted.bundles and not all(gate.passed for gate in report.gates):
            typer.echo("no bundles were made: a gate failed", err=True)
    check_gates(report.gates)


def _entries(given: list[str]) -> dict[str, str]:
    """Reads KEY=TEXT pairs."""
    from mnedge.errors import InputError

    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (_, sign, _) in zip(given, pairs, strict=True) if not sign]:
        raise InputError(f"--release {wrong[0]} is no KEY=TEXT; give e.g. --release version=1.2.0")
    return {key: text for key, _, text in pairs}


def _check_alone(**given: object) -> None:
    """Refuses what describes a variant beside a model, which is one network already."""
    from mnedge.errors import InputError

    if named := [f"--{name}" for name, value in given.items() if value is not None]:
        raise InputError(f"{named[0]} is of a variant, and MODEL is a network already; leave {', '.join(named)} out")
