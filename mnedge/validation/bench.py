"""All that `mnedge bench` measures, as one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import devices
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.validation.latency import Timing, compare, conditions, sustained, time_in_turns
from mnedge.validation.op_latency import op_latency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.devices import Device

_BOARD_TURNS = 3
_ROUNDS_PER_TURN = 5


def bench(
    paths: Sequence[Path],
    uris: Sequence[str] = ("local",),
    *,
    threads: int = 1,
    seconds: float = 3.0,
    ops: bool = False,
    sustained_s: float | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Measures artifacts, each against the first.

    Args:
        paths: .tflite and .onnx files.
        uris: Devices; ratios are taken on each device by itself.
        threads: Threads of the runtime.
        seconds: Measured time for each artifact.
        ops: Measure each op too (this machine only).
        sustained_s: Run each artifact without a pause for so long too.
        progress: Called with what is being done and the share (0..1) of it that is done.

    Returns:
        {conditions, latency: [rows of report.json], ratios: [{artifact, reference, speedup, interval, verdict}]}, and
        with `ops` {ops: {artifact: rows}}, with `sustained_s` {sustained: {artifact: rows}}. `failed` has
        {device, error} of devices that could not be had.

    Raises:
        InputError: A file is missing, or its runtime refuses it.
        UnsupportedError: `ops` on another device.
        ToolError: No device could be had.
    """
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise InputError(f"{missing} does not exist; give .tflite or .onnx files")
    if ops and tuple(uris) != ("local",):
        raise UnsupportedError(f"--ops runs on this machine only, not on {', '.join(uris)}")
    told = progress or (lambda _stage, _fraction: None)
    result: dict[str, Any] = {"conditions": conditions(), "latency": [], "ratios": []}
    if "local" in uris:
        rows, ratios = _on_device(
            devices.get("local"), paths, threads, seconds, lambda share: told("measure latency", share)
        )
        result["latency"] += rows
        result["ratios"] += ratios
    # Other devices measure at the same time, but never beside this machine's own figures.
    others = [uri for uri in uris if uri != "local"]
    found, result["failed"] = devices.side_by_side(
        others, lambda device: _on_device(device, paths, threads, seconds, lambda share: told("measure latency", share))
    )
    for rows, ratios in found.values():
        result["latency"] += rows
        result["ratios"] += ratios
    if not result["latency"]:
        raise ToolError("\n".join(row["error"] for row in result["failed"]))
    told("measure latency", 1.0)
    if ops:
        result["ops"] = {}
        for number, path in enumerate(paths):
            told("measure ops", number / len(paths))
            result["ops"][path.name] = op_latency(path, threads=threads)
        told("measure ops", 1.0)
    if sustained_s:
        told("run on", 0.0)
        result["sustained"] = {
            path.name if uri == "local" else f"{path.name} on {uri.partition('?')[0]}": sustained(
                path, threads=threads, seconds=sustained_s
            )
            if uri == "local"
            else _sustained_on_board(uri, path, threads, sustained_s)
            for uri in uris
            for path in paths
        }
        told("run on", 1.0)
    return result


def _on_device(
    device: Device, paths: Sequence[Path], threads: int, seconds: float, told: Callable[[float], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if device.name == "local":
        timings = time_in_turns(paths, threads=threads, seconds=seconds, progress=told)
        notes: list[dict[str, Any]] = [{} for _ in paths]
    else:
        timings, notes = _on_board(device, paths, threads, seconds, told)
    rows = [{**timing.row("local"), **note} for timing, note in zip(timings, notes, strict=True)]
    for row in rows:
        del row["samples_ms"]
    return rows, [{"device": rows[0]["device"], **ratio.row()} for ratio in compare(timings)]


def _on_board(
    device: Device, paths: Sequence[Path], threads: int, seconds: float, told: Callable[[float], None]
) -> tuple[list[Timing], list[dict[str, Any]]]:
    """Times artifacts on another device, in a few turns where there are several."""
    measure = getattr(device, "latency", None)
    if measure is None:
        raise UnsupportedError(
            f"{device.name} measures no latency; its times mean nothing or it runs no .tflite and .onnx"
        )
    turns = _BOARD_TURNS if len(paths) > 1 else 1
    rounds: list[list[NDArray[np.float64]]] = [[] for _ in paths]
    told_of: list[Any] = [None for _ in paths]
    unstable: list[dict[str, None]] = [{} for _ in paths]
    for turn in range(turns):
        for place, path in enumerate(paths):
            told((turn * len(paths) + place) / (turns * len(paths)))
            timing = measure(path, threads=threads, seconds=seconds / turns)
            samples = np.array([sample.ms for sample in timing.samples])
            rounds[place] += np.array_split(samples, min(_ROUNDS_PER_TURN, samples.size))
            unstable[place] |= dict.fromkeys(timing.unstable)
            told_of[place] = timing
    timings = [
        Timing(path, last.info.version, threads, last.info.partitions, tuple(runs), not reasons)
        for path, last, runs, reasons in zip(paths, told_of, rounds, unstable, strict=True)
    ]
    notes = [
        {
            "device": device.name,
            "board": dict(last.notes),
            "emulated": last.info.emulated,
            "unstable": list(reasons),
            "temperature_c": last.samples[-1].temperature_c,
            "clock_mhz": last.samples[-1].clock_mhz,
        }
        for last, reasons in zip(told_of, unstable, strict=True)
    ]
    return timings, notes


def _sustained_on_board(uri: str, path: Path, threads: int, seconds: float, bin_s: float = 1.0) -> list[dict[str, Any]]:
    """As `latency.sustained`, on another device, with its temperature and clock: one entry a second."""
    device: Any = devices.get(uri)
    samples = device.latency(path, threads=threads, runs=1, seconds=seconds).samples
    ends_s = np.cumsum([sample.ms for sample in samples]) / 1e3
    found = []
    for number in np.unique(ends_s // bin_s):
        places = np.flatnonzero(ends_s // bin_s == number)
        p50, p90 = np.percentile([samples[place].ms for place in places], (50, 90))
        last = samples[places[-1]]
        found.append(
            {
                "seconds": float(ends_s[places[-1]]),
                "p50_ms": float(p50),
                "p90_ms": float(p90),
                "runs": int(places.size),
                "temperature_c": last.temperature_c,
                "clock_mhz": last.clock_mhz,
            }
        )
    return found
