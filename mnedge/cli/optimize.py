"""`mnedge optimize`: an existing model rewritten for a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json, Target
from mnedge.cli._output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from mnedge.results.optimization import AgreementRow, Gain, Optimization, OutputAgreement

PANEL = "Build"


def command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A .tflite, anybody's, or an .onnx.")],
    *,
    out: Annotated[Path, options.out_file("The new file.")],
    target: Target[str] = "cpu",
    int8: Annotated[
        bool, typer.Option("--int8", help="Bring uint8 to int8 too: weights are rounded, the ends stay uint8.")
    ] = False,
    data: Annotated[
        str | None, options.data("Measure agreement on these pictures too: demo, a folder, or a CSV.")
    ] = None,
    pixels: Annotated[str | None, options.pixels("With --data: ", "the file's")] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Rewrite only: measure neither agreement nor speed.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Rewrite an existing model for a runtime, without data.

    The rewrites are exact in real arithmetic; where a quantized one can round differently, the agreement that is
    measured says how much. --int8, and a microcontroller as the target, round the weights of a uint8 model as well.
    A model with nothing to gain comes back unchanged, byte for byte. An .onnx becomes an .ort for mobile, with the
    list of operators that a minimal build of ONNX Runtime needs; or, float or int8 with QuantizeLinear, a .tflite.

    \b
    mnedge optimize theirs.int8.tflite -o ours.int8.tflite
    mnedge optimize theirs.int8.tflite -o ours.int8.tflite --data photos/labels.csv
    mnedge optimize model.int8.onnx -o model.int8.ort
    mnedge optimize theirs.qdq.onnx -o theirs.int8.tflite
    """
    from mnedge.workflows.optimize import optimize

    with progress() as told:
        result = optimize(
            source,
            out,
            target=target,
            int8=int8,
            data=data,
            pixels=pixels,
            measure=not no_measure,
            force=force,
            progress=told,
        )
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: Optimization) -> None:
    from mnedge.results.optimization import counted

    if not result.changed:
        say(f"{result.out} is {result.source}, unchanged: {result.why}.")
        return
    before, after = result.before, result.after
    sizes = f"{before.bytes:,} -> {after.bytes:,} bytes"
    if result.required_operators is not None:
        say(f"{result.out}: {sizes}; a minimal build needs {result.required_operators}")
        return
    cells = [
        (row.name, row.what, counted(row.removed), counted(row.added), row.rescaled or "", row.rounded or "")
        for row in result.passes
    ]
    columns = ("rewrite", "what", "gone", "new", ">rescaled", ">rounded")
    print_table(f"{result.source} for {result.target}", columns, cells)
    say(f"{result.out}: {before.ops} -> {after.ops} ops, {sizes}")
    if result.gain is not None:
        _print_gain(result, result.gain)


def _print_gain(result: Optimization, gain: Gain) -> None:
    if gain.refused:
        say(f"The runtime refuses the original: {gain.refused}")
    partitions = "refused" if gain.refused else result.before.partitions
    say(f"Delegate partitions: {partitions} -> {result.after.partitions}")
    for row in gain.agreement:
        _print_agreement(row)
    if gain.ratio is None:
        say(f"Speed: {gain.latency[0].p50_ms:.3f} ms")
        return
    first, second = (row.p50_ms for row in gain.latency)
    low, high = gain.ratio.interval
    speedup = f"{gain.ratio.speedup:.2f} x ({low:.2f} to {high:.2f})"
    say(f"Speed: {first:.3f} -> {second:.3f} ms, {speedup}: {gain.ratio.verdict}")


def _print_agreement(row: AgreementRow) -> None:
    found = row.agreement
    kernels = "" if row.delegate else ", both without delegate"
    start = f"Agreement on {row.count} {row.inputs} inputs:"
    if found.identical:
        several = f" in all {len(found.outputs)} outputs" if len(found.outputs) > 1 else ""
        say(f"{start} identical{several}{kernels}")
        return
    if found.top1_agreement is not None:
        difference = f"outputs differ by at most {found.max_abs_difference:g} {found.unit}"
        say(f"{start} top-1 {found.top1_agreement:.1%}, {difference}{kernels}")
        return
    say(f"{start.removesuffix(':')}{kernels}:")
    for output in found.outputs:
        say(f"  {output.name}: {_equal(output)}")


def _equal(output: OutputAgreement) -> str:
    what = "pixels of the same class" if output.unit == "indices" else "values equal"
    share = f"{output.equal_fraction:.2%} {what}"
    if not output.max_abs_difference:
        return share
    return f"{share}, the others differ by at most {output.max_abs_difference:g} {output.unit}"
