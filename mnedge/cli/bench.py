"""`mnedge bench`: latency of artifacts, and whether they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli._layers import print_layers
from mnedge.cli._options import Devices, Json, Threads
from mnedge.cli._output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.results.bench import Bench, BoardCost
    from mnedge.results.latency import Conditions, LatencyRow, OpTime, RatioRow, Stretch

_LONGEST_BAR = 50

PANEL = "Measure"


def command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT", help=".tflite and .onnx files, Keras models, or folders of C.")
    ],
    *,
    devices: Devices = None,
    threads: Threads[int] = 1,
    seconds: Annotated[float, typer.Option(metavar="S", help="Measured time for each artifact, seconds.")] = 3.0,
    ops: Annotated[bool, typer.Option("--ops", help="Also measure the time of each op.")] = False,
    sustained: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Also run without a pause, and draw the latency over time."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure latency of artifacts, each against the first.

    Each is warmed up until stable; then all take turns, so that a machine that drifts slows all of them alike. A
    difference that its 95 % interval does not show is not called one.

    \b
    mnedge bench model.fp32.tflite model.int8.tflite model.int8.onnx
    mnedge bench model.int8.tflite --ops --json
    mnedge bench model.int8.tflite --sustained 60
    mnedge bench model.int8.tflite --device qemu://cortex-m4
    """
    from mnedge.errors import ToolError
    from mnedge.workflows.bench import bench

    with progress() as told:
        result = bench(
            artifacts,
            devices or ("local",),
            threads=threads,
            seconds=seconds,
            ops=ops,
            sustained_s=sustained,
            progress=told,
        )
    if as_json:
        print_json(result)
    else:
        _print(result)
    if result.failed:
        raise ToolError("\n".join(failure.error for failure in result.failed))


def _print(result: Bench) -> None:
    if any(row.device == "local" for row in result.latency):
        _print_conditions(result.conditions)
    if result.latency:
        _print_latency(result.latency)
    for cost in result.costs or ():
        _print_cost(cost)
    if result.ratios:
        _print_ratios(result.ratios)
    for name, times in (result.ops or {}).items():
        _print_ops(name, times)
    for name, stretches in (result.sustained or {}).items():
        _print_sustained(name, stretches)
    for name, reasons in (result.unsteady or {}).items():
        say(f"{name} did not run steadily: {', '.join(reasons)}")


def _print_conditions(machine: Conditions) -> None:
    features = f" ({' '.join(machine.features)})" if machine.features else ""
    governor = machine.governor or "unknown"
    say(f"{machine.cpu}{features}, {machine.cores} cores, governor {governor}, load {machine.load:.2f}")
    if machine.busy:
        say("This machine is busy: the medians are high, the ratios hold as far as their intervals say.")


def _print_latency(rows: Sequence[LatencyRow]) -> None:
    columns = ("artifact", "runtime", "device", ">threads", ">p50 ms", ">p90 ms", ">p99 ms", ">runs", ">partitions")
    cells = [
        (
            row.artifact + ("" if row.warmed_up else " (not stable)"),
            row.runtime,
            row.device + (" (emulated)" if row.emulated else ""),
            row.threads,
            *(_number(value) for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
            row.runs,
            row.partitions,
        )
        for row in rows
    ]
    print_table("Latency", columns, cells)
    for device, told in {row.device: row.state.board for row in rows if row.state and row.state.board}.items():
        say(f"{device}: {_board(told)}")
    for row in rows:
        if row.state and row.state.unstable:
            say(f"{row.artifact} on {row.device} is not to be relied on: {', '.join(row.state.unstable)}")
    if any(row.emulated for row in rows):
        say("Emulated: these times are the emulator's, not a board's.")


def _print_cost(cost: BoardCost) -> None:
    typer.echo(
        f"{cost.artifact} on {cost.device} (emulated): {cost.instructions:,} instructions an inference, "
        f"{cost.macs:,} multiply-adds, arena {cost.arena_bytes:,} bytes, "
        f"with input and output {cost.ram_bytes:,} bytes, stack {cost.stack_bytes:,} bytes"
    )
    print_layers(cost.layers)


def _board(told: Mapping[str, object]) -> str:
    """Describes a device in one line: its name and what its figures depend on."""
    words = {
        **dict.fromkeys(("board", "model", "soc", "cpu"), "{}"),
        "cores": "{} cores",
        "governor": "governor {}",
        "android": "Android {}",
        "accelerator": "on the {}",
        "pinned": "{}",
        "battery_percent": "battery {} %" + (" and charging" if told.get("charging") else ""),
        "thermal_status": "thermal status {}",
        "each_sample": "each sample the {}",
    }
    return ", ".join(form.format(told[key]) for key, form in words.items() if told.get(key) is not None)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _print_ratios(rows: Sequence[RatioRow]) -> None:
    cells = [
        (row.artifact, f"{row.speedup:.2f} x", "{:.2f} to {:.2f}".format(*row.interval), row.verdict) for row in rows
    ]
    print_table(f"Against {rows[0].reference}", ("artifact", ">speed", ">95 % interval", "verdict"), cells)


def _print_ops(name: str, rows: Sequence[OpTime]) -> None:
    from mnedge.validation.op_latency import by_kind

    kinds = [(row.op, row.count, f"{row.ms:.3f}", f"{row.share:.0%}") for row in by_kind(rows)]
    print_table(f"Ops of {name}", ("op", ">count", ">ms", ">share"), kinds)
    slowest = sorted(rows, key=lambda row: -row.ms)[:10]
    cells = [(row.op, row.output, "x".join(map(str, row.shape)), f"{row.ms:.3f}") for row in slowest]
    print_table("The slowest ten", ("op", "makes", "input", ">ms"), cells)


def _print_sustained(name: str, rows: Sequence[Stretch]) -> None:
    longest = max(row.p50_ms for row in rows)
    states = {">°C": [row.temperature_c for row in rows], ">MHz": [row.clock_mhz for row in rows]}
    told = {unit: values for unit, values in states.items() if any(value is not None for value in values)}
    cells = [
        (
            f"{row.seconds:.0f}",
            f"{row.p50_ms:.3f}",
            f"{row.p90_ms:.3f}",
            *(None if values[place] is None else f"{values[place]:.0f}" for values in told.values()),
            "█" * round(_LONGEST_BAR * row.p50_ms / longest),
        )
        for place, row in enumerate(rows)
    ]
    print_table(f"{name} over time", (">s", ">p50 ms", ">p90 ms", *told, "p50"), cells)
