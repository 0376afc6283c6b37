"""Devices that answer nonsense, or without an end: one ToolError each, soon, and in little memory."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import command, devices
from mnedge.devices import _benchmark_model, adb
from mnedge.devices._conversation import Conversation, board_facts
from mnedge.devices._remote import RemoteModel, time_model
from mnedge.errors import MnedgeError, ToolError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mnedge.devices._link import LostError

# An agent that says what a test tells it to say: it takes the real one's place at the end of the pipe.
_AGENT = r"""
import json, struct, sys, zlib
source, sink = sys.stdin.buffer, sys.stdout.buffer
source.read(int(source.readline()))
told, flood, instead = sys.argv[1:]
answers = {key: [bytes.fromhex(part) for part in parts] for key, parts in json.loads(told).items()}

def send(kind, payload, number=0):
    sink.write(struct.pack("<4scIII", b"mne1", kind, number, len(payload), zlib.crc32(payload)) + payload)
    sink.flush()

sink.write(b"\nmnedge-agent 1\n" + bytes.fromhex(instead))
sink.flush()
send(b"H", answers["H"][0])
while True:
    header = source.read(17)
    if len(header) < 17:
        break
    _, kind, number, length, _ = struct.unpack("<4scIII", header)
    source.read(length)
    kind = kind.decode()
    if kind == "M":
        send(b"M", b"", number)
    for part in answers.get(kind, []):
        send({"L": b"I", "C": b"R", "B": b"S"}.get(kind, kind.encode()), part, number)
    while kind == flood:
        send(b"R", b"x" * 1000, 7777777)
    if kind == "Q":
        break
"""
_HELLO = {"pid": 4242, "folder": "/tmp/mnedge-agent-4242-abc", "emulated": False}  # noqa: S108 - nobody's
_ENDS = {"name": "image", "shape": [1, 8, 8, 3], "dtype": "int8", "scale": 0.0078, "zero_point": -1}
_MADE = {"name": "scores", "shape": [1, 4], "dtype": "int8", "scale": 0.0039, "zero_point": -128}
_LOADED = {"package": "ai-edge-litert", "version": "ai-edge-litert 2 (XNNPACK)", "partitions": 1, "input": _ENDS,
           "outputs": [_MADE]}  # fmt: skip
_SAMPLES = {"samples": [[1.5, 0.1, None, 1500.0]], "last": True, "throttled": None}


class Elsewhere:
    """A device whose agent is a program of the test's."""

    name = uri = "elsewhere://"
    python = ""
    remedy = "install it"
    needs_delegate = True
    silence_s, answer_s = 5.0, 20.0

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.interrupted = threading.Event()

    def start_agent(self) -> subprocess.Popen[bytes]:
        return command.start([sys.executable, "-c", *self.arguments])

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> command.Finished:
        raise AssertionError(f"nothing is to be run there: {script}, {timeout_s}, {stdin!r}")

    def is_cut(self, lost: LostError) -> bool:
        return lost.returncode == -9

    def reset(self) -> None:
        pass


def _device(flood: str = "", instead: bytes = b"", **answers: object) -> Elsewhere:
    return _telling(answers, flood, instead)


def _telling(answers: Mapping[str, object], flood: str = "", instead: bytes = b"") -> Elsewhere:
    """A device whose agent gives these answers, by the kind of what it was asked, and good ones to all else."""
    told: dict[str, list[str]] = {}
    for kind, value in {"H": _HELLO, "F": _facts(), "L": _LOADED, "B": _SAMPLES, **answers}.items():
        told[kind] = [(value if isinstance(value, bytes) else json.dumps(value).encode()).hex()]
    return Elsewhere(_AGENT, json.dumps(told), flood, instead.hex())


def _facts(**other: object) -> dict[str, object]:
    return {"machine": "aarch64", "bits": 64, "disk_free_bytes": 1 << 30, "libc": "glibc 2.36", "python": "3.11.2",
            "python_path": "/usr/bin/python3", "packages": {}, **other}  # fmt: skip


def _time(device: Elsewhere, path: Path) -> object:
    return time_model(device, path, "", threads=1, warmup_s=0.0, runs=1, seconds=0.0)


@pytest.fixture(autouse=True)
def _own_cache(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del private_cache
    # There is no such process and no such folder to sweep away.
    monkeypatch.setattr(Conversation, "_sweep", lambda _: None)


def test_good_answers_are_taken(int8_tflite: Path) -> None:
    """The agent of these tests is believed where what it says can be."""
    model = RemoteModel(_device(C=bytes(4)), int8_tflite, "")
    assert [outputs[0].tolist() for outputs in model.run([np.zeros((1, 8, 8, 3), np.int8)], 1)] == [[[0, 0, 0, 0]]]
    model.close()
    talk = Conversation(_device())
    assert board_facts(talk).python == "3.11.2"
    talk.abort()


_JSON = (
    b"", b"{", b"null", b"7", b"[]", b"{}", b"\xff\xfe", b"[" * 20_000, b'"text"', b'{"pid": 1e400}', b"9" * 5000,
    b"NaN", b'{"\\ud800": 1}',
)  # fmt: skip


@pytest.fixture
def _no_finalizers() -> Iterator[None]:
    """What an earlier test left is not finalized at the end of the stack, where it fails with a RecursionError."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_finalizers")
@pytest.mark.parametrize("payload", _JSON, ids=range(len(_JSON)))
@pytest.mark.parametrize("kind", ["H", "F", "L", "B"])
def test_an_answer_that_is_no_such_json(kind: str, payload: bytes, int8_tflite: Path) -> None:
    with pytest.raises(ToolError, match=r"elsewhere://: .*does not fit"):
        _time(_telling({kind: payload}), int8_tflite)


_TENSORS: tuple[dict[str, object], ...] = (
    {"shape": [1, -8, 8, 3]}, {"shape": [0]}, {"shape": [1 << 40]}, {"shape": "1x8"}, {"shape": None},
    {"dtype": "string"}, {"dtype": "object"}, {"dtype": 3}, {"scale": 0.0}, {"scale": -1.0}, {"scale": "big"},
    {"zero_point": 1 << 40}, {"zero_point": 1.5}, {"name": 7},
)  # fmt: skip


@pytest.mark.parametrize("change", _TENSORS, ids=str)
@pytest.mark.parametrize("end", ["input", "outputs"])
def test_a_model_that_no_runtime_loads(end: str, change: dict[str, object], int8_tflite: Path) -> None:
    told = (
        {**_LOADED, "input": {**_ENDS, **change}} if end == "input" else {**_LOADED, "outputs": [{**_MADE, **change}]}
    )
    with pytest.raises(ToolError, match="no agent of mnedge"):
        RemoteModel(_device(L=told), int8_tflite, "")


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("H", {**_HELLO, "pid": -1}), ("H", {**_HELLO, "pid": 1}), ("H", {**_HELLO, "folder": "/"}),
        ("H", {**_HELLO, "folder": "/mnedge-agent-1-a; reboot"}), ("L", {**_LOADED, "outputs": []}),
        ("F", _facts(python="three")), ("F", _facts(python="")), ("F", _facts(cores="many")),
        ("B", {**_SAMPLES, "samples": [[-1.0, 0.1, None, None]]}), ("B", {**_SAMPLES, "samples": []}),
        ("B", {**_SAMPLES, "samples": [[1.0]]}), ("B", {**_SAMPLES, "samples": [["fast", 0.1, None, None]]}),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_cannot_be(kind: str, answer: dict[str, object], int8_tflite: Path) -> None:
    with pytest.raises(ToolError, match="no agent of mnedge"):
        _time(_telling({kind: answer}), int8_tflite)


@pytest.mark.parametrize("size", [0, 3, 5, 4096])
def test_results_of_another_size(size: int, int8_tflite: Path) -> None:
    model = RemoteModel(_device(C=bytes(size)), int8_tflite, "")
    with pytest.raises(ToolError, match=rf"{size:,} bytes are its outputs of 1 pictures, where 4 are expected"):
        list(model.run([np.zeros((1, 8, 8, 3), np.int8)], 1))
    model.abort()


def test_control_characters_do_not_reach_the_terminal(int8_tflite: Path) -> None:
    told = {"kind": "refused", "message": "\x1b[2Jgone\x07" + "x" * 20_000}
    with pytest.raises(ToolError) as caught:
        RemoteModel(_device(instead=_frame(b"E", json.dumps(told).encode())), int8_tflite, "")
    assert "the runtime refuses the model" in str(caught.value)
    assert not {"\x1b", "\x07"} & set(str(caught.value))
    assert len(str(caught.value)) < 5000


def _frame(kind: bytes, payload: bytes) -> bytes:
    import zlib

    from mnedge.devices._agent import HEADER, MAGIC

    return HEADER.pack(MAGIC, kind, 0, len(payload), zlib.crc32(payload)) + payload


def _bounded(work: Callable[[], object], match: str, seconds: float = 60.0) -> None:
    """Does work that must fail soon, without taking memory as it goes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    with pytest.raises(ToolError, match=match):
        work()
    assert time.monotonic() - begin < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_a_login_that_prints_without_an_end(int8_tflite: Path) -> None:
    device = Elsewhere("import os\nwhile True: os.write(1, b'Welcome! ' * 1000)")
    _bounded(lambda: RemoteModel(device, int8_tflite, ""), "its login prints more than 1 MiB, without an end")


def test_an_agent_that_complains_without_an_end(int8_tflite: Path) -> None:
    device = Elsewhere("import os\nwhile True: os.write(2, b'no! ' * 1000)")
    _bounded(lambda: RemoteModel(device, int8_tflite, ""), "no sign of life for 5 s")


def test_frames_without_an_end(int8_tflite: Path) -> None:
    def work() -> None:
        model = RemoteModel(_device(flood="C"), int8_tflite, "")
        try:
            list(model.run([np.zeros((1, 8, 8, 3), np.int8)], 1))
        finally:
            model.abort()

    _bounded(work, "goes on answering what was not asked")


def test_a_frame_of_four_gigabytes(int8_tflite: Path) -> None:
    from mnedge.devices._agent import HEADER, MAGIC

    device = _device(instead=HEADER.pack(MAGIC, b"H", 0, (4 << 30) - 1, 0))
    _bounded(lambda: RemoteModel(device, int8_tflite, ""), "a frame of 4,294,967,295 bytes")


def test_what_is_no_frame(int8_tflite: Path) -> None:
    device = _device(instead=b"HTTP/1.1 400 Bad Request " * 9)
    _bounded(lambda: RemoteModel(device, int8_tflite, ""), "no frames of an agent")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exec yes 'Welcome to the board'", "its login prints more than 1 MiB, without an end"),
        ("yes | tr -d '\\n'", "its login prints more than 1 MiB, without an end"),
        ("exec 1>&-; exec yes no >&2", "ssh failed"),
        ("exec head -c 100000 /dev/urandom", "ssh failed"),
    ],
)
def test_ssh_to_a_login_that_floods(program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    device: Any = devices.get("ssh://board")
    _bounded(device.facts, words)


_ADB = """#!/bin/sh
case "$*" in
  devices) printf 'List of devices attached\\nphone\\tdevice\\n';;
  *get-state*) echo device;;
  *) {answer};;
esac
"""
_ANSWERS = (
    ":", "yes", "head -c 65536 /dev/urandom", "printf '  level: many\\n'", "printf 'Thermal Status: 999999\\n'",
    "printf '  level: %05000d\\n' 7", "printf 'cpu99999999999/x:5\\n'", "printf '\\377\\376\\n\\n\\n'", "exit 3",
    "printf '  temperature: %05000d\\n  level: -1\\n' 7", "printf '\\302\\262\\n'",
)  # fmt: skip


@pytest.mark.parametrize("answer", _ANSWERS)
def test_phones_that_answer_nonsense(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adb").write_text(_ADB.format(answer=answer))
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("ADB", str(tmp_path / "adb"))
    phone = adb.connect("adb://phone?cores=big&benchmark_model=/bin/true")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for ask in (phone.facts, phone.pinned, phone._temperature_c, phone._clock_mhz, phone._hot, phone.program):
        try:
            ask()
        except MnedgeError as exc:
            assert len(str(exc)) < 5000  # noqa: PT017 - some answers are good enough for some questions
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize(
    "log",
    [
        "", "Inference (avg): 1.2.3 ms (10 runs)", "Inference (avg):  ... ms (3 runs)",
        f"Inference (avg): {'9' * 5000} ms (3 runs)", f"Inference (avg): 1.0 ms ({'9' * 5000} runs)",
        "timings in us: Inference (avg): e+", "timings in us: Inference (avg): 1e+999",
        "timings in us: Inference (avg): 1.2.3",
    ],
    ids=range(8),
)  # fmt: skip
def test_logs_without_a_time(log: str) -> None:
    with pytest.raises(ToolError, match="printed no time"):
        _benchmark_model.parse(log)
