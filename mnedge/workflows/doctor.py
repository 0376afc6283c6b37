"""Installation and machine: packages, programs, CPU, disk. Quick: nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import __version__, cache, command
from mnedge.devices._web_modules import ENGINES
from mnedge.devices.browser import MODULES
from mnedge.errors import ToolError
from mnedge.foreign import read_file
from mnedge.redaction import without_names
from mnedge.results.installation import Installation, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION_TIMEOUT_S = 10.0
# The end of a log is what matters.
_LOG_BYTES = 64 << 20
_LOG_LINES = 2000
# Bytes that a build may leave in the cache and in the artifacts folder.
_ROOM_BYTES = 2 << 30


# (distributions of which one is enough, what for); the same set as `dependencies` in pyproject.toml.
_NEEDED = (
    (("ai-edge-litert",), "runs .tflite files"),
    (("typer",), "the command line"),
    (("msgspec",), "results as JSON"),
    (("flatbuffers",), "writes .tflite files"),
    (("jinja2",), "report.html"),
    (("keras",), "the models"),
    (("numpy",), "arrays"),
    (("onnx",), "writes .onnx files"),
    (("onnxruntime",), "runs .onnx files"),
    (("pillow",), "decodes and resizes pictures"),
    (("psutil",), "load, memory and cores of this machine"),
    (("pyyaml",), "recipes"),
    (("rich",), "tables and progress in the terminal"),
    (("scikit-learn",), "the demo pictures"),
    (("threadpoolctl",), "BLAS on one thread beside threads of our own"),
    (("pycocotools",), "average precision of detectors"),
    (("tensorflow",), "conversion from Keras, training, quantization-aware training"),
)
_EXTRA = (
    ("tflite-runtime", "`validate --runtime tflite-runtime`: what apps and boards that are not updated run"),
    ("tflite-micro", "the arena that TFLM would need, beside the compiled C"),
    ("ethos-u-vela", "`compile --target ethos-u…`: models for Arm Ethos-U"),
    ("distributed", "`sweep --scheduler tcp://…`: sweeps on a Dask cluster"),
)


@dataclass(frozen=True)
class _Program:
    """A program: alternative names, how its version is read, its purpose, its packages."""

    names: tuple[str, ...]
    arguments: tuple[str, ...]
    gives: str
    apt: str
    brew: str


_PROGRAMS = (
    _Program(
        ("arm-none-eabi-gcc",),
        ("--version",),
        "builds C for Cortex-M: flash and stack to the byte",
        "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "--cask gcc-arm-embedded",
    ),
    _Program(
        ("qemu-system-arm",), ("--version",), "runs Cortex-M builds, `--device qemu://…`", "qemu-system-arm", "qemu"
    ),
    _Program(("gcc", "clang"), ("--version",), "runs compiled C on this machine", "gcc", "gcc"),
    _Program(("ssh",), ("-V",), "measures on a board, `--device ssh://user@host`", "openssh-client", "openssh"),
    _Program(
        ("adb",), ("version",), "measures on a phone, `--device adb://serial`", "adb", "--cask android-platform-tools"
    ),
    _Program(
        ("qemu-aarch64-static", "qemu-aarch64"),
        ("--version",),
        "runs arm64 programs (Raspberry Pi bundles) on this machine",
        "qemu-user-static",
        "qemu",
    ),
    _Program(
        ("chromium", "chromium-browser", "google-chrome"),
        ("--version",),
        "measures in a browser, `--device browser://chromium`",
        "chromium",
        "--cask chromium",
    ),
)

# Which of the CPU's features decide how fast int8 is.
_INT8_FEATURES = {
    "avx512_vnni": "int8 dot products",
    "avx_vnni": "int8 dot products",
    "amx_int8": "int8 matrix products",
    "asimddp": "int8 dot products",
    "i8mm": "int8 matrix products",
}


def doctor(*, gpu: bool = False) -> Installation:
    """Reports installed and missing software and the machine's features.

    Args:
        gpu: Also load TensorFlow and ask it for GPUs, which takes seconds.

    Raises:
        ToolError: `gpu`, and TensorFlow is missing or does not load.
    """
    parts = (*packages(), *programs(), *web_modules())
    return Installation(parts=parts, machine=machine(), gpus=tuple(gpus()) if gpu else None)


def issue_report(found: Installation, log: Path | None = None) -> str:
    """Gives what a report of a fault needs, as one text without paths and names: versions, machine, log.

    Args:
        found: This installation.
        log: The file of MNEDGE_LOG, or the one that an error with exit code 70 named; None for none.

    Raises:
        InputError: The log cannot be read.
    """
    lines = [f"{name}: {value}" for name, value in found.machine.items()]
    lines += [f"{part.name}: {part.version or 'absent'}" for part in found.parts]
    if log is not None:
        text = read_file(log, _LOG_BYTES).decode(errors="replace")
        lines += ["", "log:", *text.splitlines()[-_LOG_LINES:]]
    return without_names("\n".join(lines)) + "\n"


def packages() -> list[Part]:
    """The Python packages that mnedge needs or can use, by their installed metadata."""
    found = []
    for names, gives in _NEEDED:
        installed = next(((name, text) for name in names if (text := _installed(name))), None)
        name, text = installed or (names[0], None)
        found.append(Part(name, text, needed=True, gives=gives, get=f"pip install {names[0]}"))
    found += [
        Part(name, _installed(name), needed=False, gives=gives, get=f"pip install {name}") for name, gives in _EXTRA
    ]
    return found


def programs() -> list[Part]:
    """The programs that targets and devices use, each asked for its version."""
    found = []
    for program in _PROGRAMS:
        name = next((name for name in program.names if shutil.which(name)), None)
        text = _program_version(name, program.arguments) if name else None
        found.append(Part(name or program.names[0], text, needed=False, gives=program.gives, get=_installer(program)))
    return found


def web_modules() -> list[Part]:
    """The runtimes of browsers in the node_modules that MNEDGE_WEB_MODULES names."""
    folder = os.environ.get(MODULES)
    found = []
    for engine in ENGINES.values():
        name, pinned = next(iter(engine.packages.items()))
        installed, get = None, f"npm install --prefix web {name}@{pinned}, and {MODULES}=web/node_modules"
        if folder:
            get = engine.advice(Path(folder)).removeprefix("install it: ")
            with suppress(ToolError):
                installed = engine.versions(Path(folder))[name]
        gives = f"{engine.title}: `--device browser://…`, and pages of `bundle web`"
        found.append(Part(name, installed, needed=False, gives=gives, get=get))
    return found


def machine() -> dict[str, str]:
    """Describes this machine in a few lines: Python, system, CPU and its int8 features, memory, room in the cache."""
    import psutil

    from mnedge.validation.latency import conditions

    now = conditions()
    memory = psutil.virtual_memory()
    busy = ", busy: latencies measured now would be high" if now.busy else ""
    return {
        "mnedge": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "CPU": f"{now.cpu}, {now.cores} cores, governor {now.governor or 'unknown'}",
        "CPU features": ", ".join(now.features) or "not told by this system",
        "for int8": _for_int8(now.features),
        "load": f"{now.load:.1f}{busy}",
        "memory": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free",
        "cache": _room(cache.root()),
    }


def _for_int8(features: Iterable[str]) -> str:
    """Names the CPU features that make int8 fast."""
    found = [f"{_INT8_FEATURES[name]} ({name})" for name in features if name in _INT8_FEATURES]
    return ", ".join(found) or "no int8 instructions known: int8 gains less over float here"


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees; imports TensorFlow.

    Raises:
        ToolError: TensorFlow is missing or does not load.
    """
    try:
        import tensorflow as tf
    except ImportError as exc:
        raise ToolError(f"TensorFlow does not load ({exc}); pip install tensorflow") from exc
    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _program_version(name: str, arguments: tuple[str, ...]) -> str:
    """The first version number that a program prints; "does not run" where it is there but fails."""
    try:
        finished = command.run([name, *arguments], timeout_s=_VERSION_TIMEOUT_S)
    except ToolError:
        return "does not run"
    said = f"{finished.text}\n{finished.last_words}"
    number = re.search(r"\d+\.\d+[\w.]*", said)
    return number[0] if number else "installed"


def _installer(program: _Program) -> str:
    if platform.system() == "Darwin":
        return f"brew install {program.brew}"
    return f"apt-get install {program.apt}"


def _room(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{folder}, {free / 2**30:.1f} GiB free"
    if not os.access(existing, os.W_OK):
        return f"{text}; cannot be written: set MNEDGE_CACHE to another folder"
    return text if free > _ROOM_BYTES else f"{text}; little room: set MNEDGE_CACHE to another disk"
