"""The latency of candidates: on this machine, on a board, by executed instructions, or by Vela's estimate."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import cache, targets
from mnedge.errors import UnsupportedError
from mnedge.files import sha256, write_text
from mnedge.foreign import checked_number
from mnedge.results.stored import read, to_json
from mnedge.workflows.search.footprint import NAME, footprint, int8_tflite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.workflows.search.candidates import Candidate

Kind = Literal["runs", "instructions", "estimate", "none"]
_SECONDS = 1.0


@dataclass(frozen=True)
class _Executed:
    """Instructions that one run of a candidate executes."""

    instructions: int


@dataclass(frozen=True)
class _Medians:
    """Median latency of candidates that were measured together, ms, in their order."""

    p50_ms: tuple[float, ...]


@dataclass(frozen=True)
class Stopwatch:
    """Method of determining latency on a target.

    Attributes:
        target: The target.
        kind: "runs" of the .tflite on a device, executed "instructions" over a clock, Vela's "estimate", or "none".
        device: Device URI; "" if there is none.
        threads: Threads of the runtime, for runs.
        clock_mhz: Clock that instructions are divided by.
        cycles_per_instruction: Cycles that an instruction is taken to last.
    """

    target: str
    kind: Kind
    device: str = ""
    threads: int = 1
    clock_mhz: float = 0.0
    cycles_per_instruction: float = 1.0

    @property
    def words(self) -> str:
        """A sentence that says what the milliseconds are."""
        if self.kind == "instructions":
            return (
                f"instructions executed on {self.device} (emulated), taken as {self.cycles_per_instruction:g} cycles "
                f"each at {self.clock_mhz:g} MHz"
            )
        if self.kind == "estimate":
            return "Vela's estimate, of every variant"
        if self.kind == "runs":
            return f"int8 .tflite on {self.device}, {self.threads} thread{'s' * (self.threads != 1)}"
        return "unknown, as this target has no device here and no clock"


def stopwatch(
    target: str, *, device: str | None, threads: int, clock_mhz: float | None, cycles_per_instruction: float
) -> Stopwatch:
    """Chooses how latency is determined on a target.

    Args:
        target: Name of the target.
        device: Device URI; None for the target's own.
        threads: Threads of the runtime.
        clock_mhz: Clock of a microcontroller; None for that of the target's typical part.
        cycles_per_instruction: Cycles that an instruction of a microcontroller is taken to last.

    Raises:
        UnsupportedError: The device does not execute what is made for the target.
        InputError: The clock is no number above 0.
    """
    chosen = targets.get(target)
    if clock_mhz is not None:
        checked_number("--clock-mhz", clock_mhz)
    checked_number("--cycles-per-instruction", cycles_per_instruction)
    if chosen.accelerator:
        if device:
            raise UnsupportedError(f"target {target} has no device to measure on, Vela estimates it; drop --device")
        return Stopwatch(target, "estimate")
    if not chosen.kernels:
        return Stopwatch(target, "runs", device or "local", threads)
    uri = device or chosen.device
    if device and not device.startswith("qemu://"):
        raise UnsupportedError(
            f"C for {target} runs on qemu://cortex-m4, qemu://cortex-m7 or qemu://cortex-m55 here, not on {device}"
        )
    clock = chosen.clock_mhz if clock_mhz is None else clock_mhz
    if not uri or not clock:
        return Stopwatch(target, "none")
    return Stopwatch(target, "instructions", uri, 1, clock, cycles_per_instruction)


def measure_ms(
    watch: Stopwatch, candidates: Sequence[Candidate], progress: Callable[[float], None]
) -> dict[Candidate, float]:
    """Measures candidates, or finds what was measured of them before.

    Args:
        watch: Method of determining latency.
        candidates: Candidates to measure; those that run on this machine take turns.
        progress: Called with the share that is done, 0..1.

    Returns:
        Milliseconds of a picture: the median of runs, or instructions over the clock.

    Raises:
        ToolError: The device or a tool cannot be had.
    """
    if watch.kind == "runs":
        return _runs(watch, candidates, progress)
    found = {}
    for place, candidate in enumerate(candidates):
        progress(place / len(candidates))
        if watch.kind == "estimate":
            estimate = footprint(candidate, watch.target).estimate_ms
            assert estimate is not None
            found[candidate] = estimate
        else:
            count = _instructions(watch, candidate)
            found[candidate] = count * watch.cycles_per_instruction / (watch.clock_mhz * 1e3)
    progress(1.0)
    return found


def _instructions(watch: Stopwatch, candidate: Candidate) -> int:
    key = {**candidate.key, "target": watch.target, "device": watch.device}

    def make(folder: Path) -> None:
        from mnedge.codegen.compile import compile_c
        from mnedge.codegen.vectors import noise
        from mnedge.devices import _boards, _emulated
        from mnedge.errors import ToolError
        from mnedge.formats.tflite_read import read_tflite

        core = watch.device.removeprefix("qemu://")
        with tempfile.TemporaryDirectory() as scratch:
            sources = Path(scratch) / "c"
            graph = read_tflite(int8_tflite(candidate, watch.target))
            manifest = compile_c(graph, name=NAME, target=watch.target, out=sources, measure=False)
            run = _emulated.run_inputs(sources, noise(manifest.input_bytes, 1), core=_boards.ALIASES.get(core, core))
        if not run.instructions:
            raise ToolError("instructions are counted by a plugin that needs gcc or clang here, and there is neither")
        write_text(folder / "run.json", to_json(_Executed(run.instructions)))

    return read(cache.stage("search-instructions", key, make) / "run.json", _Executed).instructions


def _runs(
    watch: Stopwatch, candidates: Sequence[Candidate], progress: Callable[[float], None]
) -> dict[Candidate, float]:
    from mnedge.workflows.bench import bench
    from mnedge.workflows.build.measure import machine

    paths = {}
    for place, candidate in enumerate(candidates):
        progress(0.5 * place / len(candidates))
        paths[candidate] = int8_tflite(candidate, watch.target)
    # The same candidates are measured together, in turns, and again so from the cache.
    key = {
        "tflite": [sha256(path) for path in paths.values()],
        "device": watch.device,
        "threads": watch.threads,
        "machine": asdict(machine()) if watch.device == "local" else None,
    }

    def make(folder: Path) -> None:
        rows = bench(
            list(paths.values()),
            (watch.device,),
            threads=watch.threads,
            seconds=_SECONDS,
            progress=lambda _stage, share: progress(0.5 + 0.5 * share),
        ).latency
        write_text(folder / "runs.json", to_json(_Medians(tuple(row.p50_ms for row in rows))))

    medians = read(cache.stage("search-latency", key, make) / "runs.json", _Medians)
    progress(1.0)
    return dict(zip(paths, medians.p50_ms, strict=True))
