"""An agent on a device: started, asked, ended, and cleaned up after; every failure is one message."""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from mnedge.devices._device import ModelInfo
from mnedge.devices._link import Link, LostError, NonsenseError, SilentError, plain
from mnedge.errors import InputError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.results.device import BoardFacts
from mnedge.results.stored import from_json
from mnedge.runtimes import TensorSpec

if TYPE_CHECKING:
    import subprocess
    import threading
    from pathlib import Path

    from mnedge.command import Finished
    from mnedge.devices._link import Frame

Told = TypeVar("Told")
_PART_BYTES = 1 << 20
_DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
           "bool")  # fmt: skip
_MOST_VALUES = 1 << 28
_PYTHON = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}(\.\S{1,30})?")
_SIGNALS = {4: "SIGILL", 9: "SIGKILL", 11: "SIGSEGV", 6: "SIGABRT", 7: "SIGBUS"}
_FOLDER = re.compile(r"/[^\0\n]*/mnedge-agent-[0-9]+-[A-Za-z0-9_]+")


@dataclass(frozen=True)
class _Hello:
    """Greeting of an agent: its process, its folder, and whether the device is emulated."""

    pid: int
    folder: str
    emulated: bool


@dataclass(frozen=True)
class _Problem:
    """Error of an agent; kinds are those of `_agent.described`."""

    kind: str
    message: str


@dataclass(frozen=True)
class _Tensor:
    """Input or output as an agent describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class _Loaded:
    """Model as the agent describes it after loading."""

    package: str
    version: str
    partitions: int | None
    input: _Tensor
    outputs: tuple[_Tensor, ...]


class Carrier(Protocol):
    """A way to a device: it starts the agent there and runs small scripts.

    Attributes:
        name: The device's URI without options.
        uri: The device's URI as the user gave it.
        python: Python there that the user named; "" for the one that is found.
        remedy: Advice if a runtime is missing or broken.
        silence_s: Longest time without a sign of life.
        answer_s: Longest wait for one answer of a device that is alive.
        needs_delegate: Whether a figure without the delegate is an error.
        interrupted: Set when nothing more shall be done there.
    """

    name: str
    uri: str
    python: str
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
        """Returns whether the connection ended, and not the agent."""
        ...

    def reset(self) -> None:
        """Drops a dead connection; the next call makes a new one."""
        ...


class Conversation:
    """An agent on a device: started, asked, ended, and cleaned up after whatever happens."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.pid = 0
        self.folder = ""
        self.emulated = False
        self.link = Link(carrier.start_agent(), carrier.silence_s)
        try:
            hello = self.told(b"H", _Hello)
            if hello.pid <= 1 or not _FOLDER.fullmatch(hello.folder):
                raise nonsense(carrier, f"its agent is process {hello.pid} in {plain(hello.folder)}")  # noqa: TRY301
            self.pid, self.folder, self.emulated = hello.pid, hello.folder, hello.emulated
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
                f"{self.carrier.name}: {exc}. The device hangs or has lost its power; look at it "
                f"(`{check_command(self.carrier)}`), restart it, or allow more time with ?silence_s=SECONDS"
            ) from exc
        except NonsenseError as exc:
            raise nonsense(self.carrier, str(exc)) from exc
        if frame.kind == b"E":
            _raise_told(self._read(frame, _Problem), self.carrier)
        return frame

    def told(self, kind: bytes, noun: type[Told]) -> Told:
        """Returns the payload of the next frame, which must be of one kind and whole."""
        return self._read(self.expect(kind), noun)

    def _read(self, frame: Frame, noun: type[Told]) -> Told:
        try:
            return from_json(frame.payload, noun, self.carrier.name)
        except InputError as exc:
            said = plain(frame.payload[:200].decode(errors="replace"), 80)
            raise nonsense(self.carrier, f"its answer {said!r} does not fit ({exc.__cause__})") from exc

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
        told = self.told(b"I", _Loaded)
        if not told.outputs:
            raise nonsense(self.carrier, f"{path.name} has no output there")
        info = ModelInfo(
            version=plain(told.version),
            partitions=told.partitions,
            input=_spec(told.input, self.carrier),
            outputs=tuple(_spec(output, self.carrier) for output in told.outputs),
            emulated=self.emulated,
        )
        return info, told.package

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


def agent_facts(carrier: Carrier) -> BoardFacts:
    """Facts about the device: see `_agent.facts`.

    Raises:
        ToolError: The device cannot be reached or lacks Python.
    """
    talk = None
    try:
        talk = Conversation(carrier)
        return board_facts(talk)
    except LostError as lost:
        raise ToolError(
            f"{carrier.name}: connection lost: {lost.stderr or 'no reason given'}; run this again"
        ) from lost
    finally:
        if talk is not None:
            talk.close()


def board_facts(talk: Conversation) -> BoardFacts:
    """Facts about the board.

    Raises:
        ToolError: The answer holds no such facts.
    """
    talk.link.send(b"F")
    facts = talk.told(b"F", BoardFacts)
    if not _PYTHON.fullmatch(facts.python):
        raise nonsense(talk.carrier, f"its Python is {plain(facts.python)!r}")
    return facts


def check_command(carrier: Carrier) -> str:
    """The command that checks a device, for a shell: a URI has signs that a shell takes as its own."""
    return shlex.join(["mnedge", "device", "check", carrier.uri])


def nonsense(carrier: Carrier, what: str) -> ToolError:
    """The error for a device that says what no agent says."""
    return ToolError(
        f"{carrier.name}: {what}; what answers there is no agent of mnedge, or the line damages it: look at the login "
        f"there, then `{check_command(carrier)}` asks once more"
    )


def _spec(told: _Tensor, carrier: Carrier) -> TensorSpec:
    if told.dtype not in _DTYPES or min(told.shape, default=1) < 1 or math.prod(told.shape) > _MOST_VALUES:
        raise nonsense(carrier, f"it says that {plain(told.name)} is {plain(told.dtype)} {told.shape}")
    quantization = None
    if told.scale is not None:
        if not 0 < told.scale < math.inf or not -(1 << 31) <= (told.zero_point or 0) < 1 << 31:
            raise nonsense(
                carrier, f"it says that {plain(told.name)} has scale {told.scale} and zero point {told.zero_point}"
            )
        quantization = Quantization.per_tensor(told.scale, told.zero_point or 0)
    return TensorSpec(plain(told.name), told.shape, told.dtype, quantization)


def _raise_told(told: _Problem, carrier: Carrier) -> NoReturn:
    message, kind = plain(told.message, 2000), told.kind
    advice = {
        "refused": f"build the model for that runtime, or renew the runtime: {carrier.remedy}",
        "missing": carrier.remedy,
        "disk full": "free space there, or name another folder with ?tmp=DIR",
        "folder": "make it a folder to write to, or name another one with ?tmp=DIR",
        "memory": "stop other programs there, or take a smaller model",
    }.get(kind, f"see `{check_command(carrier)}`")
    what = {"refused": "the runtime refuses the model: ", "disk full": "disk full: "}.get(kind, "")
    raise ToolError(f"{carrier.name}: {what}{message}; {advice}")


def _why_ended(lost: LostError, carrier: Carrier) -> str:
    """Returns the message for an agent that ended by itself."""
    code = -lost.returncode if lost.returncode < 0 else lost.returncode - 128
    if "mnedge-old-python" in lost.stderr:
        found = next(iter(lost.stderr.rpartition("mnedge-old-python ")[2].split()), "there")
        return (
            f"{carrier.name}: Python {found} is too old; install Python 3.8 or newer there, or name one with ?python="
        )
    if "mnedge-wrong-python" in lost.stderr:
        return (
            f"{carrier.name}: python={plain(carrier.python)} is no Python there; name the path of one, or leave it out"
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
