"""Latency of artifacts on devices: its figures, its conditions, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mnedge.results.accuracy import Interval
from mnedge.results.stored import ABSENT, FLAT

if TYPE_CHECKING:
    from mnedge.untyped import JsonObject

Verdict = Literal["faster", "slower", "no difference shown"]


@dataclass(frozen=True)
class Conditions:
    """State of this machine that its figures depend on.

    Attributes:
        cpu: Name of the processor.
        machine: Its architecture.
        features: Instruction sets that kernels choose by.
        cores: Logical cores.
        governor: Frequency governor; None where the system does not tell it.
        load: Load average of the last minute.
        busy: Whether other programs take more than half of the cores.
    """

    cpu: str
    machine: str
    features: tuple[str, ...]
    cores: int
    governor: str | None
    load: float
    busy: bool


@dataclass(frozen=True)
class Machine:
    """The part of a machine that stays: processor, cores, memory (GiB) and system."""

    cpu: str
    cores: int
    memory_gib: int
    system: str


@dataclass(frozen=True)
class BoardState:
    """State of another device while it measured.

    Attributes:
        board: Facts that the figures depend on, by name: model, governor, temperature limits, …
        emulated: Whether the times are an emulator's.
        unstable: Reasons not to rely on the figures.
        temperature_c: Temperature at the end.
        clock_mhz: Clock at the end.
    """

    board: Mapping[str, object]
    emulated: bool
    unstable: tuple[str, ...]
    temperature_c: float | None
    clock_mhz: float | None


@dataclass(frozen=True)
class LatencyRow:
    """Latency of one artifact on one device.

    Attributes:
        artifact: File name.
        runtime: Runtime and version.
        device: URI of the device.
        threads: Threads of the runtime.
        p50_ms: Median of the runs.
        p90_ms: 90th percentile of the runs.
        runs: Number of timed runs.
        p99_ms: 99th percentile of the runs.
        warmed_up: Whether the warm-up ended because the times were stable.
        partitions: Delegate partitions; None where the notion does not exist.
        state: State of the device; None for this machine.
    """

    artifact: str
    runtime: str
    device: str
    threads: int
    p50_ms: float
    p90_ms: float
    p99_ms: float | None = None
    runs: int = 0
    warmed_up: bool = True
    partitions: int | None = None
    state: BoardState | None = field(default=None, metadata=FLAT)

    @property
    def emulated(self) -> bool:
        """Returns whether the time is an emulator's."""
        return self.state is not None and self.state.emulated

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts what a device said, which a stored row has beside its own fields, into a value of its own."""
        told = ("board", "emulated", "unstable", "temperature_c", "clock_mhz")
        if "board" not in row:
            return row
        state = {"temperature_c": None, "clock_mhz": None, **{name: row[name] for name in told if name in row}}
        return {**{name: value for name, value in row.items() if name not in told}, "state": state}


@dataclass(frozen=True)
class RatioRow:
    """Speed of an artifact against the first one on the same device.

    Attributes:
        device: URI of the device.
        artifact: File name.
        reference: File name of the first one.
        speedup: Its median by the artifact's; above 1 is faster.
        interval: The 95 % interval.
        verdict: Verdict of the interval.
    """

    device: str
    artifact: str
    reference: str
    speedup: float
    interval: Interval
    verdict: Verdict


@dataclass(frozen=True)
class OpTime:
    """Time of one op: its kind, the tensor that it makes, the shape of its first input, and milliseconds."""

    op: str
    output: str
    shape: tuple[int, ...]
    ms: float


@dataclass(frozen=True)
class KindTime:
    """Time of all ops of one kind: how many, milliseconds, and their share of all, 0..1."""

    op: str
    count: int
    ms: float
    share: float


@dataclass(frozen=True)
class Stretch:
    """A stretch of a run without a pause.

    Attributes:
        seconds: Time of its end.
        p50_ms: Median of its runs.
        p90_ms: 90th percentile of the runs.
        runs: Number of runs.
        temperature_c: Temperature at its end, where the device tells it.
        clock_mhz: Clock at its end, likewise.
    """

    seconds: float
    p50_ms: float
    p90_ms: float
    runs: int
    temperature_c: float | None = field(default=None, metadata=ABSENT)
    clock_mhz: float | None = field(default=None, metadata=ABSENT)
