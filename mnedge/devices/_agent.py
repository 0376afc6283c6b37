"""The one file that runs on a board: it computes there what the host asks for over its standard input.

It is sent over at each start and needs Python 3.8, numpy and one runtime, nothing of this package (annotations are
never evaluated here, so they may be newer). Frames go both
ways: magic, kind, number, length, CRC-32, payload. The model lies in a folder of the agent's own, which is removed
however the agent ends; a lost connection is an end of input, and so an end of the agent.

Host to agent:  M model bytes, L load, C chunk of inputs, B latency, F facts, P ping, Q quit
Agent to host:  H hello, M model bytes written, I model info, R results of a chunk, N frame damaged,
                S latency samples, F facts, T tick, E error
"""

from __future__ import annotations

import errno
import json
import os
import platform
import queue
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from typing import Protocol, TypedDict

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from numpy.typing import NDArray
    from onnxruntime import NodeArg

    class Steps(TypedDict):
        """What LiteRT says of the steps of a tensor; both are empty where it holds real values."""

        scales: NDArray[np.float32]
        zero_points: NDArray[np.int32]

    class Detail(TypedDict):
        """What LiteRT says of an input or output."""

        name: str
        shape: NDArray[np.int32]
        dtype: type[np.generic]
        quantization_parameters: Steps

    class Spec(TypedDict):
        """An input or output as the host is told of it; scale and zero point are None for real values."""

        name: str
        shape: list[int]
        dtype: str
        scale: float | None
        zero_point: int | None

    class Info(TypedDict):
        """A loaded model as the host is told of it."""

        package: str
        version: str
        partitions: int | None
        input: Spec
        outputs: list[Spec]

    class Session(Protocol):
        """A model in a runtime."""

        info: Info

        def feed(self, tensor: NDArray[np.generic]) -> None: ...

        def invoke(self) -> None: ...

        def fetch(self) -> list[NDArray[np.generic]]: ...


PREAMBLE = b"\nmnedge-agent 1\n"
MAGIC = b"mne1"
HEADER = struct.Struct("<4scIII")
TICK_S = 2.0
CHOSEN_TMP = os.environ.get("TMPDIR")
# A host that says nothing for this long is gone, whatever the network claims; it pings every few seconds.
HOST_GONE_S = 120.0
LITERT_PACKAGES = (("ai-edge-litert", "ai_edge_litert.interpreter"), ("tflite-runtime", "tflite_runtime.interpreter"))
# MIDR part numbers of the cores of common boards: Arm, "Main ID Register", implementer 0x41.
CORES = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}
# Raspberry Pi firmware, get_throttled: what is so now, and what has been since the start.
THROTTLED = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "clock capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}


class Refused(Exception):  # noqa: N818 - what a runtime does to a model
    """The runtime does not take the model."""


class Missing(Exception):  # noqa: N818 - what a runtime is
    """The runtime is not installed, or does not load."""


class Wire:
    """Frames over two pipes; writing is shared between threads."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source, self.sink = source, sink
        self.lock = threading.Lock()
        self.heard = time.monotonic()

    def send(self, kind: bytes, number: int = 0, payload: bytes = b"") -> None:
        """Writes one frame."""
        with self.lock:
            self.sink.write(HEADER.pack(MAGIC, kind, number, len(payload), zlib.crc32(payload)) + payload)
            self.sink.flush()

    def send_json(self, kind: bytes, value: object) -> None:
        """Writes one frame of JSON."""
        self.send(kind, 0, json.dumps(value).encode())

    def receive(self) -> tuple[bytes, int, bytes, bool] | None:
        """Reads one frame: kind, number, payload, whether the checksum fits. None at the end of input."""
        header = self.source.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        magic, kind, number, length, crc = HEADER.unpack(header)
        if magic != MAGIC:
            return None
        payload = self.source.read(length)
        self.heard = time.monotonic()
        if len(payload) < length:
            return None
        return kind, number, payload, zlib.crc32(payload) == crc


# ---------------------------------------------------------------------------------------------------- facts


def read_text(path: str) -> str | None:
    """A small text file without its end of line and zero bytes; None where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").replace("\0", "").strip()
    except OSError:
        return None


def temperature_c() -> float | None:
    """Temperature of the first thermal zone (the SoC on a Raspberry Pi) in degrees Celsius."""
    text = read_text("/sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000.0 if text and text.lstrip("-").isdigit() else None


def clock_mhz() -> float | None:
    """Clock of the fastest core now, in MHz."""
    clocks = []
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        text = read_text(str(path))
        if text and text.isdigit():
            clocks.append(int(text) / 1000.0)
    return max(clocks) if clocks else None


def throttled() -> list[str] | None:
    """What the Raspberry Pi firmware says of power and temperature; None on other boards."""
    text = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None and shutil.which("vcgencmd"):
        try:
            done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, timeout=5, check=False)  # noqa: S607
        except (OSError, subprocess.SubprocessError):
            return None
        text = done.stdout.decode().strip().rpartition("=")[2]
    try:
        bits = int(text or "", 16)
    except ValueError:
        return None
    return [words for bit, words in THROTTLED.items() if bits >> bit & 1]


def is_emulated() -> bool:
    """Whether instructions are translated (qemu-user, or QEMU's "virt" board) and times mean nothing.

    A Linux kernel maps its [vvar] (or, on 32-bit Arm, [sigpage] or [vectors]) page into each process; an emulator of
    one process does not.
    """
    maps = read_text("/proc/self/maps") or ""
    if not any(name in maps for name in ("[vvar", "[sigpage]", "[vectors]", "[vsyscall]")):
        return True
    return "dummy-virt" in (read_text("/proc/device-tree/compatible") or "")


def package_version(name: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def facts() -> dict[str, object]:
    """What there is to know about the board; None where it does not say."""
    cpuinfo = read_text("/proc/cpuinfo") or ""
    fields = dict(re.findall(r"^([^\t:\n]+?)\s*: (.*)$", cpuinfo, re.MULTILINE))
    parts = sorted(set(re.findall(r"CPU part\s*: (\w+)", cpuinfo)))
    memory = dict(re.findall(r"^(\w+):\s+(\d+) kB", read_text("/proc/meminfo") or "", re.MULTILINE))
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', read_text("/etc/os-release") or "", re.MULTILINE))
    governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    maximum = read_text("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return {
        "board": read_text("/proc/device-tree/model") or read_text("/sys/class/dmi/id/product_name"),
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "cpu": " + ".join(CORES.get(part, part) for part in parts) or fields.get("model name"),
        "cpu_features": (fields.get("Features") or fields.get("flags") or "").split(),
        "cores": len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or os.cpu_count(),
        "memory_bytes": int(memory["MemTotal"]) * 1024 if "MemTotal" in memory else None,
        "memory_available_bytes": int(memory["MemAvailable"]) * 1024 if "MemAvailable" in memory else None,
        "disk_free_bytes": shutil.disk_usage(temporary()).free,
        "os": release.get("PRETTY_NAME"),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "python_path": sys.executable,
        "packages": {
            name: package_version(name) for name in ("numpy", "ai-edge-litert", "tflite-runtime", "onnxruntime")
        },
        "governor": read_text(governor),
        "clock_mhz": clock_mhz(),
        "clock_max_mhz": int(maximum) / 1000.0 if maximum and maximum.isdigit() else None,
        "temperature_c": temperature_c(),
        "throttled": throttled(),
        "emulated": is_emulated(),
    }


# ------------------------------------------------------------------------------------------------- sessions


class LiteRt:
    """A model in LiteRT's interpreter with its default delegate (XNNPACK)."""

    packages: tuple[tuple[str, str], ...] = LITERT_PACKAGES

    def __init__(self, path: str, threads: int, wire: Wire) -> None:
        package, interpreter = import_litert(wire, self.packages)
        try:
            self.interpreter = interpreter(model_path=path, num_threads=threads)
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise Refused(str(exc).strip()) from exc
        names = [detail["op_name"] for detail in self.interpreter._get_ops_details()]  # noqa: SLF001
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        check_one_input(inputs)
        partitions = sum(name in ("DELEGATE", "TfLiteXNNPackDelegate") for name in names)
        self.info: Info = {
            "package": package,
            "version": f"{package} {package_version(package)} ({'XNNPACK' if partitions else 'no delegate'})",
            "partitions": partitions,
            "input": litert_spec(inputs[0]),
            "outputs": [litert_spec(detail) for detail in outputs],
        }
        self.input_index = inputs[0]["index"]
        self.output_indices = [detail["index"] for detail in outputs]

    def feed(self, tensor: NDArray[np.generic]) -> None:
        """Sets the input."""
        self.interpreter.set_tensor(self.input_index, tensor)

    def invoke(self) -> None:
        """Computes."""
        self.interpreter.invoke()

    def fetch(self) -> list[NDArray[np.generic]]:
        """Copies of the outputs."""
        return [self.interpreter.get_tensor(index) for index in self.output_indices]


class TfliteRuntime(LiteRt):
    """The same in tflite-runtime, and in nothing newer."""

    packages = LITERT_PACKAGES[1:]


def import_litert(wire: Wire, packages: tuple[tuple[str, str], ...]) -> tuple[str, type[Interpreter]]:
    """The package's name and its Interpreter; the first one that is installed."""
    reasons = []
    for package, module in packages:
        installed = package_version(package)
        if installed is None:
            continue
        wire.send(b"T", 0, f"loading {package} {installed}".encode())
        try:
            return package, __import__(module, fromlist=["Interpreter"]).Interpreter
        except ImportError as exc:
            reasons.append(f"{package} {installed} does not load: {exc}")
    raise Missing("; ".join(reasons) or f"{' and '.join(name for name, _ in packages)}: not installed")


def check_one_input(inputs: Sequence[object]) -> None:
    """Refuses a model of several inputs."""
    if len(inputs) != 1:
        raise Refused(f"the model has {len(inputs)} inputs; a board takes models with one, this machine takes all")


def litert_spec(detail: Detail) -> Spec:
    """Name, shape, dtype, scale and zero point of an input or output."""
    import numpy as np

    scales = detail["quantization_parameters"]["scales"]
    zero_points = detail["quantization_parameters"]["zero_points"]
    return {
        "name": detail["name"],
        "shape": detail["shape"].tolist(),
        "dtype": np.dtype(detail["dtype"]).name,
        "scale": float(scales[0]) if len(scales) else None,
        "zero_point": int(zero_points[0]) if len(scales) else None,
    }


class OnnxRuntime:
    """A model in ONNX Runtime's CPU provider."""

    def __init__(self, path: str, threads: int, wire: Wire) -> None:
        installed = package_version("onnxruntime")
        if installed is None:
            raise Missing("onnxruntime is not installed")
        wire.send(b"T", 0, f"loading onnxruntime {installed}".encode())
        # Since 1.29 it reports models to its maker, and keeps what it has not sent in files that would stay here.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime as ort
        except ImportError as exc:
            raise Missing(f"onnxruntime {installed} does not load: {exc}") from exc
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if platform.machine() == "x86_64" and "vnni" not in (read_text("/proc/cpuinfo") or ""):
            # Its kernels would sum two products in 16 bits, which can saturate.
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as exc:
            # onnxruntime raises a dozen types of its own, all of them about the model.
            raise Refused(str(exc).strip()) from exc
        check_one_input(self.session.get_inputs())
        self.info: Info = {
            "package": "onnxruntime",
            "version": f"onnxruntime {installed}",
            "partitions": None,
            "input": onnx_spec(self.session.get_inputs()[0]),
            "outputs": [onnx_spec(value) for value in self.session.get_outputs()],
        }
        self.tensor: NDArray[np.generic] | None = None
        self.results: list[NDArray[np.generic]] = []

    def feed(self, tensor: NDArray[np.generic]) -> None:
        """Sets the input."""
        self.tensor = tensor

    def invoke(self) -> None:
        """Computes."""
        self.results = self.session.run(None, {self.info["input"]["name"]: self.tensor})

    def fetch(self) -> list[NDArray[np.generic]]:
        """The outputs."""
        return self.results


def onnx_spec(value: NodeArg) -> Spec:
    """Name, shape and dtype; a free dimension is the batch, 1."""
    return {
        "name": value.name,
        "shape": [size if isinstance(size, int) else 1 for size in value.shape],
        "dtype": {"float": "float32", "double": "float64"}.get(value.type[7:-1], value.type[7:-1]),
        "scale": None,
        "zero_point": None,
    }


RUNTIMES: dict[str, Callable[[str, int, Wire], Session]] = {
    "litert": LiteRt,
    "tflite-runtime": TfliteRuntime,
    "onnxruntime": OnnxRuntime,
}


# -------------------------------------------------------------------------------------------------- the work


class Agent:
    """One conversation with the host."""

    def __init__(self, wire: Wire, folder: str) -> None:
        self.wire, self.folder = wire, folder
        self.model_path = ""
        self.make: Callable[[int], Session]
        self.first: Session
        self.pool: ThreadPoolExecutor | None = None
        self.own = threading.local()
        self.done: queue.Queue[tuple[int, list[Future[bytes]]]] = queue.Queue()

    def serve(self) -> None:
        """Answers frames until the input ends."""
        while True:
            frame = self.wire.receive()
            if frame is None or frame[0] == b"Q":
                return
            kind, number, payload, whole = frame
            if not whole:
                self.wire.send(b"N", number)
            elif kind == b"M":
                self.append_model(payload, number)
            elif kind == b"L":
                self.load(**json.loads(payload.decode()))
            elif kind == b"C":
                self.submit(number, payload)
            elif kind == b"B":
                arguments = json.loads(payload.decode())
                threading.Thread(target=self.measure, kwargs=arguments, daemon=True).start()
            elif kind == b"F":
                self.wire.send_json(b"F", facts())

    def append_model(self, payload: bytes, offset: int) -> None:
        """Writes a part of the model; `offset` 0 starts a new one."""
        if offset == 0:
            self.model_path = str(Path(self.folder, "model"))
        with Path(self.model_path).open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        self.wire.send(b"M", offset)

    def load(self, runtime: str, threads: int) -> None:
        """Opens the model and says what the runtime made of it."""
        self.make = lambda count: RUNTIMES[runtime](self.model_path, count, self.wire)
        self.first = self.make(threads)
        self.wire.send_json(b"I", self.first.info)

    def submit(self, number: int, payload: bytes) -> None:
        """Starts the pictures of a chunk; their outputs are sent in the order of the chunks."""
        import numpy as np

        if self.pool is None:
            self.pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 4))
            threading.Thread(target=self.send_results, daemon=True).start()
        spec = self.first.info["input"]
        tensors = np.frombuffer(payload, spec["dtype"]).reshape([-1, *spec["shape"]])
        self.done.put((number, [self.pool.submit(self.infer, tensor) for tensor in tensors]))

    def infer(self, tensor: NDArray[np.generic]) -> bytes:
        """Raw outputs of one picture, one after the other."""
        if not hasattr(self.own, "session"):
            self.own.session = self.make(1)
        self.own.session.feed(tensor)
        self.own.session.invoke()
        return b"".join(output.tobytes() for output in self.own.session.fetch())

    def send_results(self) -> None:
        """Sends the outputs of the chunks as they become ready."""
        while True:
            number, pictures = self.done.get()
            try:
                self.wire.send(b"R", number, b"".join(picture.result() for picture in pictures))
            except BrokenPipeError:
                return
            except Exception as exc:  # noqa: BLE001 - the host is told all of them
                self.wire.send_json(b"E", described(exc))

    def measure(self, warmup_s: float, runs: int, seconds: float, seed: int) -> None:
        """Runs `latency` beside the thread that listens to the host."""
        try:
            self.latency(warmup_s, runs, seconds, seed)
        except Exception as exc:  # noqa: BLE001 - the host is told all of them
            self.wire.send_json(b"E", described(exc))

    def latency(self, warmup_s: float, runs: int, seconds: float, seed: int) -> None:
        """Times the loaded model on random input.

        Sends samples while it goes: [ms, seconds since the start, temperature in degrees Celsius, clock in MHz], and
        at the end the flags.
        """
        import numpy as np

        spec = self.first.info["input"]
        generator = np.random.default_rng(seed)
        if spec["dtype"] == "float32":
            tensor = generator.uniform(-1.0, 1.0, spec["shape"]).astype(np.float32)
        else:
            limits = np.iinfo(spec["dtype"])
            tensor = generator.integers(limits.min, limits.max + 1, spec["shape"]).astype(spec["dtype"])
        self.first.feed(tensor)
        until = time.monotonic() + warmup_s
        self.first.invoke()
        while time.monotonic() < until:
            self.first.invoke()
        samples: list[list[float | None]] = []
        count, started, told = 0, time.monotonic(), time.monotonic()
        while count < runs or time.monotonic() - started < seconds:
            begin = time.perf_counter_ns()
            self.first.invoke()
            elapsed_ms = (time.perf_counter_ns() - begin) / 1e6
            samples.append([elapsed_ms, time.monotonic() - started, temperature_c(), clock_mhz()])
            count += 1
            if time.monotonic() - told > TICK_S:
                self.wire.send_json(b"S", {"samples": samples, "last": False})
                samples, told = [], time.monotonic()
        self.wire.send_json(b"S", {"samples": samples, "last": True, "throttled": throttled()})


def described(exc: BaseException) -> dict[str, str]:
    """What the host needs to know of an exception."""
    if isinstance(exc, Refused):
        return {"kind": "refused", "message": str(exc)}
    if isinstance(exc, (Missing, ImportError)):
        return {"kind": "missing", "message": str(exc)}
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"kind": "disk full", "message": f"{temporary()}: {exc.strerror}"}
    if isinstance(exc, OSError) and str(exc.filename).startswith(temporary()):
        return {"kind": "folder", "message": f"{temporary()}: {exc.strerror}"}
    if isinstance(exc, MemoryError):
        return {"kind": "memory", "message": "out of memory"}
    return {"kind": "failed", "message": f"{type(exc).__name__}: {exc}"}


def keep_alive(wire: Wire) -> None:
    """Ticks, so that the host can tell slow from dead; ends all when the host is gone."""
    while True:
        time.sleep(TICK_S)
        try:
            wire.send(b"T")
        except OSError:
            return
        if time.monotonic() - wire.heard > HOST_GONE_S:
            os.kill(os.getpid(), signal.SIGTERM)


def temporary() -> str:
    """The folder for temporary files; unlike tempfile, no other one where the chosen one is full."""
    return CHOSEN_TMP or tempfile.gettempdir()


def sweep() -> None:
    """Removes folders of agents of this user that are no more: a power cut leaves them."""
    for path in Path(temporary()).glob("mnedge-agent-*"):
        pid = path.name.split("-")[2]
        try:
            if path.stat().st_uid == os.getuid() and pid.isdigit():
                os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


def main() -> None:
    """Talks on standard input and output; whatever libraries print goes to standard error."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    wire = Wire(sys.stdin.buffer, sink)
    sink.write(PREAMBLE)
    sweep()
    folder = ""
    try:
        folder = tempfile.mkdtemp(prefix=f"mnedge-agent-{os.getpid()}-", dir=temporary())
        # What a library writes goes with the folder.
        os.environ["TMPDIR"] = folder
        wire.send_json(b"H", {"pid": os.getpid(), "folder": folder, "emulated": is_emulated()})
        threading.Thread(target=keep_alive, args=(wire,), daemon=True).start()
        Agent(wire, folder).serve()
    except BrokenPipeError:
        pass
    except Exception as exc:  # noqa: BLE001 - the host is told all of them
        wire.send_json(b"E", described(exc))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # Threads may still compute, and nobody waits for them.
        os._exit(0)


if __name__ == "__main__":
    main()
