"""The agent and its host on this machine: a real agent process at the end of a real pipe."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import command, devices
from mnedge.devices._agent import HEADER, MAGIC
from mnedge.devices._conversation import Conversation, board_facts
from mnedge.devices._link import BOOTSTRAP, Link, LostError
from mnedge.devices._remote import RemoteModel, time_model
from mnedge.errors import ToolError
from mnedge.pixels import SYMMETRIC
from mnedge.runtimes._runtime import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Here:
    """A device that is this machine: Python in a folder of its own."""

    name = uri = "here://"
    remedy = "install it"
    needs_delegate = True

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder, self.python = folder, python
        self.silence_s, self.answer_s = 20.0, 60.0
        self.interrupted = threading.Event()
        self.started: list[subprocess.Popen[bytes]] = []

    def start_agent(self) -> subprocess.Popen[bytes]:
        process = command.start([self.python, "-c", BOOTSTRAP], env={"TMPDIR": str(self.folder)})
        self.started.append(process)
        return process

    def run(self, script: str, *, timeout_s: float = 30.0, stdin: bytes | None = None) -> command.Finished:
        return command.run(["sh", "-c", script], timeout_s=timeout_s, stdin=stdin, check=False)

    def is_cut(self, lost: LostError) -> bool:
        # A killed agent stands for a cut connection here.
        return lost.returncode == -9

    def reset(self) -> None:
        pass


@pytest.fixture
def here(tmp_path: Path, private_cache: Path) -> Iterator[Here]:
    del private_cache
    folder = tmp_path / "there"
    folder.mkdir()
    device = Here(folder)
    yield device
    assert list(folder.iterdir()) == []
    assert all(process.poll() is not None for process in device.started)


def local_outputs(path: Path, pictures: list[NDArray[np.uint8]]) -> NDArray[Any]:
    with devices.get("local").load(path, "litert") as model:
        return np.stack(
            [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        )


def test_agent_computes_what_this_process_computes(
    here: Here, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    model = RemoteModel(here, int8_tflite, "")
    outputs = [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
    model.close()
    assert np.array_equal(outputs, local_outputs(int8_tflite, pictures))
    assert model.info.partitions == 1


def test_killed_agent_is_replaced_and_nothing_is_counted_twice(
    here: Here, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    model = RemoteModel(here, int8_tflite, "")
    outputs = []
    for number, values in enumerate(model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))):
        outputs.append(values[0])
        if number in (40, 41, 170):
            here.started[-1].kill()
    model.close()
    assert len(here.started) >= 3
    assert np.array_equal(outputs, local_outputs(int8_tflite, pictures))


def test_damaged_chunk_is_sent_again(here: Here, int8_tflite: Path, pictures: list[NDArray[np.uint8]]) -> None:
    model = RemoteModel(here, int8_tflite, "")
    send = Link.send
    damaged: list[int] = []

    def damage(link: Link, kind: bytes, number: int = 0, payload: bytes = b"") -> None:
        if kind == b"C" and len(damaged) < 3:
            damaged.append(number)
            link._outgoing.put(HEADER.pack(MAGIC, kind, number, len(payload), 12345) + payload)
        else:
            send(link, kind, number, payload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "send", damage)
        outputs = [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
    model.close()
    assert damaged == [0, 1, 2]
    assert np.array_equal(outputs, local_outputs(int8_tflite, pictures))


def test_silent_agent_is_ended(here: Here, int8_tflite: Path, pictures: list[NDArray[np.uint8]]) -> None:
    here.silence_s = 3.0
    model = RemoteModel(here, int8_tflite, "")
    results = model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))
    next(results)
    subprocess.run(["kill", "-STOP", str(here.started[-1].pid)], check=True)
    with pytest.raises(ToolError, match=r"no sign of life for 3 s(.|\n)*pictures are done and kept"):
        list(results)
    model.abort()


def test_agent_cleans_up_when_its_host_is_gone(here: Here, int8_tflite: Path) -> None:
    talk = Conversation(here)
    talk.upload(int8_tflite)
    assert len(list(here.folder.iterdir())) == 1
    process = here.started[-1]
    assert process.stdin is not None
    talk.link._outgoing.put(None)  # closes the pipe, as a lost connection does
    assert process.wait(timeout=60) == 0
    talk.link.kill()


def test_next_agent_removes_what_a_killed_one_left(here: Here, int8_tflite: Path) -> None:
    talk = Conversation(here)
    talk.upload(int8_tflite)
    here.started[-1].kill()
    here.started[-1].wait()
    assert len(list(here.folder.iterdir())) == 1
    second = Conversation(here)
    assert len(list(here.folder.iterdir())) == 1
    assert Path(second.folder).is_dir()
    second.close()
    talk.link.kill()


def test_refused_model_is_one_message(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(200))
    with pytest.raises(ToolError, match="the runtime refuses the model"):
        RemoteModel(here, path, "litert")


def test_crash_names_the_signal(here: Here, tmp_path: Path, int8_tflite: Path) -> None:
    crashing = tmp_path / "python"
    crashing.write_text(f'#!/bin/sh\n{sys.executable} -c "import os; os.kill(os.getpid(), 4)"; exit $?\n')
    crashing.chmod(0o755)
    with pytest.raises(ToolError, match=r"SIGILL \(status 132\).*another CPU"):
        RemoteModel(Here(here.folder, str(crashing)), int8_tflite, "")


def test_noise_before_the_agent_is_skipped(here: Here, tmp_path: Path) -> None:
    noisy = tmp_path / "python"
    noisy.write_text(f'#!/bin/sh\necho "Welcome to the board"\nexec {sys.executable} "$@"\n')
    noisy.chmod(0o755)
    talk = Conversation(Here(here.folder, str(noisy)))
    facts = board_facts(talk)
    talk.close()
    assert facts.emulated is False
    assert facts.packages["numpy"] == np.__version__


def test_latency_has_every_sample(here: Here, int8_tflite: Path) -> None:
    timing = time_model(here, int8_tflite, "", threads=1, warmup_s=0.0, runs=30, seconds=0.2)
    assert len(timing.samples) >= 30
    assert all(sample.ms > 0 for sample in timing.samples)
    assert timing.info.version.endswith("(XNNPACK)")


def test_results_outlive_a_failure(here: Here, int8_tflite: Path, pictures: list[NDArray[np.uint8]]) -> None:
    sent: list[int] = []
    send = Link.send

    def count(link: Link, kind: bytes, number: int = 0, payload: bytes = b"") -> None:
        if kind == b"C":
            sent.append(number)
        send(link, kind, number, payload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "send", count)
        model = RemoteModel(here, int8_tflite, "")
        results = model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))
        for _ in range(200):
            next(results)
        results.close()  # type: ignore[attr-defined]
        model.abort()
        first = len(sent)
        model = RemoteModel(here, int8_tflite, "")
        outputs = [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        model.close()
    assert np.array_equal(outputs, local_outputs(int8_tflite, pictures))
    assert len(sent) - first < first
    begin = len(sent)
    time.sleep(0.1)
    assert len(sent) == begin
