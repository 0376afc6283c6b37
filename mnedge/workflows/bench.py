"""All that `mnedge bench` measures, as one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import devices
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.foreign import checked_number
from mnedge.validation.latency import Timing, compare, conditions, sustained, time_in_turns
from mnedge.validation.op_latency import op_latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.devices import Device, DeviceTiming, Sample

_BOARD_TURNS = 3
_LONGEST_S = 7 * 86_400.0
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
        with `ops` {ops: {artifact: rows}}, with `sustained_s` {sustained: {artifact: rows}, unsteady: {artifact:
        reasons}}, which names a board's throttling and changes of its clock. `failed` has {device, error} of devices
        that could not be had or failed; what they measured by then is there all the same.

    Raises:
        InputError: A file is missing, its runtime refuses it, or a time is no number above 0.
        UnsupportedError: `ops` on another device.
        ToolError: No device could be had.
    """
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise InputError(f"{missing} does not exist; give .tflite or .onnx files")
    if ops and tuple(uris) != ("local",):
        raise UnsupportedError(f"--ops runs on this machine only, not on {', '.join(uris)}")
    checked_number("--seconds", seconds, most=_LONGEST_S)
    if sustained_s is not None:
        checked_number("--sustained, in seconds,", sustained_s, most=_LONGEST_S)
    told = progress or (lambda _stage, _fraction: None)
    result: dict[str, Any] = {"conditions": conditions(), "latency": [], "ratios": []}
    if "local" in uris:
        timings = time_in_turns(
            paths, threads=threads, seconds=seconds, progress=lambda share: told("measure latency", share)
        )
        rows, ratios = _rows(timings, [{} for _ in paths])
        result["latency"] += rows
        result["ratios"] += ratios
    # Other devices measure at the same time, but never beside this machine's own figures.
    others = [uri for uri in uris if uri != "local"]
    found, result["failed"] = devices.side_by_side(
        others, lambda device: _on_board(device, paths, threads, seconds, lambda share: told("measure latency", share))
    )
    for measured in found.values():
        rows, ratios = _rows(*zip(*measured, strict=True))
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
    if sustained_s is not None:
        told("run on", 0.0)
        here = paths if "local" in uris else ()
        result["sustained"] = {path.name: sustained(path, threads=threads, seconds=sustained_s) for path in here}
        alive = [uri for uri in others if not _has_failed(uri, result["failed"])]
        over_time, result["unsteady"], failed = _sustained(alive, paths, threads, sustained_s)
        result["sustained"] |= over_time
        result["failed"] += failed
        told("run on", 1.0)
    return result


def _rows(
    timings: Sequence[Timing], notes: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows and ratios of one device."""
    rows = [{**timing.row("local"), **note} for timing, note in zip(timings, notes, strict=True)]
    for row in rows:
        del row["samples_ms"]
    return rows, [{"device": rows[0]["device"], **ratio.row()} for ratio in compare(timings)]


def _on_board(
    device: Device, paths: Sequence[Path], threads: int, seconds: float, told: Callable[[float], None]
) -> Iterator[tuple[Timing, dict[str, Any]]]:
    """Times artifacts on another device, in a few turns where there are several.

    Gives the timing of each artifact and what belongs beside it; where the device fails, of the turns until then.
    """
    measure = _latency_of(device)
    turns = _BOARD_TURNS if len(paths) > 1 else 1
    taken: list[list[DeviceTiming]] = [[] for _ in paths]
    failure = None
    try:
        for turn in range(turns):
            for place, path in enumerate(paths):
                told((turn * len(paths) + place) / (turns * len(paths)))
                taken[place].append(measure(path, threads=threads, seconds=seconds / turns))
    except ToolError as exc:
        failure = exc
    for path, timings in zip(paths, taken, strict=True):
        if timings:
            yield _merged(device.name, path, threads, timings)
    if failure is not None:
        raise failure


def _merged(device: str, path: Path, threads: int, timings: Sequence[DeviceTiming]) -> tuple[Timing, dict[str, Any]]:
    """The turns of one artifact as one timing, and what belongs beside it in its row."""
    rounds: list[NDArray[np.float64]] = []
    for timing in timings:
        samples = np.array([sample.ms for sample in timing.samples])
        rounds += np.array_split(samples, min(_ROUNDS_PER_TURN, samples.size))
    last = timings[-1]
    unstable = list(dict.fromkeys(reason for timing in timings for reason in timing.unstable))
    note = {
        "device": device,
        "board": dict(last.notes),
        "emulated": last.info.emulated,
        "unstable": unstable,
        "temperature_c": last.samples[-1].temperature_c,
        "clock_mhz": last.samples[-1].clock_mhz,
    }
    return Timing(path, last.info.version, threads, last.info.partitions, tuple(rounds), not unstable), note


def _sustained(
    uris: Sequence[str], paths: Sequence[Path], threads: int, seconds: float
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]], list[dict[str, str]]]:
    """Latency over time of artifacts on other devices, why it was not steady, and the devices that failed."""
    found, failed = devices.side_by_side(uris, lambda device: _sustained_on_board(device, paths, threads, seconds))
    runs = [run for named in found.values() for run in named]
    over_time = {name: rows for name, rows, _ in runs}
    return over_time, {name: reasons for name, _, reasons in runs if reasons}, failed


def _sustained_on_board(
    device: Device, paths: Sequence[Path], threads: int, seconds: float
) -> Iterator[tuple[str, list[dict[str, Any]], list[str]]]:
    """As `latency.sustained`, on another device, with its temperature and clock; a cut one as far as it came."""
    measure = _latency_of(device)
    for path in paths:
        name = f"{path.name} on {device.name}"
        try:
            timing = measure(path, threads=threads, runs=1, seconds=seconds)
        except devices.CutTimingError as exc:
            if exc.samples:
                yield name, _over_time(exc.samples), [f"cut off after {exc.samples[-1].at_s:.0f} s"]
            raise
        yield name, _over_time(timing.samples), list(timing.unstable)


def _over_time(samples: Sequence[Sample], bin_s: float = 1.0) -> list[dict[str, Any]]:
    """Latency, temperature and clock over time, one entry a bin that has samples."""
    bins: dict[int, list[Sample]] = {}
    for sample in samples:
        bins.setdefault(int(sample.at_s // bin_s), []).append(sample)
    found = []
    for inside in bins.values():
        p50, p90 = np.percentile([sample.ms for sample in inside], (50, 90))
        found.append(
            {
                "seconds": inside[-1].at_s,
                "p50_ms": float(p50),
                "p90_ms": float(p90),
                "runs": len(inside),
                "temperature_c": inside[-1].temperature_c,
                "clock_mhz": inside[-1].clock_mhz,
            }
        )
    return found


def _latency_of(device: Device) -> Callable[..., DeviceTiming]:
    """The device's method that measures latency.

    Raises:
        UnsupportedError: It has none.
    """
    measure: Callable[..., DeviceTiming] | None = getattr(device, "latency", None)
    if measure is None:
        raise UnsupportedError(
            f"{device.name} measures no latency; its times mean nothing or it runs no .tflite and .onnx"
        )
    return measure


def _has_failed(uri: str, failed: Sequence[dict[str, str]]) -> bool:
    return any(row["device"] == uri.partition("?")[0] for row in failed)
