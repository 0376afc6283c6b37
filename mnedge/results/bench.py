"""Result of `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.results import shown
from mnedge.results.compilation import Layer
from mnedge.results.latency import Conditions, LatencyRow, OpTime, RatioRow, Stretch
from mnedge.results.parity import DeviceFailure
from mnedge.results.stored import ABSENT


@dataclass(frozen=True)
class BoardCost:
    """Cost of an inference on an emulated board.

    Attributes:
        artifact: File name.
        device: URI of the board.
        emulated: Always: these are executed instructions of an emulator, neither cycles nor a time.
        instructions: Executed by one inference.
        macs: Multiply-adds of one inference.
        arena_bytes: Working memory, bytes.
        ram_bytes: Arena, input and output, bytes.
        stack_bytes: Deepest stack, bytes.
        layers: One row a layer, the one with the most instructions first.
    """

    artifact: str
    device: str
    emulated: bool
    instructions: int
    macs: int
    arena_bytes: int
    ram_bytes: int
    stack_bytes: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Bench:
    """Latency of artifacts on devices, each against the first.

    Attributes:
        conditions: State of this machine that the figures depend on.
        latency: Latency of each artifact on each device.
        ratios: Each artifact against the first one, on each device by itself.
        failed: Devices that failed or could not be had; their rows until then are kept.
        ops: Times of the ops by artifact, where they were asked for.
        sustained: Latency over time by artifact and device, where it was asked for.
        unsteady: Reason why a sustained run was not steady, by the same names.
        costs: Instructions of artifacts on emulated boards, where some were asked for.
    """

    conditions: Conditions
    latency: tuple[LatencyRow, ...]
    ratios: tuple[RatioRow, ...]
    failed: tuple[DeviceFailure, ...] = ()
    ops: Mapping[str, tuple[OpTime, ...]] | None = field(default=None, metadata=ABSENT)
    sustained: Mapping[str, tuple[Stretch, ...]] | None = field(default=None, metadata=ABSENT)
    unsteady: Mapping[str, tuple[str, ...]] | None = field(default=None, metadata=ABSENT)
    costs: tuple[BoardCost, ...] | None = field(default=None, metadata=ABSENT)

    def _repr_html_(self) -> str:
        timed = ((row.artifact, row.runtime, row.device, row.threads, row.p50_ms, row.p90_ms) for row in self.latency)
        ratios = ((row.artifact, row.reference, row.device, row.speedup, row.verdict) for row in self.ratios)
        costs = (
            (row.artifact, row.device, row.instructions, row.arena_bytes, row.ram_bytes) for row in self.costs or ()
        )
        tables = [
            shown.table("Latency", ("artifact", "runtime", "device", "threads", "p50 ms", "p90 ms"), timed),
            shown.table("Ratios", ("artifact", "against", "device", "times faster", "verdict"), ratios),
            shown.table(
                "Instructions",
                ("artifact", "device (emulated)", "an inference", "arena bytes", "with input and output"),
                costs,
            ),
            shown.table("Failed", ("device", "error"), ((row.device, row.error) for row in self.failed)),
        ]
        return "".join(tables)
