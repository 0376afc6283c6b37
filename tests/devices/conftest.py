"""An emulated Raspberry Pi behind a real sshd; the scripts beside this file make both.

The userland is made once below $MNEDGE_TEST_ROOTS (default ~/.cache/mnedge-tests) and used again. Where that cannot be
done the tests are skipped with the reason; with MNEDGE_TEST_DEVICES=1, as in CI, they fail instead.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlencode

import numpy as np
import psutil
import pytest

from mnedge.devices._link import BOOTSTRAP
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
ROOTS = Path(os.environ.get("MNEDGE_TEST_ROOTS") or Path.home() / ".cache" / "mnedge-tests")
CPUS = {"pi4": "cortex-a72", "pi5": "cortex-a76"}


def unavailable(reason: str) -> None:
    """Skips the test, or fails it where the devices are promised."""
    if os.environ.get("MNEDGE_TEST_DEVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def need(*programs: str) -> None:
    if os.geteuid() != 0:
        unavailable("needs root: the userland has device files, and sshd changes its root into it")
    for program in programs:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            unavailable(f"{program} is missing; see .ci/run for the packages")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_root(name: str, script: str, *args: str) -> Path:
    """Makes a userland unless it is there; a half-made one is never left."""
    root = ROOTS / name
    made = (
        subprocess.run([HERE / script, str(ROOTS / f"{name}.new"), *args], check=False, capture_output=True)
        if not (root.is_dir())
        else subprocess.run([HERE / "binfmt.sh"], check=False, capture_output=True)
    )
    if made.returncode:
        shutil.rmtree(ROOTS / f"{name}.new", ignore_errors=True)
        unavailable(f"{script} failed: {made.stderr.decode()[-500:]}")
    if not root.is_dir():
        (ROOTS / f"{name}.new").rename(root)
    return root


@contextmanager
def own_copy(name: str, make: Callable[[], Path]) -> Iterator[Path]:
    """A copy of a userland that no other test session uses meanwhile, so that none waits for another.

    Args:
        name: Its name below `ROOTS`.
        make: Makes the userland that is copied; one session at a time does.
    """
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = make()
    for number in itertools.count():
        root = ROOTS / f"{name}-{number}"
        with (ROOTS / f"{root.name}.lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not root.is_dir():
                half = ROOTS / f"{root.name}.new"
                subprocess.run(["rm", "-rf", half], check=True)
                subprocess.run(["cp", "--archive", "--one-file-system", made, half], check=True)
                half.rename(root)
            yield root
            return


@dataclass
class Pi:
    """An emulated board.

    Attributes:
        root: Its root folder, seen from here.
        folder: Configuration and keys of sshd and ssh.
        port: Where its sshd listens.
        cpu: The emulated core.
    """

    root: Path
    folder: Path
    port: int
    cpu: str

    def uri(self, **options: object) -> str:
        return "ssh://pi?" + urlencode({"ssh_config": self.folder / "ssh_config", **options})

    def tmp(self, name: str = "") -> tuple[str, Path]:
        """A new temporary folder: its path there, and its path seen from here."""
        inside = f"/tmp/{name}{uuid.uuid4().hex}"  # noqa: S108 - in the userland
        outside = self.root / inside.lstrip("/")
        outside.mkdir()
        return inside, outside

    def start(self) -> None:
        script = [HERE / "make_sshd.sh", self.folder, str(self.port), self.root, self.cpu]
        subprocess.run(list(map(str, script)), check=True)
        deadline = time.monotonic() + 60
        while not (self.folder / "sshd.pid").exists():
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
            time.sleep(0.02)

    @property
    def sshd(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "sshd.pid").read_text()))

    @contextmanager
    def as_board(self, board: str, folder: Path) -> Iterator[Pi]:
        """The same userland on another board's cores, behind an sshd of its own."""
        other = replace(self, folder=folder, port=free_port(), cpu=CPUS[board])
        subprocess.run([HERE / "set_board.sh", self.root, board], check=True)
        other.start()
        try:
            yield other
        finally:
            other.stop()
            subprocess.run([HERE / "set_board.sh", self.root, "pi4"], check=True)

    def stop(self) -> None:
        """Ends sshd; connections that exist stay."""
        process = self.sshd
        process.terminate()
        gone(process)
        (self.folder / "sshd.pid").unlink(missing_ok=True)

    def cut(self) -> None:
        """Cuts every connection, as a pulled cable that is noticed at once."""
        for process in self.sshd.children(recursive=False):
            process.kill()

    def agents(self) -> list[psutil.Process]:
        """Python processes of agents that live in the userland."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if BOOTSTRAP in process.cmdline() and Path(f"/proc/{process.pid}/root").readlink() == self.root:
                    found.append(process)
        return found


def gone(process: psutil.Process, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{process} still runs"
        time.sleep(0.05)


def make_pi(folder: Path) -> Path:
    """A Raspberry Pi's userland, its runtimes set up from wheels that were fetched here.

    Args:
        folder: Empty folder for sshd, which sets them up.
    """
    root = make_root("pi4", "make_pi.sh", "pi4")
    if not (root / "root/.local/share/mnedge/env").is_dir():
        board = Pi(root, folder, free_port(), CPUS["pi4"])
        board.start()
        try:
            set_up(board.uri())
        finally:
            board.cut()
            board.stop()
    return root


@pytest.fixture(scope="session")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A Raspberry Pi 4 with its runtimes."""
    need("mmdebstrap", "qemu-aarch64-static", "sshd", "ssh")
    with own_copy("pi4", lambda: make_pi(tmp_path_factory.mktemp("setup"))) as root:
        subprocess.run(["find", root / "tmp", "-mindepth", "1", "-delete"], check=True)
        board = Pi(root, tmp_path_factory.mktemp("sshd"), free_port(), CPUS["pi4"])
        board.start()
        try:
            yield board
        finally:
            board.cut()
            board.stop()


@dataclass
class Phone:
    """A userland with a real adbd in a network namespace of its own.

    Attributes:
        root: Its root folder, seen from here.
        adb: A program that is adb inside of that network; its server is no other's.
    """

    root: Path
    adb: Path
    daemon: subprocess.Popen[bytes] | None = None
    keeper: subprocess.Popen[bytes] | None = None

    SERIAL: ClassVar[str] = "127.0.0.1:5555"

    def uri(self, **options: object) -> str:
        return f"adb://{self.SERIAL}?" + urlencode(options)

    def start(self) -> None:
        """Starts adbd, in the network that is there or a new one."""
        if self.keeper is None:
            # Holds the network while adbd is away.
            self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            time.sleep(0.3)
        network = ["nsenter", "--net", "-t", str(self.keeper.pid)]
        args: list[str | Path] = [*network, "unshare", "--mount", HERE / "make_adbd.sh", self.root, CPUS["pi4"]]
        self.daemon = subprocess.Popen(args, stderr=subprocess.DEVNULL)
        self.adb.write_text(f'#!/bin/sh\nexec nsenter --net -t {self.keeper.pid} adb "$@"\n')
        self.adb.chmod(0o755)
        deadline = time.monotonic() + 20
        while b"connected" not in self.command("connect", self.SERIAL).stdout or (
            self.command("-s", self.SERIAL, "get-state").stdout != b"device\n"
        ):
            assert time.monotonic() < deadline, "adbd does not answer"
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends adbd, as a pulled cable."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def close(self) -> None:
        self.command("kill-server")
        self.stop()
        assert self.keeper is not None
        self.keeper.kill()
        self.keeper.wait()

    def command(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self.adb, *args], check=False, capture_output=True, timeout=30)

    @contextmanager
    def also_at(self, serial: str) -> Iterator[str]:
        """The same adbd at another address: for adb a second phone."""
        self.command("connect", serial)
        try:
            yield serial
        finally:
            self.command("disconnect", serial)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """adbd neither answers nor ends."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemon.send_signal(signal.SIGCONT)

    @contextmanager
    def stranger(self) -> Iterator[str]:
        """The serial of a phone that does not trust this machine."""
        assert self.keeper is not None
        port = 6001  # adb looks for emulators below 5586
        network = ["nsenter", "--net", "-t", str(self.keeper.pid)]
        command: list[str | Path] = [*network, sys.executable, HERE / "unauthorized_phone.py", str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as peer:
            try:
                assert peer.stdout is not None
                assert peer.stdout.readline() == b"listening\n"
                with self.also_at(f"127.0.0.1:{port}") as serial:
                    yield serial
            finally:
                peer.kill()

    @property
    def leftovers(self) -> list[str]:
        """What lies in the temporary folder there, the programs of the tests apart."""
        return sorted(path.name for path in (self.root / "data/local/tmp").iterdir() if path.name != "programs")


@pytest.fixture(scope="session")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """A phone with Python, and benchmark_model's stand-in in /data/local/tmp/programs."""
    need("mmdebstrap", "qemu-aarch64-static", "adb", "unshare", "nsenter", "ip")
    with own_copy("phone", lambda: make_root("phone", "make_phone.sh", sys.executable)) as root:
        temporary = root / "data/local/tmp"
        subprocess.run(["find", temporary, "-mindepth", "1", "-delete"], check=True)
        (temporary / "programs").mkdir()
        shutil.copy(HERE / "benchmark_model_standin.py", temporary / "programs/benchmark_model")
        made = Phone(root, tmp_path_factory.mktemp("adb") / "adb")
        made.start()
        try:
            yield made
        finally:
            made.close()


def set_up(uri: str) -> None:
    from mnedge.devices import _setup, ssh
    from mnedge.errors import ToolError

    device = ssh.connect(uri)
    try:
        _setup.setup(device, device.facts(), f'"{ssh.ENVIRONMENT}"', (), wheels=True, progress=lambda _: None)
    except ToolError as exc:
        unavailable(str(exc))


def int8_network(resolution: int = 32, channels: int = 16, classes: int = 10) -> Graph:
    """An int8 network with random weights: convolution, depthwise, pointwise, mean, fully connected."""
    rng = np.random.default_rng(5)
    half = resolution // 2

    def weights(name: str, shape: tuple[int, ...], axis: int) -> tuple[Tensor, NDArray[np.float32]]:
        scales = rng.uniform(0.004, 0.01, shape[axis]).astype(np.float32)
        data = rng.integers(-127, 128, shape).astype(np.int8)
        return constant(name, data, Quantization.per_channel(scales, axis)), scales

    def bias(name: str, scales: NDArray[np.float32], input_scale: float) -> Tensor:
        data = rng.integers(-500, 500, scales.size).astype(np.int32)
        return constant(name, data, Quantization.per_channel(scales * np.float32(input_scale), 0))

    conv, conv_scales = weights("conv/weights", (channels, 3, 3, 3), 0)
    depth, depth_scales = weights("depth/weights", (1, 3, 3, channels), 3)
    point, point_scales = weights("point/weights", (channels, 1, 1, channels), 0)
    dense, dense_scales = weights("dense/weights", (classes, channels), 0)
    step = 0.05
    inner = Quantization.per_tensor(step, -5)
    tensors = [
        Tensor("image", (1, resolution, resolution, 3), "int8", Quantization.per_tensor(1 / 127.5, -1)),
        conv, depth, point, dense,
        bias("conv/bias", conv_scales, 1 / 127.5),
        bias("depth/bias", depth_scales, step),
        bias("point/bias", point_scales, step),
        bias("dense/bias", dense_scales, step),
        Tensor("conv", (1, half, half, channels), "int8", inner),
        Tensor("depth", (1, half, half, channels), "int8", inner),
        Tensor("point", (1, half, half, channels), "int8", inner),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, channels), "int8", inner),
        Tensor("scores", (1, classes), "int8", Quantization.per_tensor(0.02, 3)),
    ]  # fmt: skip
    plain = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    ops = [
        Op("CONV_2D", ("image", "conv/weights", "conv/bias"), ("conv",), {**plain, "stride_h": 2, "stride_w": 2}),
        Op("DEPTHWISE_CONV_2D", ("conv", "depth/weights", "depth/bias"), ("depth",), {**plain, "depth_multiplier": 1}),
        Op("CONV_2D", ("depth", "point/weights", "point/bias"), ("point",), plain),
        Op("MEAN", ("point", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "dense/weights", "dense/bias"), ("scores",), {"activation": "NONE"}),
    ]
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("image",), ("scores",))


@pytest.fixture(scope="session")
def int8_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "it's a 'model'.tflite"
    path.write_bytes(write_tflite(int8_network()))
    return path


@pytest.fixture(scope="session")
def int8_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    path.write_bytes(write_onnx(int8_network()))
    return path


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """400 pictures of 32 px: handwritten digits in colour."""
    from sklearn.datasets import load_digits

    grey = load_digits().images[:400].astype(np.float32) / 16
    large = np.kron(grey, np.ones((1, 4, 4), np.float32))
    tint = np.random.default_rng(1).uniform(60, 255, (400, 1, 1, 3))
    return list((large[..., None] * tint).astype(np.uint8))
