"""The commands on the emulated Raspberry Pi, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.devices.conftest import Pi

pytestmark = [pytest.mark.device, pytest.mark.slow]


def mnedge(*args: object, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mnedge", *map(str, args)]
    environment = {**os.environ, "MNEDGE_CACHE": str(cache)}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)


def test_check_says_what_the_board_is(pi: Pi, tmp_path: Path) -> None:
    done = mnedge("device", "check", pi.uri(), "--json", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["device"] == "ssh://pi"
    assert told["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert (told["machine"], told["cpu"], told["cores"]) == ("aarch64", "Cortex-A72", 4)
    assert told["emulated"] is True
    assert told["runtimes"]["litert"]["partitions"] == 1
    assert told["runtimes"]["onnxruntime"]["works"] is True
    assert told["advice"] == []


def test_validate_keeps_what_one_device_measured_when_another_fails(pi: Pi, int8_tflite: Path, tmp_path: Path) -> None:
    args = ("validate", int8_tflite, "--images", "64", "--device", pi.uri(), "--device", "ssh://host.invalid", "--json")
    done = mnedge(*args, cache=tmp_path)
    assert done.returncode == 4
    assert "ssh://host.invalid: host not found" in done.stderr
    told = json.loads(done.stdout)
    assert [(row["device"], row["images"]) for row in told["accuracy"]] == [("ssh://pi", 64)]
    (parity,) = told["parity"]
    assert (parity["max_abs_lsb"], parity["top1_agreement"], parity["differs"]) == (0.0, 1.0, [])
    assert [row["device"] for row in told["failed"]] == ["ssh://host.invalid"]


def test_bench_marks_emulated_latency_and_keeps_it_when_another_device_fails(
    pi: Pi, int8_tflite: Path, tmp_path: Path
) -> None:
    args = ("bench", int8_tflite, "--seconds", "0.5", "--device", pi.uri(), "--device", "ssh://host.invalid")
    done = mnedge(*args, "--json", cache=tmp_path)
    assert done.returncode == 4
    assert "ssh://host.invalid: host not found" in done.stderr
    (row,) = json.loads(done.stdout)["latency"]
    assert (row["device"], row["emulated"]) == ("ssh://pi", True)
    assert row["p50_ms"] > 0
    text = mnedge(*args, cache=tmp_path).stdout
    assert "(emulated)" in text
    assert "not a board's" in text


def test_interrupted_validate_ends_at_once_and_leaves_nothing(pi: Pi, int8_tflite: Path) -> None:
    inside, outside = pi.tmp()
    uri = pi.uri(tmp=inside)
    command: list[str | Path] = [sys.executable, "-m", "mnedge", "validate", int8_tflite, "--device", uri]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not pi.agents():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 130
    deadline = time.monotonic() + 60
    while pi.agents() or list(outside.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    outside.rmdir()
