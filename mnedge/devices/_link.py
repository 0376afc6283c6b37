"""The host's end of the pipe to an agent: frames out, frames in, and a limit on every wait."""

from __future__ import annotations

import contextlib
import queue
import struct
import subprocess
import threading
import time
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnedge import command
from mnedge.devices import _agent

_PING_S = 10.0
_GRACE_S = 5.0
# A login may print so much before the agent does; a message of the day has some KiB.
_MOST_BEFORE_BYTES = 1 << 20
# All but the results of pictures is small; who awaits larger frames says so.
_LARGEST_FRAME_BYTES = 16 << 20
_MOST_WAITING = 16
# Scripts on a device say a few lines.
MOST_SAID_BYTES = 16 << 20

# Python reads the agent from its standard input, so nothing lies on the device before the agent can remove it.
BOOTSTRAP = (
    "import sys\n"
    "if sys.version_info < (3, 8): sys.stderr.write('mnedge-old-python ' + sys.version.split()[0]); sys.exit(3)\n"
    "s = sys.stdin.buffer\n"
    "exec(compile(s.read(int(s.readline())), 'mnedge_agent.py', 'exec'))\n"
)


class LostError(Exception):
    """The pipe to the agent ended, or brings something else than frames.

    Attributes:
        returncode: Exit status of the program that carried the pipe.
        stderr: The end of the other side's and the agent's output.
        stage: Work of the agent, in its own words.
    """

    def __init__(self, returncode: int, stderr: str, stage: str) -> None:
        super().__init__(f"status {returncode} while {stage}: {stderr}")
        self.returncode, self.stderr, self.stage = returncode, stderr, stage


class NonsenseError(Exception):
    """The device says what no agent says, or says it without an end."""


class SilentError(Exception):
    """The device gave no sign of life, or no result, within the limit."""


@dataclass(frozen=True)
class Frame:
    """A message; `whole` tells whether the checksum fits."""

    kind: bytes
    number: int
    payload: bytes
    whole: bool = True


def plain(text: str, most: int = 300) -> str:
    """Returns a device's text as it may be shown: without control characters, and not endless."""
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return shown if len(shown) <= most else f"{shown[:most]}…"


class Link:
    """An agent at the other end of a program's standard input and output.

    Args:
        process: The program that carries the pipe (ssh, adb), ready to start Python with `BOOTSTRAP`.
        silence_s: Longest time without any sign of life; a live agent ticks every two seconds.

    Attributes:
        largest_bytes: Largest frame that is awaited.
    """

    def __init__(self, process: subprocess.Popen[bytes], silence_s: float) -> None:
        self.process, self.silence_s = process, silence_s
        self.stage = "starting Python"
        self.largest_bytes = _LARGEST_FRAME_BYTES
        # A full queue makes the device wait, not this machine's memory grow.
        self._incoming: queue.Queue[Frame | None] = queue.Queue(_MOST_WAITING)
        self._nonsense = ""
        self._over = threading.Event()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._said: deque[bytes] = deque(maxlen=64)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._threads = [
            threading.Thread(target=self._write, args=(process.stdin,), daemon=True),
            threading.Thread(target=self._read, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._listen, args=(process.stderr,), daemon=True),
        ]
        source = Path(_agent.__file__).read_bytes()
        self._outgoing.put(f"{len(source)}\n".encode() + source)
        for thread in self._threads:
            thread.start()

    def send(self, kind: bytes, number: int = 0, payload: bytes = b"") -> None:
        """Queues one frame."""
        header = _agent.HEADER.pack(_agent.MAGIC, kind, number, len(payload), zlib.crc32(payload))
        self._outgoing.put(header + payload)

    def receive(self, until_s: float) -> Frame:
        """Waits for the next frame that is not a tick.

        Args:
            until_s: Limit in `time.monotonic` seconds, ticks or not.

        Raises:
            LostError: The pipe ended.
            NonsenseError: The answer is no agent's.
            SilentError: No sign of life for `silence_s`, or no frame until `until_s`.
        """
        while True:
            wait_s = min(self.silence_s, until_s - time.monotonic())
            try:
                frame = self._incoming.get(timeout=max(wait_s, 0.01))
            except queue.Empty:
                if time.monotonic() < until_s:
                    raise SilentError(f"no sign of life for {self.silence_s:g} s while {self.stage}") from None
                raise SilentError(f"alive, but no answer within the limit while {self.stage}") from None
            if frame is None and self._nonsense:
                raise NonsenseError(f"{self._nonsense} while {self.stage}")
            if frame is None:
                raise LostError(self._returncode(), self.last_words, self.stage)
            if frame.kind != b"T":
                return frame
            if frame.payload:
                self.stage = plain(frame.payload.decode(errors="replace"))

    @property
    def last_words(self) -> str:
        """Returns the end of the other side's standard error."""
        return plain(b"".join(self._said).decode(errors="replace").strip()[-1200:], 1200)

    def close(self, grace_s: float = _GRACE_S) -> None:
        """Lets the agent clean up and end by itself for a while; then ends the program."""
        self.send(b"Q")
        self._outgoing.put(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=grace_s)
        self.kill()

    def kill(self) -> None:
        """Ends the program that carries the pipe; an agent that can still run sees the end of its input."""
        self._outgoing.put(None)
        self._over.set()
        command.end(self.process)
        # Over a shared connection ssh hands its pipes to the master, where a hanging board keeps them open. So each
        # thread closes its own pipe when it ends, and nobody waits for it for long.
        for thread in self._threads:
            thread.join(timeout=0.5)

    def _returncode(self) -> int:
        try:
            code = self.process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:  # it closed the pipe without an end
            command.end(self.process)
            code = self.process.returncode
        self._threads[2].join(timeout=1.0)
        return code

    def _write(self, pipe: IO[bytes]) -> None:
        ping = _agent.HEADER.pack(_agent.MAGIC, b"P", 0, 0, zlib.crc32(b""))
        try:
            while True:
                try:
                    data = self._outgoing.get(timeout=_PING_S)
                except queue.Empty:
                    data = ping
                if data is None:
                    break
                pipe.write(data)
                pipe.flush()
        except (OSError, ValueError):
            pass  # The reader meets the end of the pipe as well, and tells.
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def _read(self, pipe: IO[bytes]) -> None:
        try:
            if self._skip_greeting(pipe):
                while (frame := self._frame(pipe)) is not None:
                    self._hand(frame)
        except (OSError, ValueError, struct.error):
            pass
        finally:
            self._hand(None)
            pipe.close()

    def _hand(self, frame: Frame | None) -> None:
        """Gives a frame to `receive`, which may be slower than the device."""
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._incoming.put(frame, timeout=0.2)
                return

    def _skip_greeting(self, pipe: IO[bytes]) -> bool:
        """Reads what a login script prints before the agent does; False where no agent comes after it."""
        seen, count = b"", 0
        while not seen.endswith(_agent.PREAMBLE):
            byte = pipe.read(1)
            count += 1
            if not byte:
                self._said.append(seen[-500:])
                return False
            if count > _MOST_BEFORE_BYTES:
                self._nonsense = f"its login prints more than {_MOST_BEFORE_BYTES >> 20} MiB, without an end,"
                return False
            seen = seen[-len(_agent.PREAMBLE) - 500 :] + byte
        return True

    def _frame(self, pipe: IO[bytes]) -> Frame | None:
        """The next frame; None at the end of the pipe, or of sense."""
        header = pipe.read(_agent.HEADER.size)
        if len(header) < _agent.HEADER.size:
            return None
        magic, kind, number, length, crc = _agent.HEADER.unpack(header)
        if magic != _agent.MAGIC:
            self._nonsense = "what it sends are no frames of an agent"
            return None
        if length > self.largest_bytes:
            self._nonsense = f"it sends a frame of {length:,} bytes where at most {self.largest_bytes:,} can come"
            return None
        payload = pipe.read(length)
        if len(payload) < length:
            return None
        return Frame(kind, number, payload, zlib.crc32(payload) == crc)

    def _listen(self, pipe: IO[bytes]) -> None:
        try:
            while data := pipe.read1(4096) if hasattr(pipe, "read1") else pipe.read(1):
                self._said.append(data)
        except (OSError, ValueError):
            pass
        finally:
            pipe.close()
