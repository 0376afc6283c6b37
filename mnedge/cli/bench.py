"""`mnedge bench`: latency of artifacts, and whether they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import json_option, print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_BAR = 50
_UNITS = {"temperature_c": ">°C", "clock_mhz": ">MHz"}


PANEL = "Measure"


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", "uris", multiple=True, default=("local",), show_default=True, help="Device URI; repeatable.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--seconds", default=3.0, show_default=True, type=float, help="Measured time for each artifact.")
@click.option("--ops", is_flag=True, help="Also measure the time of each op.")
@click.option("--sustained", type=float, metavar="SECONDS", help="Run without a pause and draw latency over time.")
@json_option
def command(
    artifacts: tuple[Path, ...],
    uris: tuple[str, ...],
    threads: int,
    seconds: float,
    ops: bool,
    sustained: float | None,
    as_json: bool,
) -> None:
    """Measure the latency of ARTIFACTS, and compare each with the first one.

    Each is warmed up until stable; then all take turns, so that a machine that drifts slows all of them alike. A
    difference that its 95 % interval does not show is not called one.

    \b
    mnedge bench model.fp32.tflite model.int8.tflite model.int8.onnx
    mnedge bench model.int8.tflite --ops --json
    mnedge bench model.int8.tflite --sustained 60
    """
    from mnedge.errors import ToolError
    from mnedge.workflows.bench import bench

    with progress() as told:
        result = bench(artifacts, uris, threads=threads, seconds=seconds, ops=ops, sustained_s=sustained, progress=told)
    if as_json:
        print_json(result)
    else:
        _print(result)
    if result["failed"]:
        raise ToolError("\n".join(row["error"] for row in result["failed"]))


def _print(result: dict[str, Any]) -> None:
    if any(row["device"] == "local" for row in result["latency"]):
        _print_conditions(result["conditions"])
    _print_latency(result["latency"])
    if result["ratios"]:
        _print_ratios(result["ratios"])
    for name, rows in result.get("ops", {}).items():
        _print_ops(name, rows)
    for name, rows in result.get("sustained", {}).items():
        _print_sustained(name, rows)
    for name, reasons in result.get("unsteady", {}).items():
        click.echo(f"{name} did not run steadily: {', '.join(reasons)}")


def _print_conditions(machine: dict[str, Any]) -> None:
    features = f" ({' '.join(machine['features'])})" if machine["features"] else ""
    click.echo(f"{machine['cpu']}{features}, {machine['cores']} cores", nl=False)
    click.echo(f", governor {machine['governor'] or 'unknown'}, load {machine['load']:.2f}")
    if machine["busy"]:
        click.echo("This machine is busy: the medians are high, the ratios hold as far as their intervals say.")


def _print_latency(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("artifact", "runtime", "device", ">threads", ">p50 ms", ">p90 ms", ">p99 ms", ">runs", ">partitions")
    cells = [
        (
            row["artifact"] + ("" if row.get("warmed_up", True) else " (not stable)"),
            row["runtime"],
            row["device"] + (" (emulated)" if row.get("emulated") else ""),
            row["threads"],
            *(_number(row.get(key)) for key in ("p50_ms", "p90_ms", "p99_ms")),
            row["runs"],
            row.get("partitions"),
        )
        for row in rows
    ]
    print_table("Latency", columns, cells)
    for device, told in {row["device"]: row["board"] for row in rows if row.get("board")}.items():
        click.echo(f"{device}: {_board(told)}")
    for row in rows:
        if row.get("unstable"):
            click.echo(f"{row['artifact']} on {row['device']} is not to be relied on: {', '.join(row['unstable'])}")
    if any(row.get("emulated") for row in rows):
        click.echo("Emulated: these times are the emulator's, not a board's.")


def _board(told: dict[str, Any]) -> str:
    """What a device says of itself, in one line: what it is, and what its figures depend on."""
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


def _print_ratios(rows: Sequence[dict[str, Any]]) -> None:
    cells = [
        (row["artifact"], f"{row['speedup']:.2f} x", "{:.2f} to {:.2f}".format(*row["interval"]), row["verdict"])
        for row in rows
    ]
    print_table(f"Against {rows[0]['reference']}", ("artifact", ">speed", ">95 % interval", "verdict"), cells)


def _print_ops(name: str, rows: Sequence[dict[str, Any]]) -> None:
    from mnedge.validation.op_latency import by_kind

    kinds = [(row["op"], row["count"], f"{row['ms']:.3f}", f"{row['share']:.0%}") for row in by_kind(list(rows))]
    print_table(f"Ops of {name}", ("op", ">count", ">ms", ">share"), kinds)
    slowest = sorted(rows, key=lambda row: -row["ms"])[:10]
    cells = [(row["op"], row["output"], "x".join(map(str, row["shape"])), f"{row['ms']:.3f}") for row in slowest]
    print_table("The slowest ten", ("op", "makes", "input", ">ms"), cells)


def _print_sustained(name: str, rows: Sequence[dict[str, Any]]) -> None:
    longest = max(row["p50_ms"] for row in rows)
    told = [key for key in ("temperature_c", "clock_mhz") if any(row.get(key) is not None for row in rows)]
    cells = [
        (
            f"{row['seconds']:.0f}",
            f"{row['p50_ms']:.3f}",
            f"{row['p90_ms']:.3f}",
            *(None if row[key] is None else f"{row[key]:.0f}" for key in told),
            "█" * round(_LONGEST_BAR * row["p50_ms"] / longest),
        )
        for row in rows
    ]
    print_table(f"{name} over time", (">s", ">p50 ms", ">p90 ms", *(_UNITS[key] for key in told), "p50"), cells)
