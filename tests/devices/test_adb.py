"""The real adb and Debian's real adbd in an arm64 userland; benchmark_model is a stand-in with the real LiteRT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import devices
from mnedge.devices import _phone, _remote, adb
from mnedge.devices._remote import RemoteModel
from mnedge.errors import InputError, ToolError
from mnedge.pixels import SYMMETRIC
from mnedge.runtimes._runtime import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.devices.conftest import Phone

pytestmark = [pytest.mark.device, pytest.mark.slow]
PROGRAM = "/data/local/tmp/programs/benchmark_model"


@pytest.fixture(autouse=True)
def _own_cache(private_cache: Path) -> None:
    del private_cache


@pytest.fixture
def ready(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """The phone, with nothing of ours on it at the end."""
    monkeypatch.setenv("ADB", str(phone.adb))
    yield phone
    deadline = time.monotonic() + 60
    while phone.leftovers and time.monotonic() < deadline:
        time.sleep(0.1)
    assert phone.leftovers == []


def outputs_on(uri: str, path: Path, pictures: list[NDArray[np.uint8]]) -> NDArray[Any]:
    with devices.get(uri).load(path, "") as model:
        return np.stack(
            [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        )


def test_agent_on_the_phone_gives_the_hosts_outputs(
    ready: Phone, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with devices.get(ready.uri()).load(int8_tflite, "") as model:
        there = np.stack(
            [outputs[0] for outputs in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))]
        )
        assert model.info.emulated
    assert np.array_equal(there, outputs_on("local", int8_tflite, pictures))


def test_benchmark_model_gives_the_hosts_outputs(
    ready: Phone, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    with devices.get(ready.uri(benchmark_model=PROGRAM)).load(int8_tflite, "") as model:
        there = np.stack([outputs[0] for outputs in model.run(encoded(pictures[:2], model.info.input, SYMMETRIC), 2)])
        assert model.info.version == "benchmark_model (XNNPACK)"
        assert model.info.partitions == 1
        assert model.info.emulated
    assert np.array_equal(there, outputs_on("local", int8_tflite, pictures[:2]))


def test_latency_of_benchmark_model_says_what_a_sample_is(
    ready: Phone, int8_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb, "_ROUNDS", 2)  # the stand-in takes seconds to start
    device = adb.connect(ready.uri(benchmark_model=PROGRAM, cores="big"))
    timing = device.latency(int8_tflite, runs=4, warmup_s=0.0)
    assert len(timing.samples) == 2
    assert all(sample.ms > 0 for sample in timing.samples)
    assert timing.samples[0].temperature_c == pytest.approx(28.1)
    assert timing.info.emulated
    assert timing.notes["each_sample"] == "mean of 2 inferences"
    assert timing.notes["pinned"] == "taskset e"
    assert {key: timing.notes[key] for key in ("android", "battery_percent", "charging", "thermal_status")} == {
        "android": "14",
        "battery_percent": 87,
        "charging": True,
        "thermal_status": "none",
    }


def test_pulled_cable_goes_on_where_it_ended(
    ready: Phone, int8_tflite: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    found = []
    with devices.get(ready.uri()).load(int8_tflite, "") as model:
        for number, outputs in enumerate(model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))):
            found.append(outputs[0])
            if number == 150:
                ready.stop()
                ready.start()
    assert np.array_equal(found, outputs_on("local", int8_tflite, pictures))


def test_phone_that_stays_away_keeps_results(
    ready: Phone, int8_tflite: Path, pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_phone, "_RECONNECT_WAITS_S", (0.2,))
    monkeypatch.setattr(_remote, "_RECONNECT_WAITS_S", (0.2,))

    def run_until_pulled(**options: str) -> None:
        with devices.get(ready.uri(**options)).load(int8_tflite, "") as model:
            for _ in model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures)):
                if ready.daemon is not None and ready.daemon.poll() is None:
                    ready.stop()

    with pytest.raises(ToolError, match=r"did not come back(.|\n)*pictures are done and kept"):
        run_until_pulled()
    ready.start()


def test_refused_model_is_named(ready: Phone, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(200))
    for options in ({}, {"benchmark_model": PROGRAM}):
        with pytest.raises((ToolError, InputError), match="refuses"), devices.get(ready.uri(**options)).load(path, ""):
            pass


def test_accelerator_that_was_not_used_is_no_figure(ready: Phone, int8_tflite: Path) -> None:
    uri = ready.uri(benchmark_model=PROGRAM, accelerator="gpu")
    with pytest.raises(ToolError, match="without GPU delegate"), devices.get(uri).load(int8_tflite, ""):
        pass
    with (
        pytest.raises(ToolError, match="computes on the CPU"),
        devices.get(ready.uri(accelerator="npu")).load(int8_tflite, ""),
    ):
        pass


def test_program_for_another_cpu_is_named(ready: Phone, int8_tflite: Path, tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(100))
    with pytest.raises(ToolError, match=r"built for this phone's CPU"):
        adb.connect(ready.uri(benchmark_model=program)).latency(int8_tflite)


def test_full_disk_is_named(ready: Phone, tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(os.urandom(200_000))
    full = ready.root / "tmp/full"
    full.mkdir(exist_ok=True)
    # adbd has a mount namespace of its own, so the small disk is mounted there.
    assert ready.daemon is not None
    namespace = ["nsenter", "--mount", "-t", str(ready.daemon.pid)]
    subprocess.run([*namespace, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    try:
        for options in ({}, {"benchmark_model": PROGRAM}):
            uri = ready.uri(tmp="/tmp/full", **options)  # noqa: S108 - on the phone
            with pytest.raises(ToolError, match="disk full"), devices.get(uri).load(path, ""):
                pass
    finally:
        subprocess.run([*namespace, "umount", full], check=True)
        full.rmdir()


def test_which_phone_is_meant(ready: Phone) -> None:
    with pytest.raises(ToolError, match=r"adb://nobody is not there"):
        devices.get("adb://nobody")
    with pytest.raises(InputError, match="cores="):
        adb.connect(ready.uri(cores="'; id")).pinned()
    with pytest.raises(InputError):
        devices.get("adb://x?tmp=/data;id")


def test_without_a_serial_there_must_be_one_phone(ready: Phone) -> None:
    assert devices.get("adb://").name == f"adb://{ready.SERIAL}"
    with (
        ready.also_at("127.0.0.2:5555") as other,
        pytest.raises(ToolError, match=rf"finds 2 phones; name one: adb://{ready.SERIAL}, adb://{other}"),
    ):
        devices.get("adb://")
    ready.command("disconnect", ready.SERIAL)
    try:
        with pytest.raises(ToolError, match="finds no phone; connect one by USB"):
            devices.get("adb://")
    finally:
        ready.command("connect", ready.SERIAL)


def test_offline_phone_is_named(ready: Phone) -> None:
    serial = "127.0.0.3:5555"
    with ready.hanging(), ready.also_at(serial):
        with pytest.raises(ToolError, match=rf"adb://{serial} is offline; unlock it.*adb reconnect offline"):
            devices.get(f"adb://{serial}")
        # The phone that is ready is meant where none is named.
        assert devices.get("adb://").name == f"adb://{ready.SERIAL}"


def test_phone_that_does_not_trust_this_machine_is_named(ready: Phone) -> None:
    with ready.stranger() as serial:
        with pytest.raises(ToolError, match=rf"adb://{serial} does not trust this machine yet; unlock it and accept"):
            devices.get(f"adb://{serial}")
        command = [sys.executable, "-m", "mnedge", "device", "check", f"adb://{serial}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 4
        assert done.stderr.count("\n") == 1


def test_phone_that_hangs_is_given_up(ready: Phone, int8_tflite: Path, pictures: list[NDArray[np.uint8]]) -> None:
    def run_until_stopped(hang: ExitStack) -> None:
        with devices.get(ready.uri()).load(int8_tflite, "") as model:
            for number, _ in enumerate(model.run(encoded(pictures, model.info.input, SYMMETRIC), len(pictures))):
                if number == 50:
                    assert isinstance(model, RemoteModel)
                    model._conversation.link.silence_s = 4.0  # only now: a busy machine starts Python slowly
                    hang.enter_context(ready.hanging())

    with ExitStack() as hang, pytest.raises(ToolError, match=r"no sign of life for 4 s(.|\n)*are done and kept"):
        run_until_stopped(hang)


def test_check_says_what_the_phone_is(ready: Phone) -> None:
    def check(*args: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "mnedge", "device", "check", *args]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        return done.stdout

    told = json.loads(check(ready.uri(), "--json"))
    assert told["device"] == f"adb://{ready.SERIAL}"
    assert {key: told[key] for key in ("android", "abi", "battery_percent", "thermal_status")} == {
        "android": "14",
        "abi": "arm64-v8a",
        "battery_percent": 87,
        "thermal_status": "none",
    }
    assert told["emulated"] is True
    assert told["runtimes"]["litert"]["partitions"] == 1
    assert told["advice"] == []
    assert "benchmark_model" in check(ready.uri(benchmark_model=PROGRAM))
    assert "python=/no/python is no Python there" in check(ready.uri(python="/no/python"), status=4)


@pytest.mark.parametrize("options", [{}, {"benchmark_model": PROGRAM}], ids=["agent", "benchmark_model"])
def test_interrupted_validate_ends_soon_and_leaves_nothing(
    ready: Phone, int8_tflite: Path, options: dict[str, str]
) -> None:
    uri = ready.uri(**options)
    command: list[str | Path] = [sys.executable, "-m", "mnedge", "validate", int8_tflite, "--device", uri]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list((ready.root / "data/local/tmp").glob("mnedge-*/model*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.read()
        assert process.wait(timeout=30) == 130


def test_killed_program_leaves_nothing_there(ready: Phone, int8_tflite: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom mnedge import devices\n"
        "with devices.get(sys.argv[1]).load(Path(sys.argv[2]), '') as model:\n"
        "    print('in', flush=True); time.sleep(60)\n"
    )
    args: list[str | Path] = [sys.executable, "-c", script, ready.uri(benchmark_model=PROGRAM), int8_tflite]
    with subprocess.Popen(args, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert len(ready.leftovers) == 1
        process.kill()
    deadline = time.monotonic() + 60
    while ready.leftovers:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_an_adb_prints_that_is_no_list_of_phones_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "adb"
    monkeypatch.setenv("ADB", str(program))
    noise = np.random.default_rng(15).integers(0, 256, 50_000).astype(np.uint8).tobytes() + b"\xff\x1b[31mx\tdevice\n"
    for said in (
        noise,
        b"x" * 50_000 + b"\t" + b"y" * 50_000 + b"\n",
        b"".join(b"p%d\toffline\n" % n for n in range(9999)),
    ):
        (tmp_path / "said").write_bytes(said)
        program.write_text(f"#!/bin/sh\ncat {tmp_path / 'said'}\n")
        program.chmod(0o755)
        with pytest.raises(ToolError, match=r"adb://phone is not there; `adb devices` shows ") as caught:
            adb.connect("adb://phone")
        assert len(str(caught.value)) < 500
