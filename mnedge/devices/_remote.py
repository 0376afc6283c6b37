"""Models on a device that has Python: the agent computes, and what it has computed is never lost or counted twice."""

from __future__ import annotations

import json
import logging
import re
import shlex
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from mnedge import artifact, runtimes
from mnedge.devices._device import DeviceTiming, ModelInfo, Sample
from mnedge.devices._link import Link, LostError, SilentError
from mnedge.devices._results import Results
from mnedge.errors import MnedgeError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.runtimes import TensorSpec
from mnedge.runtimes._runtime import encode

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.command import Finished
    from mnedge.devices._link import Frame

log = logging.getLogger(__name__)
_PART_BYTES = 1 << 20
_CHUNK_BYTES = 2 << 20
_CHUNK_IMAGES = 32
# Chunks under way: enough that the device computes while results and inputs travel.
_WINDOW = 4
_RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
_DAMAGED_LIMIT = 5
_SIGNALS = {4: "SIGILL", 9: "SIGKILL", 11: "SIGSEGV", 6: "SIGABRT", 7: "SIGBUS"}
_FOLDER = re.compile(r"/[^\0\n]*/mnedge-agent-[0-9]+-[A-Za-z0-9_]+")


class Carrier(Protocol):
    """A way to a device: it starts the agent there and runs small scripts.

    Attributes:
        name: The device's URI without options.
        uri: The device's URI as the user gave it, for advice.
        remedy: What to do where a runtime there is missing or broken.
        silence_s: Longest time without a sign of life.
        answer_s: Longest wait for one answer of a device that is alive.
        needs_delegate: Whether a figure without the delegate is an error.
        interrupted: Set when nothing more shall be done there.
    """

    name: str
    uri: str
    remedy: str
    silence_s: float
    answer_s: float
    needs_delegate: bool
    interrupted: threading.Event

    def start_agent(self) -> subprocess.Popen[bytes]:
        """Starts Python with `BOOTSTRAP` there.

        Raises:
            ToolError: The device cannot be reached.
        """
        ...

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> Finished:
        """Runs a POSIX shell script there."""
        ...

    def is_cut(self, lost: LostError) -> bool:
        """Whether the connection ended, and not the agent."""
        ...

    def reset(self) -> None:
        """Drops a dead connection; the next call makes a new one."""
        ...


@dataclass
class Chunk:
    """Some pictures on their way.

    Attributes:
        number: Its place among the chunks, from 0.
        images: How many pictures.
        data: Their tensors, one after the other.
        result: Their raw outputs, once they are known.
        damaged: How often it arrived damaged.
    """

    number: int
    images: int
    data: bytes
    result: bytes | None = None
    damaged: int = 0


class Conversation:
    """One agent on one device: started, asked, ended, and cleaned up after whatever happens."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.pid = 0
        self.folder = ""
        self.emulated = False
        self.link = Link(carrier.start_agent(), carrier.silence_s)
        try:
            hello = json.loads(self.expect(b"H").payload)
            self.pid, self.folder, self.emulated = int(hello["pid"]), str(hello["folder"]), bool(hello["emulated"])
        except BaseException:
            self.link.kill()
            raise

    def receive(self) -> Frame:
        """The next frame.

        Raises:
            LostError: The connection ended.
            ToolError: The agent ended or told an error, or the device is silent.
        """
        try:
            frame = self.link.receive(time.monotonic() + self.carrier.answer_s)
        except LostError as lost:
            if self.carrier.is_cut(lost):
                raise
            raise ToolError(_why_ended(lost, self.carrier)) from lost
        except SilentError as exc:
            raise ToolError(
                f"{self.carrier.name}: {exc}. The device hangs or has lost its power; look at it (`mnedge device "
                f"check {self.carrier.uri}`), restart it, or allow more time with ?silence_s=SECONDS"
            ) from exc
        if frame.kind == b"E":
            _raise_told(json.loads(frame.payload), self.carrier)
        return frame

    def expect(self, kind: bytes) -> Frame:
        """The next frame, which must be of one kind and whole."""
        frame = self.receive()
        if frame.kind != kind or not frame.whole:
            raise LostError(0, f"frame {frame.kind!r} instead of {kind!r}", self.link.stage)
        return frame

    def upload(self, path: Path) -> None:
        """Sends a model, each part with its checksum."""
        self.link.stage = f"receiving {path.name}"
        data = path.read_bytes()
        for offset in range(0, len(data), _PART_BYTES):
            self.link.send(b"M", offset, data[offset : offset + _PART_BYTES])
        for _ in range(0, len(data), _PART_BYTES):
            self.expect(b"M")

    def load(self, path: Path, runtime: str, threads: int) -> tuple[ModelInfo, str]:
        """Sends a model and opens it; returns what the runtime made of it, and the runtime's package."""
        self.upload(path)
        self.link.stage = f"loading {path.name}"
        self.link.send(b"L", 0, json.dumps({"runtime": runtime, "threads": threads}).encode())
        told = json.loads(self.expect(b"I").payload)
        info = ModelInfo(
            version=told["version"],
            partitions=told["partitions"],
            ops=told["ops"],
            input=_spec(told["input"]),
            outputs=tuple(_spec(output) for output in told["outputs"]),
            emulated=self.emulated,
        )
        return info, told["package"]

    def close(self) -> None:
        """Ends the agent in peace; where it does not end, by force. Nothing of it stays on the device."""
        self.link.close()
        self._sweep()

    def abort(self) -> None:
        """Ends the agent soon, also one that hangs."""
        self.link.close(grace_s=1.0)
        self._sweep()

    def _sweep(self) -> None:
        """Makes sure that process and folder are gone; a device that cannot be reached does it by itself later."""
        if not _FOLDER.fullmatch(self.folder):
            return
        folder = shlex.quote(self.folder)
        script = f"[ -d {folder} ] || exit 0; sleep 1; kill -9 {self.pid} 2>/dev/null; rm -rf {folder}"
        with suppress(ToolError, LostError):
            self.carrier.run(script, timeout_s=15.0)


class RemoteModel:
    """A model loaded on a device by its agent; reconnects by itself where the connection is cut."""

    def __init__(self, carrier: Carrier, path: Path, runtime: str) -> None:
        self._carrier, self._path = carrier, path
        self._runtime = runtime or runtimes.for_file(path)
        self._talk: Conversation | None = None
        self._done = self._count = 0
        self.info, package = self._reconnect(first=True)
        try:
            _check_delegate(self.info, package, path, carrier)
        except BaseException:
            self.abort()
            raise
        key = {"model": artifact.sha256(path), "device": carrier.name, "runtime": self.info.version}
        self._kept = Results(key)

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

    def run(self, images: Iterable[NDArray[Any]], count: int) -> Iterator[list[NDArray[Any]]]:
        """Runs images one by one and gives all raw outputs of each, in order.

        Results are kept until the last one is there, so the same call after a failure goes on where it ended.
        """
        self._done, self._count = 0, count
        chunks = chunked(images, self.info.input)
        window: deque[Chunk] = deque()
        while True:
            while len(window) < _WINDOW and (chunk := next(chunks, None)) is not None:
                chunk.result = self._kept.recall(chunk.data)
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
        self._kept.discard()

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
            return
        if frame.kind == b"R" and frame.whole:
            chunk.result = frame.payload
            self._kept.keep(chunk.data, chunk.result)
            return
        chunk.damaged += 1
        if chunk.damaged > _DAMAGED_LIMIT:
            raise ToolError(f"{self._carrier.name}: the connection damages what it carries{self._so_far()}")
        self._conversation.link.send(b"C", chunk.number, chunk.data)

    def _resume(self, window: deque[Chunk], lost: LostError) -> None:
        """After a cut: a new connection, the model again, and all chunks without results again."""
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
                return self._talk.load(self._path, self._runtime, 1)
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

    def _so_far(self) -> str:
        return (
            f"\n{self._done} of {self._count} pictures are done and kept; the same command goes on from there"
            if self._done
            else ""
        )


def chunked(images: Iterable[NDArray[Any]], spec: TensorSpec) -> Iterator[Chunk]:
    """Encodes pictures for an input and bundles them: at most 2 MiB or 32 pictures a chunk."""
    waiting: list[bytes] = []
    number = 0
    for pixels in images:
        waiting.append(encode(pixels[None], spec).tobytes())
        if len(waiting) >= min(_CHUNK_IMAGES, max(1, _CHUNK_BYTES // len(waiting[0]))):
            yield Chunk(number, len(waiting), b"".join(waiting))
            waiting, number = [], number + 1
    if waiting:
        yield Chunk(number, len(waiting), b"".join(waiting))


def split(result: bytes, specs: Sequence[TensorSpec], images: int) -> Iterator[list[NDArray[Any]]]:
    """Takes raw outputs of several pictures apart: one list of arrays a picture."""
    offset = 0
    for _ in range(images):
        outputs: list[NDArray[Any]] = []
        for spec in specs:
            dtype, count = np.dtype(spec.dtype), int(np.prod(spec.shape))
            outputs.append(np.frombuffer(result, dtype, count, offset).reshape(spec.shape))
            offset += count * dtype.itemsize
        yield outputs


def time_model(
    carrier: Carrier, path: Path, runtime: str, *, threads: int, warmup_s: float, runs: int, seconds: float
) -> DeviceTiming:
    """Times a model on a device; see `Device.latency`."""
    talk = Conversation(carrier)
    try:
        before = board_facts(talk)
        info, package = talk.load(path, runtime or runtimes.for_file(path), threads)
        _check_delegate(info, package, path, carrier)
        talk.link.stage = f"timing {path.name}"
        arguments = {"warmup_s": warmup_s, "runs": runs, "seconds": seconds, "seed": 0}
        talk.link.send(b"B", 0, json.dumps(arguments).encode())
        samples: list[Sample] = []
        told: dict[str, Any] = {"last": False}
        while not told["last"]:
            told = json.loads(talk.expect(b"S").payload)
            samples += [Sample(*sample) for sample in told["samples"]]
        talk.close()
    except LostError as lost:
        talk.abort()
        raise ToolError(
            f"{carrier.name}: connection lost while {lost.stage}: {lost.stderr or 'no reason given'}; a latency with a "
            "gap is none, so run this again"
        ) from lost
    except BaseException:
        talk.abort()
        raise
    flags = told["throttled"]
    notes = {key: before[key] for key in ("board", "cpu", "cores", "os", "governor", "clock_max_mhz")}
    return DeviceTiming(info, tuple(samples), None if flags is None else tuple(flags), notes)


def board_facts(talk: Conversation) -> dict[str, Any]:
    """What the agent knows of its board."""
    talk.link.send(b"F")
    facts: dict[str, Any] = json.loads(talk.expect(b"F").payload)
    return facts


def _spec(told: dict[str, Any]) -> TensorSpec:
    quantization = None
    if told["scale"] is not None:
        quantization = Quantization.per_tensor(told["scale"], told["zero_point"])
    return TensorSpec(told["name"], tuple(told["shape"]), told["dtype"], quantization)


def _check_delegate(info: ModelInfo, package: str, path: Path, carrier: Carrier) -> None:
    """A figure without the delegate is never passed off as one with it."""
    if package != "ai-edge-litert" or info.partitions or not carrier.needs_delegate:
        return
    with suppress(MnedgeError):
        if runtimes.get("litert").open(path, 1).partitions == 0:
            return  # The model has nothing to delegate: it is the same here.
    raise ToolError(
        f"{carrier.name}: LiteRT loads {path.name} there, but the XNNPACK delegate does not apply, as it does here; "
        "speed and, for int8, outputs would differ. Often /sys/devices/system/cpu is hidden (a container): make it "
        f"visible, see `mnedge device check {carrier.uri}`, or accept such figures with ?delegate=optional"
    )


def _raise_told(told: dict[str, str], carrier: Carrier) -> NoReturn:
    message, kind = told["message"], told["kind"]
    advice = {
        "refused": f"build the model for that runtime, or renew the runtime: {carrier.remedy}",
        "missing": carrier.remedy,
        "disk full": "free space there, or name another folder with ?tmp=DIR",
        "memory": "stop other programs there, or take a smaller model",
    }.get(kind, f"see `mnedge device check {carrier.uri}`")
    what = {"refused": "the runtime refuses the model: ", "disk full": "disk full: "}.get(kind, "")
    raise ToolError(f"{carrier.name}: {what}{message}; {advice}")


def _why_ended(lost: LostError, carrier: Carrier) -> str:
    """One message for an agent that ended by itself."""
    code = -lost.returncode if lost.returncode < 0 else lost.returncode - 128
    if "mnedge-old-python" in lost.stderr:
        found = lost.stderr.rpartition("mnedge-old-python ")[2].split()[0]
        return (
            f"{carrier.name}: Python {found} is too old; install Python 3.8 or newer there, or name one with ?python="
        )
    if "mnedge-no-python" in lost.stderr:
        return f"{carrier.name}: no python3 there; install it (apt install python3), then {carrier.remedy}"
    if code == 4:
        return (
            f"{carrier.name}: Python was killed by SIGILL (status 132) while {lost.stage}: a wheel there is built for "
            f"another CPU. For another version of that package: {carrier.remedy} --package NAME==VERSION"
        )
    if code == 9:
        return (
            f"{carrier.name}: Python was killed while {lost.stage}, most often for want of memory; stop other programs"
        )
    ended = f"was ended by {_SIGNALS[code]}" if code in _SIGNALS else f"ended with status {lost.returncode}"
    return f"{carrier.name}: Python {ended} while {lost.stage}: {lost.stderr or 'no last words'}; {carrier.remedy}"
