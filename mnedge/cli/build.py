"""`mnedge build`: the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mnedge.cli._output import force_option, json_option, print_json, progress
from mnedge.models import families

PANEL = "Build"


@click.command()
@click.option("--variant", metavar="FAMILY", help=f"One of {', '.join(families.names())}. [default: v3-small]")
@click.option("--alpha", type=float, help="Width multiplier. [default: 1.0]")
@click.option("--resolution", type=int, help="Side of the input in pixels. [default: 224, or 96 for demo]")
@click.option("--classes", type=int, help="Number of classes. [default: those of the weights, or of the data]")
@click.option("--task", help="classify, detect, segment or embed. [default: classify]")
@click.option("--head", help="Of segment: lr-aspp or deeplab. [default: that of the weights, or the first]")
@click.option("--output-stride", type=int, help="Of the backbone under a head: 8, 16 or 32. [default: the head's]")
@click.option("--int8", is_flag=True, default=None, help="Build int8 artifacts beside the float ones.")
@click.option("--method", help="int8 after training (ptq) or with fake quantization in training (qat). [default: ptq]")
@click.option(
    "--effort",
    help="Of quantization: fast, default, or max. With max, and with qat but for fast, hard-swishes that gain from it "
    "get slower gates. [default: default]",
)
@click.option("--granularity", help="Of weight scales: per-channel or per-tensor. [default: the target's]")
@click.option("--io", help="dtype of the int8 model's ends: int8, uint8 or float32. [default: int8]")
@click.option(
    "--post-processing",
    metavar="WHERE",
    help="Of detect and segment: inside the files or outside, in the app. [default: outside]",
)
@click.option("--onnx-activations", metavar="DTYPE", help="uint8 (x86) or int8 (Arm). [default: the target's]")
@click.option("--allow-float", multiple=True, metavar="OP", help="An op that may stay float; repeatable.")
@click.option("--weights", metavar="W", help="demo, imagenet, random, or a .h5, .weights.h5 or .keras file.")
@click.option(
    "--data",
    metavar="D",
    help="demo, a folder with one folder per class, a labels.csv, or the task's own. [default: demo]",
)
@click.option(
    "--calibration", metavar="C", help="Calibration set: a name, .yaml, folder or .npy. [default: a split of --data]"
)
@click.option("--skip-broken", is_flag=True, default=None, help="Leave out broken pictures, boxes and masks.")
@click.option(
    "--check-data", is_flag=True, help="Read every picture again; do not trust what the cache remembers of them."
)
@click.option("--target", "targets", multiple=True, metavar="NAME", help="See `mnedge targets`; repeatable.")
@click.option("--threads", type=int, help="Threads of the latency measurement. [default: 1]")
@click.option("--seed", type=int, help="Seed of everything random. [default: 0]")
@click.option("--recipe", "recipe_name", metavar="R", help="A recipe's name or file; flags win over it.")
@click.option(
    "--baseline", metavar="REPORT", type=click.Path(path_type=Path), help="report.json that this build is held against."
)
@click.option(
    "--locked",
    metavar="[MANIFEST]",
    is_flag=False,
    flag_value="",
    help="Refuse other tool versions than a manifest.json has. [default: the one in --out]",
)
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the gates as JUnit XML.")
@click.option("--markdown", metavar="FILE", type=click.Path(path_type=Path), help="Write a summary in Markdown.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder. [default: artifacts/SLUG]")
@force_option
@json_option
def command(
    recipe_name: str | None,
    out: Path | None,
    as_json: bool,
    baseline: Path | None,
    locked: str | None,
    junit: Path | None,
    markdown: Path | None,
    check_data: bool,
    force: bool,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Build, quantize, check and measure a MobileNet; write the artifacts and a report.

    \b
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
    from mnedge.report.junit import render_junit
    from mnedge.report.markdown import render_markdown
    from mnedge.report.terminal import print_report
    from mnedge.validation.gates import check_gates
    from mnedge.workflows.build.pipeline import build

    wanted = recipe.load(recipe_name) if recipe_name else recipe.Recipe()
    wanted = wanted.with_flags(flags)
    if out is not None and out.is_file():
        raise click.BadParameter(f"{out} is a file; give a folder", param_hint="--out")
    for path in filter(None, (junit, markdown)):
        check_file(path, force=force)
    with progress() as told:
        lock = None if locked is None else Path(locked)
        report = build(wanted, out, told, baseline=baseline, lock=lock, check_data=check_data, force=force)
    if junit is not None:
        deliver(junit, render_junit(report), force=force)
    if markdown is not None:
        deliver(markdown, render_markdown(report), force=force)
    if as_json:
        print_json(report)
    else:
        print_report(report)
        folder = out or Path("artifacts") / report["slug"]
        click.echo(f"{folder}/ holds the artifacts; open {folder / 'report.html'} to see them")
    check_gates(report["gates"])
