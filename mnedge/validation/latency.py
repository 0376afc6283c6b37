"""Latency of artifacts: warmed up until stable, timed in turns, compared with the interval that the runs allow."""

from __future__ import annotations

import math
import platform
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import runtimes
from mnedge.results.latency import Conditions, LatencyRow, RatioRow, Stretch, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnedge.results.latency import BoardState
    from mnedge.runtimes import ChildSession, Session, TensorSpec
    from mnedge.untyped import AnyArray

_WARMUP_S = 0.25
_LONGEST_WARMUP_S = 4.0
_STABLE_FRACTION = 0.05
# Runs of one artifact before the turn passes on: long enough to be in its own caches, short against any drift.
_TURN_S = 0.008
_FEWEST_TURN_RUNS = 3
_FEWEST_ROUNDS = 12
_RESAMPLES = 2000
_Z95 = 1.96
# Share of the time after which a measurement may end, where that is allowed.
_LEAST_SHARE = 1 / 3


@dataclass(frozen=True)
class Timing:
    """The runs of one artifact.

    Attributes:
        artifact: Its path.
        runtime: Runtime and version.
        threads: Threads that the runtime was given.
        partitions: Delegate partitions; None where the notion does not exist.
        rounds_ms: Milliseconds of each run, one array a round; the first run of a turn, in cold caches, left out.
        stable: Whether the warm-up ended because two stretches agreed, not because its time was over.
    """

    artifact: Path
    runtime: str
    threads: int
    partitions: int | None
    rounds_ms: tuple[NDArray[np.float64], ...]
    stable: bool

    @property
    def samples_ms(self) -> NDArray[np.float64]:
        """Times of the runs in order, milliseconds."""
        return np.concatenate(self.rounds_ms)

    def row(self, device: str = "local", state: BoardState | None = None) -> LatencyRow:
        """The row of report.json.

        Args:
            device: URI of the device.
            state: State of the device; None for this machine.
        """
        samples = self.samples_ms
        p50, p90, p99 = (float(np.percentile(samples, share)) for share in (50, 90, 99))
        return LatencyRow(
            artifact=self.artifact.name,
            runtime=self.runtime,
            device=device,
            threads=self.threads,
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            runs=int(samples.size),
            warmed_up=self.stable,
            partitions=self.partitions,
            state=state,
        )


def time_in_turns(
    paths: Sequence[Path],
    *,
    threads: int = 1,
    seconds: float = 1.5,
    enough: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Timing]:
    """Times artifacts on random input of this machine, in rounds in which each has its turn.

    A machine that drifts (heat, clock, other work) then slows all of them alike, and ratios stay. The order turns by
    one place each round.

    Args:
        paths: .tflite and .onnx files.
        threads: Threads for each runtime.
        seconds: Measured time for each artifact, warm-up not counted; at least 12 rounds are run.
        enough: Share of each median that its 95 % interval may reach to either side for the measurement to end after
            a third of the time already; None never ends early.
        progress: Called with the share (0..1) that is done.

    Raises:
        InputError: A runtime refuses a file, or none loads it.
        ToolError: A runtime is not installed.
    """
    with ExitStack() as opened:
        sessions = [opened.enter_context(closing(_session(path, threads))) for path in paths]
        return _in_turns(paths, sessions, threads, seconds, enough, progress)


def _session(path: Path, threads: int) -> ChildSession:
    return runtimes.open_session(runtimes.for_file(path), path, threads)


def _in_turns(
    paths: Sequence[Path],
    sessions: Sequence[Session],
    threads: int,
    seconds: float,
    enough: float | None,
    progress: Callable[[float], None] | None,
) -> list[Timing]:
    pairs = [(session, random_inputs(session)) for session in sessions]
    warmed = [warm_up(session, feed) for session, feed in pairs]
    turn_runs = [max(_FEWEST_TURN_RUNS, int(_TURN_S * 1e3 / run_ms)) + 1 for run_ms, _ in warmed]
    rounds: list[list[NDArray[np.float64]]] = [[] for _ in paths]
    begin, budget = time.perf_counter(), seconds * len(pairs)
    while len(rounds[0]) < _FEWEST_ROUNDS or time.perf_counter() - begin < budget:
        first = len(rounds[0]) % len(pairs)
        for place in (*range(first, len(pairs)), *range(first)):
            session, feed = pairs[place]
            rounds[place].append(session.time_ms(*feed, runs=turn_runs[place])[1:])
        share = (time.perf_counter() - begin) / budget
        if progress is not None:
            progress(min(share, 0.99))
        if (
            enough is not None
            and share >= _LEAST_SHARE
            and len(rounds[0]) % _FEWEST_ROUNDS == 0
            and all(median_spread(runs) <= enough for runs in rounds)
        ):
            break
    return [
        Timing(path, session.version, threads, session.partitions, tuple(runs), stable)
        for path, session, runs, (_, stable) in zip(paths, sessions, rounds, warmed, strict=True)
    ]


def median_spread(rounds: Sequence[NDArray[np.float64]]) -> float:
    """Half the 95 % interval of the median of rounds' medians, as a share of it.

    The interval lies between two of the sorted medians, whatever their distribution (Conover 1999, section 3.2).

    Args:
        rounds: Milliseconds of each run, one array a round.
    """
    medians = np.sort([float(np.median(runs)) for runs in rounds])
    reach = _Z95 * math.sqrt(len(medians)) / 2
    low = medians[max(0, math.floor(len(medians) / 2 - reach))]
    high = medians[min(len(medians) - 1, math.ceil(len(medians) / 2 + reach))]
    return float((high - low) / 2 / np.median(medians))


def random_inputs(session: Session, seed: int = 0) -> tuple[AnyArray, ...]:
    """Random values for every input of a model, in file order; see `random_input`."""
    return tuple(random_input(spec, seed) for spec in session.inputs)


def random_input(spec: TensorSpec, seed: int = 0) -> AnyArray:
    """Random values for an input: in [-1, 1] for float, the whole range of an 8- or 16-bit dtype.

    Whole numbers of more bits are indices or flags, of which only 0 is surely allowed: they are 0.
    """
    generator = np.random.default_rng(seed)
    if spec.dtype.startswith("float"):
        return generator.uniform(-1.0, 1.0, spec.shape).astype(spec.dtype)
    if spec.dtype not in ("int8", "uint8", "int16"):
        return np.zeros(spec.shape, spec.dtype)
    limits = np.iinfo(spec.dtype)
    return generator.integers(limits.min, limits.max + 1, spec.shape, dtype=spec.dtype)


def warm_up(session: Session, feed: tuple[AnyArray, ...]) -> tuple[float, bool]:
    """Runs a session until two stretches in a row have medians within 5 %.

    Returns:
        The last median in milliseconds, and whether it became stable within 4 seconds.
    """
    before, deadline = np.inf, time.perf_counter() + _LONGEST_WARMUP_S
    while True:
        median = float(np.median(session.time_ms(*feed, runs=_FEWEST_TURN_RUNS, seconds=_WARMUP_S)))
        if abs(median / before - 1) < _STABLE_FRACTION:
            return median, True
        if time.perf_counter() > deadline:
            return median, False
        before = median


@dataclass(frozen=True)
class Ratio:
    """Speed of an artifact against the reference.

    Attributes:
        artifact: Its path.
        reference: Timing that it is compared with.
        speedup: Reference's median by the artifact's; above 1 is faster.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    artifact: Path
    reference: Path
    speedup: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Returns the verdict of the interval: "faster", "slower", or "no difference shown"."""
        if self.low > 1.0:
            return "faster"
        return "slower" if self.high < 1.0 else "no difference shown"

    def row(self, device: str = "local") -> RatioRow:
        """The row of `bench` for a device."""
        interval = (self.low, self.high)
        return RatioRow(device, self.artifact.name, self.reference.name, self.speedup, interval, self.verdict)


def compare(timings: Sequence[Timing], *, seed: int = 0) -> list[Ratio]:
    """Compares each artifact with the first one.

    The interval is the percentile bootstrap (Efron 1979) over rounds, the same rounds for both sides: runs
    within a round share the state of the machine and are not independent.
    """
    rounds = min(len(timing.rounds_ms) for timing in timings)
    medians = np.array([[np.median(runs) for runs in timing.rounds_ms[:rounds]] for timing in timings])
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, medians.shape[1], (_RESAMPLES, medians.shape[1]))
    resampled = np.median(medians[:, picks], axis=2)
    found = []
    for place in range(1, len(timings)):
        low, high = np.percentile(resampled[0] / resampled[place], (2.5, 97.5))
        speedup = float(np.median(medians[0]) / np.median(medians[place]))
        found.append(Ratio(timings[place].artifact, timings[0].artifact, speedup, float(low), float(high)))
    return found


def sustained(path: Path, *, threads: int = 1, seconds: float, bin_s: float = 1.0) -> list[Stretch]:
    """Runs one artifact without a pause and returns its latency over time, one entry a bin of `bin_s` seconds."""
    found: list[Stretch] = []
    with closing(_session(path, threads)) as session:
        feed = random_inputs(session)
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            left_s = begin + seconds - time.perf_counter()
            samples = session.time_ms(*feed, runs=1, seconds=min(bin_s, left_s))
            p50, p90 = np.percentile(samples, (50, 90))
            found.append(Stretch(time.perf_counter() - begin, float(p50), float(p90), samples.size))
    return found


# Features by which the integer and float kernels of these runtimes are chosen.
_KERNEL_FEATURES = (
    "sse4_1", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "amx_int8",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve",
)  # fmt: skip


def conditions() -> Conditions:
    """Asks the system what the figures of this machine depend on."""
    import psutil

    fields: dict[str, str] = {}
    for line in _text("/proc/cpuinfo").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    features = set((fields.get("flags") or fields.get("Features") or "").split())
    cores = psutil.cpu_count() or 1
    load = psutil.getloadavg()[0]
    return Conditions(
        cpu=fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine(),
        machine=platform.machine(),
        features=tuple(name for name in _KERNEL_FEATURES if name in features),
        cores=cores,
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        load=round(load, 2),
        busy=load > 0.5 * cores,
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
