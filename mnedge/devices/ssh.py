"""A Linux board over the user's own ssh: `ssh://[user@]host[:port]`.

Options behind `?`: ssh_config=FILE (as `ssh -F`), python=PATH there, tmp=DIR there, silence_s=SECONDS without a sign
of life, delegate=optional to accept figures without XNNPACK.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mnedge import command
from mnedge.devices import _uri
from mnedge.devices._conversation import agent_facts
from mnedge.devices._link import BOOTSTRAP, MOST_SAID_BYTES, plain
from mnedge.devices._remote import RemoteModel, time_model
from mnedge.errors import InputError, ToolError
from mnedge.files import own_folder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from mnedge.devices._device import DeviceTiming
    from mnedge.devices._link import LostError
    from mnedge.devices._uri import DeviceUri
    from mnedge.results.device import BoardFacts

ENVIRONMENT = "$HOME/.local/share/mnedge/env"
_OPTIONS = ("ssh_config", "python", "tmp", "silence_s", "delegate")
_READY = b"mnedge-ready\n"
_CONNECT_S = 10
_LOGIN_S = 45.0
# A message of the day has some KiB.
_MOST_GREETING_BYTES = 1 << 20
_CONNECTION_LOST = 255
# A Unix socket's path has 104 characters at most on macOS, 108 on Linux; 47 are ours and ssh's.
_LONGEST_ROOT = 104 - 1 - 47
_SHORT_ROOT = "/tmp"  # noqa: S108 - the folder made in it is private
# Batch mode: a prompt would hang a CI job. Forwardings and commands of the user's config belong to other uses.
_SSH_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={_CONNECT_S}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
)


@dataclass(frozen=True)
class ByHand:
    """Commands that a user pastes into a shell to reach a board.

    Attributes:
        options: Options of ssh and of ssh-copy-id: configuration file and port.
        target: [user@]host.
        known_as: The board in files of known hosts.
    """

    options: tuple[str, ...]
    target: str
    known_as: str

    @staticmethod
    def of(arguments: list[str], config: str | None) -> ByHand:
        """From the arguments of ssh: -l user, -p port, and -- host."""
        pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
        user, port, host = pairs.get("-l"), pairs.get("-p"), pairs["--"]
        options = (*(("-F", config) if config else ()), *(("-p", port) if port else ()))
        return ByHand(options, f"{user}@{host}" if user else host, f"[{host}]:{port}" if port else host)

    def __call__(self, program: str) -> str:
        """The command line of ssh or ssh-copy-id, quoted."""
        return shlex.join([program, *self.options, self.target])

    def forget(self, words: str) -> str:
        """The command line that removes the board's old key: ssh's own where it says one, which knows the file."""
        own = re.search(r"ssh-keygen -f .* -R .*", words)
        return own[0].strip() if own else shlex.join(["ssh-keygen", "-R", self.known_as])


class _Master:
    """Connection that all commands share; it ends when this process does, even by SIGKILL."""

    def __init__(self, ssh: list[str], host: list[str], name: str, by_hand: ByHand) -> None:
        self.folder = own_folder("ssh", _control_root())
        self.path = self.folder / "c"
        # The connection lives as long as this `cat` has an input, and its input is a pipe from here.
        self.process = command.start(
            [*ssh, "-o", "ControlMaster=yes", "-o", f"ControlPath={self.path}", *host, "echo mnedge-ready; exec cat"]
        )
        try:
            self._wait(name, by_hand)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        command.kill(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, name: str, by_hand: ByHand) -> None:
        said = bytearray()
        over = threading.Event()

        def read(pipe: IO[bytes]) -> None:
            while len(said) < _MOST_GREETING_BYTES and (data := os.read(pipe.fileno(), 4096)):
                said.extend(data)
                if said.endswith(_READY):
                    break
            over.set()

        assert self.process.stdout is not None
        threading.Thread(target=read, args=(self.process.stdout,), daemon=True).start()
        if not over.wait(_LOGIN_S):
            raise ToolError(f"{name}: connected, but no shell within {_LOGIN_S:g} s; try `{by_hand('ssh')}`")
        if said.endswith(_READY):
            return
        if len(said) >= _MOST_GREETING_BYTES:
            raise ToolError(
                f"{name}: its login prints more than {_MOST_GREETING_BYTES >> 20} MiB, without an end, and no shell "
                f"comes; mend the login scripts there (~/.bashrc, /etc/profile), then try `{by_hand('ssh')}`"
            )
        words = plain(command.last_words(self.process), 1200)
        words = words or plain(said[-1200:].decode(errors="replace").strip(), 1200)
        raise ToolError(_why_not_connected(name, words, by_hand))


class SshDevice:
    """A Linux board over ssh.

    Attributes:
        name: The URI without options, as reports show it.
        uri: The URI as given.
        identity: The name: two addresses of a board are not known as one.
        python: Python there that the user named; "" for the one that is found.
        remedy: Advice if a runtime is missing or broken.
        silence_s: Longest time without a sign of life.
        answer_s: Longest wait for one answer of a board that is alive.
        needs_delegate: Whether a figure without XNNPACK is an error.
        interrupted: Set when nothing more shall be done there.
    """

    answer_s = 900.0

    def __init__(self, uri: str, parts: DeviceUri) -> None:
        self.uri, self.name = uri, parts.name
        self.identity = self.name
        self.remedy = shlex.join(["mnedge", "device", "setup", uri])
        self.silence_s = parts.seconds("silence_s", 30.0)
        self.needs_delegate = parts.options.get("delegate", "required") != "optional"
        self.python = parts.options.get("python", "")
        self._tmp = parts.options.get("tmp")
        config = parts.options.get("ssh_config")
        self._ssh = ["ssh", "-T", *(["-F", config] if config else [])]
        for option in _SSH_OPTIONS:
            self._ssh += ["-o", option]
        self._host = _host_arguments(parts)
        self._by_hand = ByHand.of(self._host, config)
        self.interrupted = threading.Event()
        self._lock = threading.Lock()
        self._masters: list[_Master] = []
        weakref.finalize(self, _close_all, self._masters)

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[RemoteModel]:
        """Loads an artifact on the board; `runtime` "" takes the one that loads such files.

        Raises:
            ToolError: The board cannot be reached, lacks Python or the runtime, or the runtime refuses the file.
        """
        model = RemoteModel(self, path, runtime)
        try:
            yield model
        except BaseException:
            model.abort()
            raise
        model.close()

    def latency(
        self,
        path: Path,
        runtime: str = "",
        *,
        threads: int = 1,
        warmup_s: float = 0.5,
        runs: int = 50,
        seconds: float = 0.0,
    ) -> DeviceTiming:
        """Times an artifact on the board, on random input.

        Args:
            path: The artifact.
            runtime: Name of the runtime; "" for the one that loads such files.
            threads: Threads of the runtime.
            warmup_s: Seconds of inferences that do not count; at least one inference.
            runs: Fewest timed inferences.
            seconds: Shortest time of measuring; sustained speed shows after minutes.

        Raises:
            ToolError: As in `load`.
        """
        return time_model(self, path, runtime, threads=threads, warmup_s=warmup_s, runs=runs, seconds=seconds)

    def facts(self) -> BoardFacts:
        """Facts about the board: see `_agent.facts`.

        Raises:
            ToolError: The board cannot be reached or lacks Python.
        """
        return agent_facts(self)

    def start_agent(self) -> subprocess.Popen[bytes]:
        """Starts Python there, ready to read the agent.

        Raises:
            ToolError: The board cannot be reached.
        """
        pythons = [shlex.quote(self.python)] if self.python else [f'"{ENVIRONMENT}/bin/python"', "python3"]
        lines = [
            f"export TMPDIR={shlex.quote(self._tmp)}" if self._tmp else ":",
            # Any program may have been named, also one that ends well.
            f"[ \"$({pythons[0]} -c 'print(6 * 7)' 2> /dev/null < /dev/null)\" = 42 ] || "
            "{ echo mnedge-wrong-python >&2; exit 127; }"
            if self.python
            else ":",
            f"for python in {' '.join(pythons)}; do",
            '  if command -v "$python" > /dev/null 2>&1; then',
            # No exec: the shell tells a signal as 128 + number, where ssh itself would only say 255.
            f'    "$python" -c {shlex.quote(BOOTSTRAP)}; exit $?',
            "  fi",
            "done",
            "echo mnedge-no-python >&2; exit 127",
        ]
        return command.start(self._command("\n".join(lines)))

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> command.Finished:
        """Runs a POSIX shell script there; its exit status is the caller's to judge.

        Raises:
            ToolError: The board cannot be reached, or the script took too long.
        """
        try:
            return command.run(
                self._command(script), timeout_s=timeout_s, stdin=stdin, check=False, most_bytes=MOST_SAID_BYTES
            )
        except command.OutOfTimeError as exc:
            raise ToolError(
                f"{self.name}: no answer within {timeout_s:g} s; the board hangs or is very slow: look at it, restart "
                "it, and run this again"
            ) from exc

    def interrupt(self) -> None:
        """Cuts the connection for good; the agent sees the end of its input and removes its files."""
        self.interrupted.set()
        self.reset()

    def is_cut(self, lost: LostError) -> bool:
        """Returns whether the connection ended, and not the agent, which never ends with 0 while it is asked."""
        return lost.returncode in (0, _CONNECTION_LOST)

    def reset(self) -> None:
        """Drops the connection; the next command makes a new one."""
        with self._lock:
            _close_all(self._masters)

    def _command(self, script: str) -> list[str]:
        """The ssh command for a script, over the one connection; whatever the login shell is, sh runs it."""
        command.find("ssh", "install OpenSSH's client (apt install openssh-client)")
        with self._lock:
            if self.interrupted.is_set():
                raise ToolError(f"{self.name}: interrupted")
            if self._masters and self._masters[0].process.poll() is not None:
                _close_all(self._masters)
            if not self._masters:
                self._masters.append(_Master(self._ssh, self._host, self.name, self._by_hand))
            path = self._masters[0].path
        return [
            *self._ssh,
            "-o",
            "ControlMaster=no",
            "-o",
            f"ControlPath={path}",
            *self._host,
            f"exec sh -c {shlex.quote(script)}",
        ]


def connect(uri: str) -> SshDevice:
    """Opens a board by URI; the connection is made when it is first needed.

    Raises:
        InputError: The URI has no host, or an unknown option.
    """
    parts = _uri.parse(uri, _OPTIONS)
    if not parts.place.rpartition("@")[2]:
        raise InputError(f"{uri!r} names no host; the form is ssh://[user@]host[:port]")
    return SshDevice(uri, parts)


def _control_root() -> str:
    """The folder of control sockets: that of temporary files, or a short one where a socket's path would not fit."""
    root = tempfile.gettempdir()
    return root if len(root) <= _LONGEST_ROOT else _SHORT_ROOT


def _close_all(masters: list[_Master]) -> None:
    while masters:
        masters.pop().close()


def _host_arguments(parts: DeviceUri) -> list[str]:
    user, _, host = parts.place.rpartition("@")
    port = ""
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.lstrip(":")
    elif host.count(":") == 1:
        host, port = host.split(":")
    if port and not port.isdigit():
        raise InputError(f"{parts.name}: {port!r} is no port; the form is ssh://[user@]host[:port]")
    return [*(["-l", user] if user else []), *(["-p", port] if port else []), "--", host]


def _why_not_connected(name: str, words: str, by_hand: ByHand) -> str:
    """Returns the message with the next step, from the words of ssh."""
    for pattern, what, advice in (
        ("Could not resolve", "host not found", "check the name, or give the address; `ping` it"),
        ("Name or service not known", "host not found", "check the name, or give the address; `ping` it"),
        ("Connection refused", "connection refused", "start the ssh server there (raspi-config, Interface Options)"),
        ("timed out", "no answer", "is the board on, and in this network? Check its address"),
        ("No route to host", "no route", "is the board on, and in this network? Check its address"),
        (
            "IDENTIFICATION HAS CHANGED",
            "the host key has changed",
            f"if you set the board up anew, remove the old key with `{by_hand.forget(words)}`, else beware",
        ),
        ("Host key verification failed", "the host key is not known", f"log in once by hand: `{by_hand('ssh')}`"),
        (
            "Permission denied",
            "the board refuses the key",
            f"copy yours with `{by_hand('ssh-copy-id')}`; is the user right?",
        ),
        ("Too many authentication failures", "the board refuses the keys", "name the right one in ~/.ssh/config"),
        ("UNPROTECTED PRIVATE KEY", "ssh ignores a key that others can read", "chmod 600 the key file"),
    ):
        if pattern in words:
            return f"{name}: {what}; {advice}\n{words.splitlines()[-1]}"
    return f"{name}: ssh failed; try `{by_hand('ssh')}`\n{words or 'ssh gave no reason'}"
