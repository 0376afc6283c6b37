"""Models on a phone through benchmark_model: no Python there, one inference a picture, files in and out."""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from mnedge import cache, command, runtimes
from mnedge.devices import _benchmark_model
from mnedge.devices._benchmark_model import Program
from mnedge.devices._device import ModelInfo
from mnedge.devices._link import MOST_SAID_BYTES, plain
from mnedge.devices._remote import chunked, output_bytes, split
from mnedge.errors import InputError, MnedgeError, ToolError, UnsupportedError
from mnedge.files import sha256

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Iterable, Iterator

    from mnedge.untyped import AnyArray

log = logging.getLogger(__name__)
_RECONNECT_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_START_S = 20.0
_END_S = 5.0
_SLOWER = 10.0
# The folder lives as long as the shell that keeps it, and that as long as its input: a pipe from here. So it goes,
# and what runs in it ends, even where this program is killed.
_KEEPER = """umask 077
d=$(mktemp -d {tmp}/mnedge-XXXXXX) || exit 1
end() {{ [ -f "$d/pids" ] && kill -9 $(cat "$d/pids") 2>/dev/null; rm -rf "$d"; }}
trap 'end; exit 1' HUP TERM INT PIPE
echo "$d"
cat > /dev/null
end
"""


_FOLDER = re.compile(r"/[A-Za-z0-9_./-]+/mnedge-[A-Za-z0-9]+")
_LONGEST_LINE = 4096


class CutError(Exception):
    """The phone is out of reach; it may come back."""


class Phone(Protocol):
    """Interface of an adb connection.

    Attributes:
        name: The device's URI without options.
        accelerator: cpu, gpu or npu.
        prefix: Words before each program (core pinning).
        tmp: Folder for temporary files there.
        needs_delegate: Whether a figure without the delegate is an error.
        silence_s: Longest time without a sign of life.
        answer_s: Longest wait for the answer to one call.
        interrupted: Set when nothing more shall be done there.
    """

    name: str
    accelerator: str
    tmp: str
    needs_delegate: bool
    silence_s: float
    answer_s: float
    interrupted: threading.Event

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Starts a shell script there."""
        ...

    def shell(
        self,
        script: str,
        *,
        timeout_s: float = 30.0,
        stdin: bytes | None = None,
        most_bytes: int = MOST_SAID_BYTES,
    ) -> command.Finished:
        """Runs a shell script there. Raises CutError where the phone is out of reach."""
        ...

    def pinned(self) -> str:
        """Words before a program that pin it to cores."""
        ...

    def back(self) -> bool:
        """Returns whether the phone is (again) in reach."""
        ...


class Folder:
    """A private folder on the phone that never outlives this program or the connection."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self._keeper = phone.start(_KEEPER.format(tmp=shlex.quote(phone.tmp)))
        try:
            self.path = _first_line(self._keeper, phone)
        except BaseException:
            command.kill(self._keeper)
            raise

    def put(self, data: bytes, name: str) -> str:
        """Writes a file and checks its checksum; returns its path there.

        Raises:
            CutError: The phone is out of reach.
            ToolError: No space there, or damaged on the way.
        """
        path = f"{self.path}/{name}"
        done = self.phone.shell(f"cat > {path} && sha256sum {path}", timeout_s=300.0, stdin=data)
        if hashlib.sha256(data).hexdigest() in done.text:
            return path
        words = done.last_words
        if "No space" in words:
            raise ToolError(
                f"{self.phone.name}: disk full: {words}; free space there, or name another folder with ?tmp=DIR"
            )
        raise ToolError(f"{self.phone.name}: {name} did not arrive whole: {words}; try again, or another cable")

    def close(self) -> None:
        """Ends what runs in the folder and removes it."""
        assert self._keeper.stdin is not None
        with suppress(OSError):
            self._keeper.stdin.close()
        with suppress(Exception):
            self._keeper.wait(timeout=_END_S)
        command.kill(self._keeper)


class Bench:
    """A program and a model in a folder on the phone, ready to run."""

    def __init__(self, phone: Phone, program: str, model: Path) -> None:
        self.phone, self.folder = phone, Folder(phone)
        try:
            there = program
            if Path(program).is_file():
                there = self.folder.put(Path(program).read_bytes(), "benchmark_model")
                phone.shell(f"chmod 700 {there}")
            self.model = self.folder.put(model.read_bytes(), "model.tflite")
            # Both programs print their flags and fail.
            printed = phone.shell(f"{shlex.quote(there)} --help", timeout_s=60.0)
            _check_crash(printed, phone, there)
            self.program = Program.from_help(there, printed.text + printed.stderr.decode(errors="replace"))
        except BaseException:
            self.folder.close()
            raise

    def command(self, flags: Iterable[str]) -> str:
        """Returns the call of the program as shell words; the folder's keeper knows its process."""
        words = " ".join(shlex.quote(flag) for flag in flags)
        call = f"{self.phone.pinned()}{shlex.quote(self.program.path)} --graph={self.model} {words}"
        script = f"echo $$ >> {self.folder.path}/pids; exec {call}"
        return f"LD_LIBRARY_PATH={self.folder.path} sh -c {shlex.quote(script)}"

    def measure(self, flags: Iterable[str], timeout_s: float) -> str:
        """Runs the program once and returns its log.

        Raises:
            CutError: The phone is out of reach.
            ToolError: The program fails.
        """
        done = self.phone.shell(self.command(flags), timeout_s=timeout_s)
        text = done.text + done.stderr.decode(errors="replace")
        if done.returncode:
            _check_crash(done, self.phone, self.program.path)
            raise ToolError(
                f"{self.phone.name}: benchmark_model refuses the model (status {done.returncode}): "
                f"{text[-600:].strip()}; take a newer benchmark_model, or build the model for an older runtime"
            )
        return text


def _check_crash(done: command.Finished, phone: Phone, program: str) -> None:
    reasons = {
        126: "cannot be executed; is it built for this phone's CPU?",
        127: "is not there, or lacks a library",
        132: "was killed by SIGILL: it is built for another CPU",
        137: "was killed, most often for want of memory",
        139: "crashed (SIGSEGV)",
    }
    if done.returncode in reasons or "not executable" in done.last_words or "Exec format" in done.last_words:
        reason = reasons.get(done.returncode, reasons[126])
        raise ToolError(f"{phone.name}: {program} {reason}\n{done.last_words}\ntake the android_arm64 benchmark_model")


class PhoneModel:
    """A model that benchmark_model runs, a process a picture."""

    def __init__(self, phone: Phone, program: str, path: Path) -> None:
        if path.suffix != ".tflite":
            raise InputError(f"{path}: benchmark_model runs .tflite files only")
        self._phone, self._program, self._path = phone, program, path
        self._done = self._count = 0
        self._bench = open_bench(phone, program, path)
        try:
            here = runtimes.open_session("litert", path, 1)
            here.close()
            _check_outputs(self._bench.program, phone)
            flags = [
                *self._bench.program.flags(phone.accelerator, 1),
                "--num_runs=1",
                "--warmup_runs=0",
                "--min_secs=0",
            ]
            begin = time.monotonic()
            text = self._bench.measure(flags, phone.answer_s)
            # Far above what a picture takes on a phone that works, far below what a user waits for one that hangs.
            self._picture_limit_s = _SLOWER * (time.monotonic() - begin)
            self.info = info_of(here, text, phone)
        except CutError as exc:
            self.close()
            raise gone(phone, exc) from exc
        except BaseException:
            self.close()
            raise
        key = {"model": sha256(path), "device": phone.name, "runtime": self.info.version}
        self._kept = cache.resumable("device-results", key)

    def close(self) -> None:
        """Removes all that is on the phone."""
        self._bench.folder.close()

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order.

        Results are kept until the last one is there, so the same call after a failure goes on where it ended.
        """
        self._done, self._count = 0, count
        for chunk in chunked(images):
            result = cache.recall(self._kept, chunk.data)
            if result is None or len(result) != chunk.images * output_bytes(self.info.outputs):
                result = self._compute(chunk.data, chunk.images)
                cache.keep(self._kept, chunk.data, result)
            for outputs in split(result, self.info.outputs, chunk.images):
                self._done += 1
                yield outputs
        cache.forget(self._kept)

    def _compute(self, data: bytes, images: int) -> bytes:
        """Outputs of one chunk; after a cut it is computed anew as a whole, so nothing counts twice."""
        kept = f"\n{self._done} of {self._count} pictures are done and kept; the same command goes on from there"
        for wait_s in (*_RECONNECT_WAITS_S, None):
            try:
                return self._compute_once(data, images)
            except CutError as exc:
                if wait_s is None:
                    raise ToolError(f"{self._phone.name} did not come back: {exc}{kept if self._done else ''}") from exc
                log.warning("%s: %s; connecting again", self._phone.name, exc)
                if self._phone.interrupted.wait(wait_s):
                    raise ToolError(f"{self._phone.name}: interrupted") from exc
                with suppress(CutError):
                    self._bench.folder.close()
                    self._bench = Bench(self._phone, self._program, self._path)
        raise AssertionError("the last turn returns or raises")

    def _compute_once(self, data: bytes, images: int) -> bytes:
        folder, program = self._bench.folder.path, self._bench.program
        flags = [
            *program.flags(self._phone.accelerator, 1),
            *_benchmark_model.input_flags(self.info.input, f"{folder}/x"),
        ]
        flags += [f"--output_filepath={folder}/y", "--num_runs=1", "--warmup_runs=0", "--min_secs=0"]
        one_bytes = len(data) // images
        script = f"""cat > {folder}/in || exit 1
i=0
while [ $i -lt {images} ]; do
  dd if={folder}/in of={folder}/x bs={one_bytes} skip=$i count=1 2> /dev/null || exit 1
  {self._bench.command(flags)} > {folder}/log 2>&1 < /dev/null || {{ s=$?; tail -n 5 {folder}/log >&2; exit $s; }}
  cat {folder}/y
  : > {folder}/pids
  i=$((i + 1))
done"""
        limit_s = self._phone.silence_s + images * self._picture_limit_s
        wanted = images * output_bytes(self.info.outputs)
        done = self._phone.shell(script, timeout_s=limit_s, stdin=data, most_bytes=wanted + MOST_SAID_BYTES)
        if done.returncode == 0 and len(done.stdout) == wanted:
            return done.stdout
        _check_crash(done, self._phone, program.path)
        if "No space" in done.last_words:
            raise ToolError(f"{self._phone.name}: disk full: {done.last_words}; free space there, or name ?tmp=DIR")
        raise ToolError(
            f"{self._phone.name}: benchmark_model gave {len(done.stdout)} of {wanted} bytes (status "
            f"{done.returncode}): {done.stderr.decode(errors='replace')[-600:].strip()}"
        )


def open_bench(phone: Phone, program: str, path: Path) -> Bench:
    """Puts program and model on the phone.

    Raises:
        ToolError: The phone is out of reach, or the program does not run there.
    """
    try:
        return Bench(phone, program, path)
    except CutError as exc:
        raise gone(phone, exc) from exc


def gone(phone: Phone, exc: CutError) -> ToolError:
    """The message for a phone that went out of reach."""
    return ToolError(f"{phone.name}: {exc}; check the cable, then `adb devices`, and run this again")


def is_emulated(phone: Phone) -> bool:
    """Returns whether the phone translates instructions: as in the agent, and Android's own emulator names itself.

    Raises:
        CutError: The phone is out of reach.
    """
    said = phone.shell(
        "grep -q '\\[vvar' /proc/self/maps || echo yes; "
        "case $(getprop ro.kernel.qemu)$(getprop ro.boot.qemu) in *1*) echo yes;; esac"
    )
    return "yes" in said.text


def info_of(here: runtimes.Session, text: str, phone: Phone) -> ModelInfo:
    """The model as benchmark_model's log shows it; inputs and outputs are those of the file.

    Raises:
        UnsupportedError: The model has several inputs.
        ToolError: The accelerator that was asked for was not used.
        CutError: The phone is out of reach.
    """
    if len(here.inputs) != 1:
        raise UnsupportedError(
            f"the model has {len(here.inputs)} inputs; a phone takes models with one, and this machine takes all"
        )
    found = _benchmark_model.delegation(text, phone.accelerator)
    missing = found.delegate == "no delegate"
    if missing and phone.needs_delegate and (phone.accelerator != "cpu" or here.partitions):
        raise ToolError(
            f"{phone.name}: benchmark_model runs the model there without {phone.accelerator.upper()} delegate, so its "
            "figure would pass for what it is not; take another benchmark_model or model, or accept it with "
            "?delegate=optional"
        )
    return ModelInfo(
        version=f"benchmark_model ({found.delegate})",
        partitions=found.partitions,
        input=here.input,
        outputs=here.outputs,
        emulated=is_emulated(phone),
    )


def _check_outputs(program: Program, phone: Phone) -> None:
    if not program.writes_outputs:
        raise ToolError(
            f"{phone.name}: this benchmark_model writes no outputs, so it measures latency only; for accuracy pass the "
            "classic one (TensorFlow Lite's android_aarch64_benchmark_model), or install Python there"
        )


def _first_line(process: subprocess.Popen[bytes], phone: Phone) -> str:
    """Reads the first line: the folder's name, or the reason why there is none."""
    import threading

    lines: list[bytes] = []

    def read(pipe: IO[bytes]) -> None:
        lines.append(pipe.readline(_LONGEST_LINE))

    assert process.stdout is not None
    reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
    reader.start()
    reader.join(_START_S)
    path = lines[0].decode(errors="replace").strip() if lines else ""
    if _FOLDER.fullmatch(path):
        return path
    said = command.last_words(process) or plain(path)
    words = plain(said, 600) if lines else "no answer"
    if not phone.back():
        raise CutError(words or "the phone is out of reach")
    if "No space" in words:
        raise ToolError(f"{phone.name}: disk full: {words}; free space there, or name another folder with ?tmp=DIR")
    with suppress(MnedgeError):
        process.wait(timeout=1.0)
    raise ToolError(f"{phone.name}: no private folder below {phone.tmp}: {words}; name another one with ?tmp=DIR")
