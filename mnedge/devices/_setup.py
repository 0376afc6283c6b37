"""A private Python environment on a board: from the board's own index, or from wheels fetched here and copied over."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mnedge import command
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.results.device import BoardFacts

_FETCH_S = 900.0
_INSTALL_S = 3600.0
_COPY_S = 600.0
_CONNECTION_LOST = 255
_NEEDS_BYTES = 600 << 20
# ai-edge-litert's first Python; below it, and on 32-bit Arm, tflite-runtime is the newest there is. Its last release
# was built against NumPy 1 and fails to import with NumPy 2.
_LITERT_PYTHON = (3, 10)
_OLD_LITERT = ("tflite-runtime", "numpy<2")
_OLD_LITERT_PYTHON = (3, 11)
_OLDEST_GLIBC_MINOR = 17
# Unpacks a wheel: what pip does without scripts, which nothing here calls. Whole or not at all: checksum first.
_UNPACK = """
import hashlib, io, re, sys, zipfile
data = sys.stdin.buffer.read()
if hashlib.sha256(data).hexdigest() != sys.argv[1]:
    sys.exit("damaged on the way")
folder = next(path for path in sys.path if path.endswith("site-packages"))
with zipfile.ZipFile(io.BytesIO(data)) as wheel:
    for member in wheel.infolist():
        member.filename = re.sub(r"^[^/]+\\.data/(purelib|platlib)/", "", member.filename)
        wheel.extract(member, folder)
"""


class _Board(Protocol):
    name: str
    uri: str

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> command.Finished: ...


def setup(
    board: _Board,
    facts: BoardFacts,
    environment: str,
    packages: Sequence[str],
    *,
    wheels: bool,
    progress: Callable[[str], None],
) -> list[str]:
    """Makes the environment new; the old one stays until the new one is whole.

    Args:
        board: Where.
        facts: The agent's facts about the board.
        environment: The environment's folder, as a shell word.
        packages: Packages to install, as pip takes them; empty for those that suit the board.
        wheels: Fetch wheels here and copy them, for a board without internet.
        progress: Called with a description of each step.

    Returns:
        The packages that were installed, as pip takes them.

    Raises:
        ToolError: No wheel for that board, no space, no network, no Python there.
    """
    wanted = list(packages) or suitable(facts, board.name)
    python = shlex.quote(facts.python_path)
    fetched: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="mnedge-wheels-") as folder:
        if wheels:
            progress(f"fetching wheels: {' '.join(wanted)}")
            fetched = fetch(facts, wanted, Path(folder), board.name)
        new = f"{environment}.new"
        try:
            progress("making the environment")
            _create(board, python, new, with_pip=not wheels, with_system=_uses_system_numpy(facts))
            if wheels:
                for wheel in fetched:
                    progress(f"copying {wheel.name}")
                    _copy(board, wheel, new)
            else:
                progress(f"installing on the board: {' '.join(wanted)}")
                names = " ".join(shlex.quote(package) for package in wanted)
                script = f"PIP_DISABLE_PIP_VERSION_CHECK=1 {new}/bin/python -m pip install --only-binary=:all: {names}"
                _run(board, script, timeout_s=_INSTALL_S)
            _run(board, f"rm -rf {environment} && mv {new} {environment}")
        except BaseException:
            _remove(board, new)
            raise
    return wanted


def suitable(facts: BoardFacts, name: str) -> list[str]:
    """The runtimes that a board can have, as pip takes them.

    Raises:
        ToolError: No LiteRT has ever been released for its Python and CPU.
    """
    version = tuple(int(part) for part in facts.python.split(".")[:2])
    machine = _machine(facts)
    if machine in ("aarch64", "x86_64") and version >= _LITERT_PYTHON:
        return ["ai-edge-litert", "onnxruntime"]
    if machine in ("aarch64", "x86_64", "armv7l") and version <= _OLD_LITERT_PYTHON:
        if machine != "armv7l":
            return [*_OLD_LITERT, "onnxruntime"]
        return [_OLD_LITERT[0]] if _uses_system_numpy(facts) else list(_OLD_LITERT)
    raise ToolError(
        f"{name}: there is no wheel of LiteRT for Python {facts.python} on {machine}; use a 64-bit system with "
        "Python 3.10 or newer (Raspberry Pi OS 64-bit), or, on 32 bits, Python 3.11 or older"
    )


def fetch(facts: BoardFacts, packages: Sequence[str], folder: Path, name: str) -> list[Path]:
    """Fetches wheels for a board's Python, CPU and C library with this machine's pip.

    Raises:
        ToolError: No such wheel, or no index.
    """
    version = ".".join(facts.python.split(".")[:2])
    args: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--dest",
        folder,
    ]
    args += ["--python-version", version, "--implementation", "cp", "--abi", f"cp{version.replace('.', '')}"]
    args += ["--abi", "abi3", "--abi", "none"]
    if _uses_system_numpy(facts):
        args.append("--no-deps")
    for platform in platforms(facts):
        args += ["--platform", platform]
    done = command.run([*args, *packages], timeout_s=_FETCH_S, check=False)
    if done.returncode:
        command.check_room(done)
        raise ToolError(_why_no_package(done.last_words, f"{name}: Python {version} on {_machine(facts)}"))
    return sorted(folder.glob("*.whl"))


def platforms(facts: BoardFacts) -> list[str]:
    """Platform tags of the wheels that a board takes, the newest C library first (PEP 600)."""
    machine = _machine(facts)
    found = re.search(r"glibc 2\.(\d+)", facts.libc)
    minor = int(found[1]) if found else _OLDEST_GLIBC_MINOR
    tags = [f"manylinux_2_{number}_{machine}" for number in range(minor, _OLDEST_GLIBC_MINOR - 1, -1)]
    return [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]


def _machine(facts: BoardFacts) -> str:
    """The CPU that wheels must be for: a 64-bit kernel may run a 32-bit system."""
    machine = str(facts.machine)
    if facts.bits == 32:
        return {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def _uses_system_numpy(facts: BoardFacts) -> bool:
    """NumPy publishes no wheels for 32-bit Arm; Debian's package (python3-numpy, below 2 up to Debian 12) serves."""
    return _machine(facts) == "armv7l" and str(facts.packages.get("numpy")).startswith("1.")


def _create(board: _Board, python: str, new: str, *, with_pip: bool, with_system: bool) -> None:
    option = ("" if with_pip else "--without-pip ") + ("--system-site-packages " if with_system else "")
    _run(board, f'rm -rf {new} && mkdir -p "$(dirname {new})" && {python} -m venv {option}{new}', timeout_s=_COPY_S)


def _copy(board: _Board, wheel: Path, new: str) -> None:
    data = wheel.read_bytes()
    checksum = hashlib.sha256(data).hexdigest()
    _run(board, f"{new}/bin/python -c {shlex.quote(_UNPACK)} {checksum}", timeout_s=_COPY_S, stdin=data)


def _remove(board: _Board, new: str) -> None:
    try:
        board.run(f"rm -rf {new}", timeout_s=60.0)
    except ToolError:
        return  # Out of reach: the next setup removes it.


def _run(board: _Board, script: str, *, timeout_s: float = 120.0, stdin: bytes | None = None) -> None:
    done = board.run(script, timeout_s=timeout_s, stdin=stdin)
    if done.returncode == 0:
        return
    words = (done.stderr + b"\n" + done.stdout).decode(errors="replace").strip()
    if done.returncode == _CONNECTION_LOST:
        raise ToolError(f"{board.name}: connection lost during setup; the environment is as before, run this again")
    if "No space left" in words or "Disk quota" in words:
        raise ToolError(
            f"{board.name}: disk full during setup; it needs about {_NEEDS_BYTES >> 20} MiB in the home folder. The "
            "environment is as before"
        )
    if "ensurepip" in words:
        raise ToolError(
            f"{board.name}: Python there has no pip for new environments; install it (sudo apt install python3-venv), "
            "or pass --wheels to fetch wheels here and copy them"
        )
    if "No module named venv" in words:
        raise ToolError(f"{board.name}: Python there lacks the venv module; sudo apt install python3-venv")
    raise ToolError(_why_no_package(words, board.name))


def _why_no_package(words: str, where: str) -> str:
    offline = (
        "Temporary failure in name resolution",
        "Failed to establish",
        "Name or service not known",
        "ConnectTimeout",
    )
    if any(pattern in words for pattern in offline):
        return f"{where}: no connection to the package index; pass --wheels to fetch wheels here and copy them"
    if "CA certificate bundle" in words or "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            f"{where}: it does not trust the package index; install ca-certificates there and set its clock (a board "
            "without a battery starts in the past), or pass --wheels to fetch wheels here and copy them"
        )
    missing = re.search(r"No matching distribution found for (\S+)", words)
    if missing and missing[1].startswith("numpy") and "armv7l" in where:
        return f"{where}: NumPy has no wheel for it; sudo apt install python3-numpy there, then run this again"
    if missing:
        return (
            f"{where}: no wheel of {missing[1]} for it; name another version with --package NAME==VERSION, or another "
            "Python there with ?python=PATH"
        )
    return f"{where}: setup failed: {words[-800:]}"
