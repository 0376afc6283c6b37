"""`mnedge quantize`: a float .tflite to int8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import force_option, json_option, print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.graph.graph import Graph

_IMAGES = 200


PANEL = "Build"


@click.command()
@click.argument("source", metavar="IN.tflite", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The int8 .tflite.")
@click.option("--data", metavar="D", default="demo", show_default=True, help="demo, a folder, or a labels.csv.")
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
@click.option(
    "--ranges", type=click.Choice(["min-max", "percentile", "mse", "output"]), help="Of ptq. [default: output]"
)
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Of qat, at most.")
@click.option(
    "--io", "ends", type=click.Choice(["int8", "uint8", "float32"]), default="int8", help="dtype of the ends."
)
@click.option("--target", default="cpu", show_default=True, help="The target whose passes lower the graph first.")
@click.option("--allow-float", multiple=True, metavar="OP", help="An op that may stay float; repeatable.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@force_option
@json_option
def command(source: Path, out: Path, *, force: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Quantize a float .tflite model to int8, with pictures but without the code that made it.

    Pictures come from the data's calibration split (ptq) or its train split (qat, labels used only as far as the
    model has that many classes). Pixels go in as p / 127.5 - 1.

    \b
    mnedge quantize model.fp32.tflite -o model.int8.tflite --data photos/labels.csv
    mnedge quantize model.fp32.tflite -o model.int8.tflite --data photos --method qat
    """
    from mnedge.artifact import check_file, deliver
    from mnedge.formats.tflite_metadata import refitted
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.graph.kept import check_kept
    from mnedge.passes._pass import run_passes
    from mnedge.quantization.honesty import check_int8
    from mnedge.quantization.io import with_io
    from mnedge.targets import _target

    check_file(out, force=force)
    target = _target.get(options["target"])
    options["granularity"] = options["granularity"] or target.granularity
    read = read_tflite(source)
    _check_float(read, source)
    graph = run_passes(read, target.passes)
    with progress() as told:
        quantized = _quantize(graph, options, told)
    allowed = check_int8(quantized.graph, options["allow_float"])
    finished = refitted(read, with_io(quantized.graph, options["ends"]))
    check_kept(read, finished)
    data = write_tflite(finished)
    deliver(out, data, force=force)
    result = {
        "source": str(source),
        "out": str(out),
        "bytes": len(data),
        "steps": list(quantized.steps),
        "settings": dict(quantized.settings),
        "float_ops": [op.kind for op in allowed],
    }
    if as_json:
        print_json(result)
        return
    rows = [(step.name, f"{step.seconds:.1f}", f"{step.agreement or 0.0:.1%}") for step in quantized.steps]
    print_table("Quantization", ("step", ">seconds", ">top-1 agreement with float"), rows)
    click.echo(f"{out}: {len(data):,} bytes, {len(quantized.graph.ops)} ops, {len(allowed)} of them float")


def _check_float(graph: Graph, source: Path) -> None:
    """Says so before any picture is read."""
    from mnedge.errors import UnsupportedError

    if any(tensor.quantization is not None and not tensor.is_constant for tensor in graph.tensors.values()):
        raise UnsupportedError(
            f"{source} is quantized already; give the float model. `mnedge optimize --int8` brings uint8 to int8"
        )


def _quantize(graph: Graph, options: dict[str, Any], told: Callable[[str, float], None]) -> Any:  # noqa: ANN401 - Quantized
    from mnedge import cache
    from mnedge.data import open_dataset
    from mnedge.data._dataset import to_real
    from mnedge.errors import InputError

    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise InputError(f"the model's input is {shape}; quantize takes models of square RGB pictures (1, N, N, 3)")
    dataset = open_dataset(options["data"])
    pixels, _ = dataset.pixels(dataset.split("calibration", _IMAGES), shape[1])
    shared = {
        "granularity": options["granularity"],
        "seed": options["seed"],
        "allow_float": frozenset(options["allow_float"]),
    }
    if options["method"] == "ptq":
        from mnedge.quantization.ptq import quantize_ptq

        return quantize_ptq(
            graph,
            to_real(pixels),
            effort=options["effort"],
            ranges=options["ranges"],
            progress=lambda _, share: told("quantize to int8", share),
            **shared,
        )
    from mnedge.quantization.qat import quantize_qat

    trained, labels = dataset.pixels(dataset.split("train"), shape[1])
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    fits = len(labels) > 0 and int(labels.max()) < classes
    return quantize_qat(
        graph,
        to_real(trained),
        labels if fits else None,
        calibration=to_real(pixels),
        checkpoint_dir=cache.checkpoints("qat"),
        epochs=options["epochs"],
        effort=options["effort"],
        progress=told,
        **shared,
    )
