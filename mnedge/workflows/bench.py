"""`bench`: latency of artifacts on devices, each against the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import devices as boards
from mnedge.devices import qemu
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.foreign import checked_number, is_there
from mnedge.progress import telling
from mnedge.results.bench import Bench
from mnedge.results.latency import BoardState, Stretch
from mnedge.validation.latency import Timing, compare, conditions, sustained, time_in_turns
from mnedge.validation.op_latency import op_latency
from mnedge.workflows.executable import executable
from mnedge.workflows.on_boards import cost_on_board, latency_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.devices import Device, DeviceTiming, Sample
    from mnedge.progress import Progress
    from mnedge.results.bench import BoardCost
    from mnedge.results.latency import LatencyRow, OpTime, RatioRow
    from mnedge.results.parity import DeviceFailure

_BOARD_TURNS = 3
_LONGEST_S = 7 * 86_400.0
_ROUNDS_PER_TURN = 5
_LOCAL = "local"
_EMULATED = "qemu://"


def bench(
    artifacts: Sequence[Path | str],
    devices: Sequence[str] = (_LOCAL,),
    *,
    threads: int = 1,
    seconds: float = 3.0,
    ops: bool = False,
    sustained_s: float | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Measures artifacts, each against the first.

    Args:
        artifacts: .tflite and .onnx files; a Keras model or SavedModel is measured as the float .tflite that it
            becomes; for emulated boards also folders that `compile` wrote.
        devices: URIs; ratios are taken on each device by itself. Emulated boards (qemu://…) count instructions.
        threads: Threads of the runtime.
        seconds: Measured time for each artifact.
        ops: Measure each op too (this machine only).
        sustained_s: Run each artifact without a pause for so many seconds too; None for no such run.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: A file is missing, its runtime refuses it, or a time is no number above 0.
        UnsupportedError: `ops` on another device.
        ToolError: No device could be had.
    """
    missing = next((path for path in map(Path, artifacts) if not is_there(path)), None)
    if missing is not None:
        raise InputError(f"{missing} does not exist; give .tflite or .onnx files, or Keras models")
    if ops and tuple(devices) != (_LOCAL,):
        raise UnsupportedError(f"--ops runs on this machine only, not on {', '.join(devices)}")
    if sustained_s is not None and all(uri.startswith(_EMULATED) for uri in devices):
        raise UnsupportedError(f"--sustained measures times, and {', '.join(devices)} counts instructions")
    checked_number("--seconds", seconds, most=_LONGEST_S)
    if sustained_s is not None:
        checked_number("--sustained, in seconds,", sustained_s, most=_LONGEST_S)
    with executable(artifacts) as paths:
        return _measured(paths, devices, threads, seconds, telling(progress), ops=ops, sustained_s=sustained_s)


def _measured(
    paths: Sequence[Path],
    devices: Sequence[str],
    threads: int,
    seconds: float,
    told: Progress,
    *,
    ops: bool,
    sustained_s: float | None,
) -> Bench:
    """Measures files that runtimes load, for `bench`."""
    emulated = [uri for uri in devices if uri.startswith(_EMULATED)]
    devices = [uri for uri in devices if uri not in emulated]
    now = conditions()
    costs = _costs(paths, emulated, told) if emulated else None
    latency: list[LatencyRow] = []
    ratios: list[RatioRow] = []
    failed: list[DeviceFailure] = []
    if devices:
        latency, ratios, failed = _latencies(
            paths, devices, threads, seconds, lambda share: told("measure latency", share)
        )
        told("measure latency", 1.0)
    times = _op_times(paths, threads, lambda share: told("measure ops", share)) if ops else None
    over_time: dict[str, tuple[Stretch, ...]] | None = None
    unsteady: dict[str, tuple[str, ...]] | None = None
    if sustained_s is not None:
        told("run on", 0.0)
        here = paths if _LOCAL in devices else ()
        over_time = {path.name: tuple(sustained(path, threads=threads, seconds=sustained_s)) for path in here}
        alive = [uri for uri in devices if uri != _LOCAL and not _has_failed(uri, failed)]
        away, unsteady, failed_since = _sustained(alive, paths, threads, sustained_s)
        over_time |= away
        failed += failed_since
        told("run on", 1.0)
    return Bench(now, tuple(latency), tuple(ratios), tuple(failed), times, over_time, unsteady, costs)


def _costs(paths: Sequence[Path], uris: Sequence[str], told: Callable[[str, float], None]) -> tuple[BoardCost, ...]:
    """Instructions of every artifact on every emulated board."""
    costs = []
    for uri in uris:
        board = qemu.connect(uri)
        for number, path in enumerate(paths):
            told(f"count instructions on {uri}", number / len(paths))
            costs.append(cost_on_board(path, board))
        told(f"count instructions on {uri}", 1.0)
    return tuple(costs)


def _latencies(
    paths: Sequence[Path], uris: Sequence[str], threads: int, seconds: float, told: Callable[[float], None]
) -> tuple[list[LatencyRow], list[RatioRow], list[DeviceFailure]]:
    """Latency on every device, and the devices that failed.

    Raises:
        ToolError: No device could be had.
    """
    latency: list[LatencyRow] = []
    ratios: list[RatioRow] = []
    if _LOCAL in uris:
        timings = time_in_turns(paths, threads=threads, seconds=seconds, progress=told)
        latency += [timing.row() for timing in timings]
        ratios += [ratio.row() for ratio in compare(timings)]
    # Other devices measure at the same time, but never beside this machine's own figures.
    others = [uri for uri in uris if uri != _LOCAL]
    found, failed = boards.side_by_side(others, lambda device: _on_board(device, paths, threads, seconds, told))
    for name, measured in found.items():
        latency += [timing.row(name, state) for timing, state in measured]
        ratios += [ratio.row(name) for ratio in compare([timing for timing, _ in measured])]
    if not latency:
        raise ToolError("\n".join(failure.error for failure in failed))
    return latency, ratios, failed


def _op_times(paths: Sequence[Path], threads: int, told: Callable[[float], None]) -> Mapping[str, tuple[OpTime, ...]]:
    times = {}
    for number, path in enumerate(paths):
        told(number / len(paths))
        times[path.name] = tuple(op_latency(path, threads=threads))
    told(1.0)
    return times


def _on_board(
    device: Device, paths: Sequence[Path], threads: int, seconds: float, told: Callable[[float], None]
) -> Iterator[tuple[Timing, BoardState]]:
    """Times artifacts on another device, in a few turns where there are several.

    Gives the timing of each artifact and what the device said; where the device fails, of the turns until then.
    """
    measure = latency_of(device)
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
            yield _merged(path, threads, timings)
    if failure is not None:
        raise failure


def _merged(path: Path, threads: int, timings: Sequence[DeviceTiming]) -> tuple[Timing, BoardState]:
    """The turns of one artifact as one timing, and what the device said."""
    rounds: list[NDArray[np.float64]] = []
    for timing in timings:
        samples = np.array([sample.ms for sample in timing.samples])
        rounds += np.array_split(samples, min(_ROUNDS_PER_TURN, samples.size))
    last = timings[-1]
    unstable = tuple(dict.fromkeys(reason for timing in timings for reason in timing.unstable))
    state = BoardState(
        board=dict(last.notes),
        emulated=last.info.emulated,
        unstable=unstable,
        temperature_c=last.samples[-1].temperature_c,
        clock_mhz=last.samples[-1].clock_mhz,
    )
    return Timing(path, last.info.version, threads, last.info.partitions, tuple(rounds), not unstable), state


def _sustained(
    uris: Sequence[str], paths: Sequence[Path], threads: int, seconds: float
) -> tuple[dict[str, tuple[Stretch, ...]], dict[str, tuple[str, ...]], list[DeviceFailure]]:
    """Latency over time of artifacts on other devices, why it was not steady, and the devices that failed."""
    found, failed = boards.side_by_side(uris, lambda device: _sustained_on_board(device, paths, threads, seconds))
    runs = [run for named in found.values() for run in named]
    over_time = {name: rows for name, rows, _ in runs}
    return over_time, {name: reasons for name, _, reasons in runs if reasons}, failed


def _sustained_on_board(
    device: Device, paths: Sequence[Path], threads: int, seconds: float
) -> Iterator[tuple[str, tuple[Stretch, ...], tuple[str, ...]]]:
    """Measures sustained latency on another device, with its temperature and clock; keeps what a cut run has."""
    measure = latency_of(device)
    for path in paths:
        name = f"{path.name} on {device.name}"
        try:
            timing = measure(path, threads=threads, runs=1, seconds=seconds)
        except boards.CutTimingError as exc:
            if exc.samples:
                yield name, _over_time(exc.samples), (f"cut off after {exc.samples[-1].at_s:.0f} s",)
            raise
        yield name, _over_time(timing.samples), tuple(timing.unstable)


def _over_time(samples: Sequence[Sample], bin_s: float = 1.0) -> tuple[Stretch, ...]:
    """Latency, temperature and clock over time, one entry a bin that has samples."""
    bins: dict[int, list[Sample]] = {}
    for sample in samples:
        bins.setdefault(int(sample.at_s // bin_s), []).append(sample)
    found = []
    for inside in bins.values():
        p50, p90 = np.percentile([sample.ms for sample in inside], (50, 90))
        last = inside[-1]
        found.append(Stretch(last.at_s, float(p50), float(p90), len(inside), last.temperature_c, last.clock_mhz))
    return tuple(found)


def _has_failed(uri: str, failed: Sequence[DeviceFailure]) -> bool:
    return any(row.device == uri.partition("?")[0] for row in failed)
