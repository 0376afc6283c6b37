"""A phone over the user's own adb: `adb://[serial]`.

Latency comes from a benchmark_model program, accuracy from the classic one; where Python with a runtime is on the
phone, both come from the agent. Options behind `?`: benchmark_model=FILE (here or there), accelerator=cpu|gpu|npu,
cores=big or a hexadecimal mask, python=PATH there, tmp=DIR there, delegate=optional, silence_s=SECONDS.
"""

from __future__ import annotations

import re
import shlex
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import command, runtimes
from mnedge.devices import _uri
from mnedge.devices._adb_choice import find_adb, identity_of, ready_serial
from mnedge.devices._benchmark_model import ACCELERATORS, parse
from mnedge.devices._conversation import agent_facts
from mnedge.devices._device import CutTimingError, DeviceTiming, Sample
from mnedge.devices._link import BOOTSTRAP, MOST_SAID_BYTES, LostError, plain
from mnedge.devices._phone import CutError, PhoneModel, gone, info_of, is_emulated, open_bench
from mnedge.devices._remote import RemoteModel, time_model
from mnedge.errors import InputError, ToolError
from mnedge.results.device import PhoneFacts
from mnedge.results.stored import as_row

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from mnedge.devices._uri import DeviceUri
    from mnedge.results.device import BoardFacts

_OPTIONS = ("benchmark_model", "accelerator", "cores", "python", "tmp", "delegate", "silence_s")
_USUAL_PROGRAM = "/data/local/tmp/benchmark_model"
_ROUNDS = 5
_LONGEST_ROUND_S = 10.0
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# Messages of adb itself, in contrast to those that it carries.
_OWN_WORDS = re.compile(r"^(adb: |error: |adb\.exe: )", re.MULTILINE)


class AdbDevice:
    """A phone over adb.

    Attributes:
        name: adb:// and the serial, as reports show it.
        uri: The URI as given.
        identity: The phone itself, the same over USB and Wi-Fi; the name where it does not tell.
        python: Python there that the user named; "" for python3.
        remedy: Advice if a runtime is missing or broken.
        silence_s: Longest time without a sign of life of the agent.
        answer_s: Longest wait for one answer.
        needs_delegate: Whether a figure without the delegate is an error.
        accelerator: cpu, gpu or npu.
        tmp: Folder for temporary files there.
        interrupted: Set when nothing more shall be done there.
    """

    answer_s = 900.0

    def __init__(self, uri: str, parts: DeviceUri, adb: str, serial: str) -> None:
        self.uri, self.name = uri, f"adb://{serial}"
        self.remedy = "install it for the Python there, or pass ?benchmark_model=FILE"
        self.silence_s = parts.seconds("silence_s", 30.0)
        self.needs_delegate = parts.options.get("delegate", "required") != "optional"
        self.accelerator = parts.options.get("accelerator", "cpu")
        self.tmp = parts.options.get("tmp", "/data/local/tmp")
        self.interrupted = threading.Event()
        self._adb, self._serial = adb, serial
        self.identity = identity_of(adb, serial) or self.name
        self._agent: subprocess.Popen[bytes] | None = None
        self._given = parts.options.get("benchmark_model")
        self._cores = parts.options.get("cores", "")
        self.python = parts.options.get("python", "")

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[PhoneModel | RemoteModel]:
        """Loads an artifact on the phone; `runtime` "" takes the one that loads such files.

        Raises:
            ToolError: The phone cannot be had, has neither benchmark_model nor Python, or refuses the model.
        """
        program = self.program()
        if program is None:
            remote = RemoteModel(self, path, runtime)
            try:
                yield remote
            except BaseException:
                remote.abort()
                raise
            remote.close()
            return
        model = PhoneModel(self, program, path)
        try:
            yield model
        finally:
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
        """Times an artifact on the phone, on random input.

        benchmark_model tells only means, so a sample is the mean of one of several runs of the program; the notes
        say so. Arguments as in `SshDevice.latency`.

        Raises:
            ToolError: As in `load`.
        """
        program = self.program()
        if program is None:
            timing = time_model(self, path, runtime, threads=threads, warmup_s=warmup_s, runs=runs, seconds=seconds)
            return DeviceTiming(timing.info, timing.samples, self._hot(), {**timing.notes, **as_row(self.facts())})
        if path.suffix != ".tflite":
            raise InputError(f"{path}: benchmark_model runs .tflite files only")
        bench = open_bench(self, program, path)
        samples: list[Sample] = []
        rounds = max(_ROUNDS, round(seconds / _LONGEST_ROUND_S))
        try:
            flags = [*bench.program.flags(self.accelerator, threads), f"--num_runs={max(1, runs // rounds)}"]
            flags += [f"--min_secs={seconds / rounds:g}", f"--warmup_min_secs={warmup_s:g}", "--warmup_runs=1"]
            text, begin = "", time.monotonic()
            for _ in range(rounds):
                text = bench.measure(flags, self.answer_s + seconds)
                at_s = time.monotonic() - begin
                samples.append(Sample(parse(text).mean_ms, at_s, self._temperature_c(), self._clock_mhz()))
            with closing(runtimes.open_session("litert", path, 1)) as here:
                info = info_of(here, text, self)
        except CutError as exc:
            raise CutTimingError(
                f"{self.name}: {exc} while timing; a latency with a gap is none, so run this again", samples
            ) from exc
        finally:
            bench.folder.close()
        each = {"each_sample": f"mean of {parse(text).runs} inferences", "accelerator": self.accelerator}
        return DeviceTiming(info, tuple(samples), self._hot(), {**as_row(self.facts()), **each})

    def facts(self) -> PhoneFacts:
        """Facts about the phone: model, SoC, Android, ABI, battery, thermal status, cores.

        Raises:
            ToolError: The phone is out of reach.
        """
        names = {
            "model": "ro.product.model",
            "soc": "ro.soc.model",
            "android": "ro.build.version.release",
            "sdk": "ro.build.version.sdk",
            "abi": "ro.product.cpu.abi",
        }
        lines = self.run("; ".join(f"echo $(getprop {name})" for name in names.values())).text.split("\n")
        told = {key: plain(value.strip(), 100) or None for key, value in zip(names, lines, strict=False)}
        battery = dict(re.findall(r"^\s*([\w ]+): (\S+)$", self.run("dumpsys battery 2> /dev/null").text, re.MULTILINE))
        level = re.fullmatch("[0-9]{1,3}", battery.get("level", ""))
        thermal_status, pinned = self._thermal_status(), self.pinned().strip() or None
        try:
            emulated = is_emulated(self)
        except CutError as exc:
            raise gone(self, exc) from exc
        return PhoneFacts(
            **told,
            battery_percent=int(level[0]) if level else None,
            charging=any(battery.get(f"{way} powered") == "true" for way in ("AC", "USB", "Wireless", "Dock")),
            thermal_status=thermal_status,
            pinned=pinned,
            emulated=emulated,
        )

    def python_facts(self) -> BoardFacts:
        """Facts from an agent in the Python there: see `_agent.facts`.

        Raises:
            ToolError: The phone is out of reach, or has no Python.
        """
        return agent_facts(self)

    def program(self) -> str | None:
        """The benchmark_model to use: the one that was named, the usual one on the phone, or none where Python is.

        Raises:
            ToolError: Neither is there.
        """
        if self.python and self.run(f"[ \"$({shlex.quote(self.python)} -c 'print(6 * 7)')\" = 42 ]").returncode:
            raise ToolError(
                f"{self.name}: python={self.python} is no Python there; name the path of one, or leave it out"
            )
        if self._given:
            if Path(self._given).is_file() or self.run(f"test -x {shlex.quote(self._given)}").returncode == 0:
                return self._given
            raise ToolError(f"{self.name}: benchmark_model={self._given} is neither a file here nor a program there")
        found = self.run(f"test -x {_USUAL_PROGRAM} && echo program; command -v {self._shown_python}").text
        if "program" in found.split("\n"):
            return _USUAL_PROGRAM
        if found.strip():
            return None
        raise ToolError(
            f"{self.name}: neither benchmark_model nor Python is there; download benchmark_model for android_arm64 "
            f"(ai.google.dev/edge/litert/next/benchmark) and pass {shlex.quote(f'{self.name}?benchmark_model=FILE')}"
        )

    def pinned(self) -> str:
        """Words before a program that pin it to the cores that were asked for.

        Raises:
            InputError: `cores` is neither "big" nor a mask.
        """
        if not self._cores:
            return ""
        if self._cores != "big":
            if not re.fullmatch(r"[0-9a-fA-F]+", self._cores):
                raise InputError(f"cores={self._cores!r} is neither big nor a hexadecimal mask, e.g. f0")
            return f"taskset {self._cores} "
        text = self.run("cd /sys/devices/system/cpu && grep -H . cpu*/cpufreq/cpuinfo_max_freq").text
        clocks = {int(core): int(clock) for core, clock in re.findall(r"cpu([0-9]{1,3})/\S*:([0-9]{1,9})\b", text)}
        if not clocks:
            raise ToolError(f"{self.name}: the phone does not tell its cores' clocks; give a mask, e.g. ?cores=f0")
        mask = sum(1 << core for core, clock in clocks.items() if clock == max(clocks.values()))
        return f"taskset {mask:x} "

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Starts a shell script there."""
        return command.start(self._command(script))

    def shell(
        self,
        script: str,
        *,
        timeout_s: float = 30.0,
        stdin: bytes | None = None,
        most_bytes: int = MOST_SAID_BYTES,
    ) -> command.Finished:
        """Runs a shell script there; its exit status is the caller's to judge.

        Raises:
            CutError: The phone is out of reach.
            ToolError: The script took too long, or printed more than `most_bytes`.
        """
        try:
            done = command.run(
                self._command(script),
                timeout_s=timeout_s,
                stdin=stdin,
                check=False,
                stop=self.interrupted,
                most_bytes=most_bytes,
            )
        except command.OutOfTimeError as exc:
            raise ToolError(
                f"{self.name}: no answer within {timeout_s:g} s; the phone hangs or is very slow: unlock it, restart "
                "it, and run this again"
            ) from exc
        if done.returncode and (_OWN_WORDS.search(done.stderr.decode(errors="replace")) or not self.back()):
            raise CutError(done.last_words or "the connection was cut")
        return done

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> command.Finished:
        """Runs a script like `shell`, without a second try.

        Raises:
            ToolError: The phone is out of reach, or the script took too long.
        """
        try:
            return self.shell(script, timeout_s=timeout_s, stdin=stdin)
        except CutError as exc:
            raise gone(self, exc) from exc

    def start_agent(self) -> subprocess.Popen[bytes]:
        """Starts Python there, ready to read the agent.

        Raises:
            ToolError: The phone is out of reach.
        """
        if self.accelerator != "cpu":
            raise ToolError(
                f"{self.name}: Python there computes on the CPU; for {self.accelerator} pass ?benchmark_model=FILE too"
            )
        if not self.back():
            raise ToolError(f"{self.name} is out of reach; check the cable, then `adb devices`")
        python = f"{self.pinned()}{self._shown_python} -c {shlex.quote(BOOTSTRAP)}"
        self._agent = self.start(f"export TMPDIR={self.tmp}; {python}; exit $?")
        return self._agent

    def is_cut(self, lost: LostError) -> bool:
        """Returns whether the connection ended, and not the agent: adb then ends with any of these, 0 too."""
        return bool(_OWN_WORDS.search(lost.stderr)) or (
            lost.returncode in (0, 1, 255) and "Traceback" not in lost.stderr
        )

    def interrupt(self) -> None:
        """Ends what another thread does there; agent and shells see the end of their input and clean up."""
        self.interrupted.set()
        if self._agent is not None:
            command.end(self._agent)

    def reset(self) -> None:
        """Makes a network connection anew; a cable comes back by itself."""
        if ":" in self._serial:
            command.run([self._adb, "disconnect", self._serial], timeout_s=15.0, check=False)
            command.run([self._adb, "connect", self._serial], timeout_s=15.0, check=False)

    def back(self) -> bool:
        """Returns whether the phone is (again) in reach."""
        if self._state() == "device":
            return True
        self.reset()
        return self._state() == "device"

    @property
    def _shown_python(self) -> str:
        return shlex.quote(self.python or "python3")

    def _state(self) -> str:
        return command.run([self._adb, "-s", self._serial, "get-state"], timeout_s=15.0, check=False).text.strip()

    def _command(self, script: str) -> list[str]:
        if self.interrupted.is_set():
            raise ToolError(f"{self.name}: interrupted")
        return [self._adb, "-s", self._serial, "shell", "-T", script]

    def _thermal_status(self) -> str | None:
        found = re.search(r"Thermal Status: ([0-9])\b", self.run("dumpsys thermalservice 2> /dev/null").text)
        return _THERMAL[min(int(found[1]), len(_THERMAL) - 1)] if found else None

    def _hot(self) -> tuple[str, ...] | None:
        status = self._thermal_status()
        if status is None:
            return None
        return () if status == "none" else (f"thermal status {status}",)

    def _temperature_c(self) -> float | None:
        """The battery's: phones tell no other to a shell."""
        found = re.search(r"temperature: ([0-9]{1,6})\b", self.run("dumpsys battery 2> /dev/null").text)
        return int(found[1]) / 10.0 if found else None

    def _clock_mhz(self) -> float | None:
        text = self.run("cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq 2> /dev/null").text
        clocks = [int(line) for line in text.split() if re.fullmatch("[0-9]{1,9}", line)]
        return max(clocks) / 1000.0 if clocks else None


def connect(uri: str) -> AdbDevice:
    """Opens a phone by URI; without a serial, the only one that is there.

    Raises:
        InputError: An unknown option or accelerator.
        ToolError: No adb, no phone, several phones and no serial, or a phone that is offline or not authorized.
    """
    parts = _uri.parse(uri, _OPTIONS, _uri.SERIAL)
    accelerator = parts.options.get("accelerator", "cpu")
    if accelerator not in ACCELERATORS:
        raise InputError.unknown("accelerator", accelerator, ACCELERATORS)
    if not re.fullmatch(r"/[A-Za-z0-9_./-]+", parts.options.get("tmp", "/data")):
        raise InputError(f"{uri!r}: tmp is a folder on the phone, of letters, digits and . _ - / only")
    adb = find_adb()
    return AdbDevice(uri, parts, adb, ready_serial(adb, parts.place))
