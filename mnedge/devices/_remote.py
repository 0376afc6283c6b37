"""Models on a device that has Python: the agent computes; no result is lost or counted twice."""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache, runtimes
from mnedge.devices._conversation import Conversation, board_facts, check_command, nonsense
from mnedge.devices._device import CutTimingError, DeviceTiming, Sample
from mnedge.devices._link import LostError
from mnedge.errors import MnedgeError, ToolError
from mnedge.files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnedge.devices._conversation import Carrier
    from mnedge.devices._device import ModelInfo
    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray

log = logging.getLogger(__name__)
_CHUNK_BYTES = 2 << 20
_CHUNK_IMAGES = 32
# Chunks under way: enough that the device computes while results and inputs travel.
_WINDOW = 4
_RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
_DAMAGED_LIMIT = 5
# Frames that were not asked for; a resent chunk may bring one.
_STRAY_LIMIT = 64
_MOST_SAMPLES = 4_000_000


@dataclass
class Chunk:
    """Some pictures on their way.

    Attributes:
        number: Its place among the chunks, from 0.
        images: Number of pictures.
        data: Their tensors, one after the other.
        result: Their raw outputs, once they are known.
        damaged: Number of damaged arrivals.
    """

    number: int
    images: int
    data: bytes
    result: bytes | None = None
    damaged: int = 0


@dataclass(frozen=True)
class _Samples:
    """Timed inferences as the agent reports them: see `_agent.Agent.latency`."""

    samples: tuple[tuple[float, float, float | None, float | None], ...]
    last: bool
    throttled: tuple[str, ...] | None = None


class RemoteModel:
    """A model loaded on a device by its agent; reconnects by itself where the connection is cut."""

    def __init__(self, carrier: Carrier, path: Path, runtime: str) -> None:
        self._carrier, self._path = carrier, path
        self._runtime = runtime or runtimes.for_file(path)
        self._talk: Conversation | None = None
        self._done = self._count = self._stray = 0
        self.info, package = self._reconnect(first=True)
        try:
            _check_delegate(self.info, package, path, carrier)
        except BaseException:
            self.abort()
            raise
        key = {"model": sha256(path), "device": carrier.name, "runtime": self.info.version}
        self._kept = cache.resumable("device-results", key)

    def close(self) -> None:
        """Unloads the model and cleans up."""
        if self._talk is not None:
            self._talk.close()
            self._talk = None

    def abort(self) -> None:
        """Unloads the model at once, also from a device that hangs."""
        if self._talk is not None:
            self._talk.abort()
            self._talk = None

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order.

        Results are kept until the last one is there, so the same call after a failure goes on where it ended.
        """
        self._done, self._count = 0, count
        chunks = chunked(images)
        window: deque[Chunk] = deque()
        while True:
            while len(window) < _WINDOW and (chunk := next(chunks, None)) is not None:
                kept = cache.recall(self._kept, chunk.data)
                chunk.result = kept if kept is not None and len(kept) == self._result_bytes(chunk) else None
                window.append(chunk)
                if chunk.result is None:
                    self._conversation.link.send(b"C", chunk.number, chunk.data)
            if not window:
                break
            while (result := window[0].result) is None:
                try:
                    self._take(window)
                except LostError as lost:
                    self._resume(window, lost)
            for outputs in split(result, self.info.outputs, window.popleft().images):
                self._done += 1
                yield outputs
        cache.forget(self._kept)

    @property
    def _conversation(self) -> Conversation:
        assert self._talk is not None
        return self._talk

    def _take(self, window: deque[Chunk]) -> None:
        """Waits for one frame and files it under its chunk."""
        self._conversation.link.stage = f"computing picture {self._done + 1} of {self._count}"
        try:
            frame = self._conversation.receive()
        except ToolError as exc:
            raise ToolError(f"{exc}{self._so_far()}") from exc
        chunk = next((chunk for chunk in window if chunk.number == frame.number), None)
        if chunk is None or frame.kind not in (b"R", b"N"):
            self._stray += 1
            if self._stray > _STRAY_LIMIT:
                raise nonsense(self._carrier, f"it goes on answering what was not asked{self._so_far()}")
            return
        if frame.kind == b"R" and frame.whole:
            if len(frame.payload) != self._result_bytes(chunk):
                raise nonsense(
                    self._carrier,
                    f"{len(frame.payload):,} bytes are its outputs of {chunk.images} pictures, where "
                    f"{self._result_bytes(chunk):,} are expected{self._so_far()}",
                )
            chunk.result = frame.payload
            cache.keep(self._kept, chunk.data, chunk.result)
            return
        chunk.damaged += 1
        if chunk.damaged > _DAMAGED_LIMIT:
            raise ToolError(f"{self._carrier.name}: the connection damages what it carries{self._so_far()}")
        self._conversation.link.send(b"C", chunk.number, chunk.data)

    def _result_bytes(self, chunk: Chunk) -> int:
        return chunk.images * output_bytes(self.info.outputs)

    def _resume(self, window: deque[Chunk], lost: LostError) -> None:
        """After a cut: a new connection, the model again, and all chunks without results again."""
        if self._carrier.interrupted.is_set():
            raise ToolError(f"{self._carrier.name}: interrupted{self._so_far()}") from lost
        log.warning(
            "%s: connection cut after %d of %d pictures; connecting again", self._carrier.name, self._done, self._count
        )
        before = self.info
        try:
            self.info, _ = self._reconnect(first=False)
        except (ToolError, LostError) as exc:
            words = exc if isinstance(exc, ToolError) else (lost.stderr or "the connection was cut")
            raise ToolError(f"{self._carrier.name} did not come back: {words}{self._so_far()}") from exc
        if self.info.version != before.version:
            raise ToolError(
                f"{self._carrier.name} came back with {self.info.version} instead of {before.version}; run this again"
            )
        for chunk in window:
            if chunk.result is None:
                self._conversation.link.send(b"C", chunk.number, chunk.data)

    def _reconnect(self, *, first: bool) -> tuple[ModelInfo, str]:
        waits = iter(_RECONNECT_WAITS_S)
        while True:
            if not first:
                if self._talk is not None:
                    self._talk.link.kill()
                    self._talk = None
                self._carrier.reset()
            try:
                self._talk = Conversation(self._carrier)
                found = self._talk.load(self._path, self._runtime, 1)
                self._talk.link.largest_bytes += _CHUNK_IMAGES * output_bytes(found[0].outputs)
            except BaseException as exc:
                if self._talk is not None:
                    self._talk.abort()
                    self._talk = None
                wait_s = next(waits, None)
                if first and isinstance(exc, LostError):
                    raise ToolError(
                        f"{self._carrier.name}: connection lost while {exc.stage}: {exc.stderr or 'no reason given'}; "
                        "check the network and run this again"
                    ) from exc
                if first or wait_s is None or not isinstance(exc, (ToolError, LostError)):
                    raise
                if self._carrier.interrupted.wait(wait_s):
                    raise ToolError(f"{self._carrier.name}: interrupted") from exc
            else:
                return found

    def _so_far(self) -> str:
        return (
            f"\n{self._done} of {self._count} pictures are done and kept; the same command goes on from there"
            if self._done
            else ""
        )


def chunked(images: Iterable[AnyArray]) -> Iterator[Chunk]:
    """Bundles tensors: at most 2 MiB or 32 of them a chunk."""
    waiting: list[bytes] = []
    number = 0
    for image in images:
        waiting.append(image.tobytes())
        if len(waiting) >= min(_CHUNK_IMAGES, max(1, _CHUNK_BYTES // len(waiting[0]))):
            yield Chunk(number, len(waiting), b"".join(waiting))
            waiting, number = [], number + 1
    if waiting:
        yield Chunk(number, len(waiting), b"".join(waiting))


def output_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of the outputs of one picture."""
    return sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)


def split(result: bytes, specs: Sequence[TensorSpec], images: int) -> Iterator[list[AnyArray]]:
    """Takes raw outputs of several pictures apart: one list of arrays a picture."""
    offset = 0
    for _ in range(images):
        outputs: list[AnyArray] = []
        for spec in specs:
            dtype, count = np.dtype(spec.dtype), int(np.prod(spec.shape))
            outputs.append(np.frombuffer(result, dtype, count, offset).reshape(spec.shape))
            offset += count * dtype.itemsize
        yield outputs


def _sample(values: tuple[float, float, float | None, float | None], carrier: Carrier) -> Sample:
    if not 0 <= values[0] < math.inf or not 0 <= values[1] < math.inf:
        raise nonsense(carrier, f"it tells an inference of {values[0]} ms at {values[1]} s")
    return Sample(*values)


def time_model(
    carrier: Carrier, path: Path, runtime: str, *, threads: int, warmup_s: float, runs: int, seconds: float
) -> DeviceTiming:
    """Times a model on a device; see `SshDevice.latency`.

    Raises:
        CutTimingError: The device failed; the error has the samples until then.
    """
    talk = None
    samples: list[Sample] = []
    try:
        talk = Conversation(carrier)
        before = board_facts(talk)
        info, package = talk.load(path, runtime or runtimes.for_file(path), threads)
        _check_delegate(info, package, path, carrier)
        talk.link.stage = f"timing {path.name}"
        arguments = {"warmup_s": warmup_s, "runs": runs, "seconds": seconds, "seed": 0}
        talk.link.send(b"B", 0, json.dumps(arguments).encode())
        told = _Samples((), last=False)
        while not told.last:
            told = talk.told(b"S", _Samples)
            samples += [_sample(values, carrier) for values in told.samples]
            if len(samples) > _MOST_SAMPLES + runs:
                raise nonsense(carrier, f"it tells {len(samples):,} times, without an end")  # noqa: TRY301
        if not samples:
            raise nonsense(carrier, "it tells no time")  # noqa: TRY301
        talk.close()
    except BaseException as exc:
        if talk is not None:
            talk.abort()
        if isinstance(exc, LostError):
            raise CutTimingError(
                f"{carrier.name}: connection lost while {exc.stage}: {exc.stderr or 'no reason given'}; a latency with "
                "a gap is none, so run this again",
                samples,
            ) from exc
        if isinstance(exc, ToolError):
            raise CutTimingError(str(exc), samples) from exc
        raise
    notes = {key: getattr(before, key) for key in ("board", "cpu", "cores", "os", "governor", "clock_max_mhz")}
    return DeviceTiming(info, tuple(samples), told.throttled, notes)


def _check_delegate(info: ModelInfo, package: str, path: Path, carrier: Carrier) -> None:
    """A figure without the delegate is never passed off as one with it."""
    if package != "ai-edge-litert" or info.partitions or not carrier.needs_delegate:
        return
    with suppress(MnedgeError), closing(runtimes.open_session("litert", path, 1)) as here:
        if here.partitions == 0:
            return  # The model has nothing to delegate: it is the same here.
    raise ToolError(
        f"{carrier.name}: LiteRT loads {path.name} there, but the XNNPACK delegate does not apply, as it does here; "
        "speed and, for int8, outputs would differ. Often /sys/devices/system/cpu is hidden (a container): make it "
        f"visible, see `{check_command(carrier)}`, or accept such figures with ?delegate=optional"
    )
