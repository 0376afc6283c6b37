"""Emulated Cortex-M boards: generated C is built with arm-none-eabi-gcc and run under qemu-system-arm.

Counts are executed instructions, not cycles. The linker script enforces the memory of the part that the board
stands in for; the stack is painted and measured.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import command, registry, targets
from mnedge.devices._device import ModelInfo
from mnedge.devices._layer_marks import counts_by_layer, mark_sources
from mnedge.errors import BudgetError, InputError, StorageError, ToolError
from mnedge.runtimes.compiled_c import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnedge.untyped import AnyArray

ADVICE = "on Debian: apt-get install qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"
_STACK_BYTES = 8 << 10
# Before and after each of arena, input, output and stack, in the order in which harness.c lists them.
_GUARD_BYTES = 64
_GUARDED = ("arena", "input", "output", "stack")
_FIRST_GUARD = 100
# What the board says where it cannot write its outputs; below so much room it is the disk's doing.
_UNWRITTEN = 92
_NO_ROOM_BYTES = 1 << 16
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Tools:
    """Compiler and emulator of some cores.

    Attributes:
        compiler: Program name of the compiler.
        emulator: Program name of the emulator.
        startup: File of the start-up code.
        options: Options of the emulator besides its machine and program.
        specs: Options that link the C library.
        advice: Advice on getting the tools.
    """

    compiler: str
    emulator: str
    startup: str
    options: tuple[str, ...]
    specs: tuple[str, ...]
    advice: str


ARM = Tools(
    "arm-none-eabi-gcc", "qemu-system-arm", "startup.c", (), ("--specs=nano.specs", "--specs=nosys.specs"), ADVICE
)
RISCV = Tools(
    "riscv64-unknown-elf-gcc",
    "qemu-system-riscv32",
    "startup_riscv.c",
    ("-bios", "none"),
    ("--specs=picolibc.specs",),
    "on Debian: apt-get install qemu-system-misc gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
)


@dataclass(frozen=True)
class Board:
    """An emulated board.

    Attributes:
        machine: QEMU's name of it.
        flags: Compiler flags of its core.
        const: Origin and bytes of the region for constants.
        ram: Origin and bytes of the region for data.
        code_bytes: Bytes of the region for code.
        code_origin: First byte of that region.
        tools: Compiler and emulator of the board.
    """

    machine: str
    flags: tuple[str, ...]
    const: tuple[int, int]
    ram: tuple[int, int]
    code_bytes: int
    code_origin: int = 0
    tools: Tools = ARM


def _flags(core: str, fpu: str) -> tuple[str, ...]:
    return (f"-mcpu={core}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={fpu}")


BOARDS = {
    # No board has an M0+ with memory to speak of; an M3 executes the same instructions.
    "cortex-m0plus": Board(
        "mps2-an385", ("-mcpu=cortex-m0plus", "-mthumb"), (0x21000000, 16 << 20), (0x20000000, 4 << 20), 4 << 20
    ),
    "cortex-m3": Board(
        "mps2-an385", ("-mcpu=cortex-m3", "-mthumb"), (0x21000000, 16 << 20), (0x20000000, 4 << 20), 4 << 20
    ),
    "cortex-m4": Board(
        "mps2-an386", _flags("cortex-m4", "fpv4-sp-d16"), (0x21000000, 16 << 20), (0x20000000, 4 << 20), 4 << 20
    ),
    "cortex-m7": Board(
        "mps2-an500", _flags("cortex-m7", "fpv5-d16"), (0x60000000, 16 << 20), (0x20000000, 4 << 20), 4 << 20
    ),
    "cortex-m33": Board(
        "mps2-an505",
        _flags("cortex-m33", "fpv5-sp-d16"),
        (0x80000000, 16 << 20),
        (0x38000000, 4 << 20),
        4 << 20,
        code_origin=0x10000000,
    ),
    "rv32imc": Board(
        "virt",
        ("-march=rv32imc", "-mabi=ilp32"),
        (0x80400000, 59 << 20),
        (0x84000000, 60 << 20),
        4 << 20,
        code_origin=0x80000000,
        tools=RISCV,
    ),
    "cortex-m55": Board(
        "mps3-an547", _flags("cortex-m55", "auto"), (0x28000000, 8 << 20), (0x21000000, 4 << 20), 512 << 10
    ),
}
ALIASES = {
    "esp32-c3": "rv32imc",
    "m0plus": "cortex-m0plus",
    "m3": "cortex-m3",
    "m33": "cortex-m33",
    "m4": "cortex-m4",
    "m55": "cortex-m55",
    "m7": "cortex-m7",
    "rv32": "rv32imc",
}


@dataclass(frozen=True)
class Run:
    """Result of a run on a board.

    Attributes:
        outputs: In the outputs' one dtype, shape (images, output elements); bytes, as int8, where they differ.
        instructions: Executed by one call of NAME_run, the mean of all; 0 where no host compiler built the counter.
        stack_bytes: Deepest stack below the call of NAME_run.
        functions: Instructions a call by C function, largest first.
        layers: Instructions a call by layer, where they were asked for; () otherwise.
    """

    outputs: AnyArray
    instructions: int
    stack_bytes: int
    functions: dict[str, int]
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Size:
    """Flash that NAME.c takes, from the object file: code, and constants."""

    code_bytes: int
    constant_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes


def board(core: str) -> Board:
    """The board of a core, e.g. "cortex-m4" or "m4".

    Raises:
        InputError: No such board.
    """
    name = ALIASES.get(core, core)
    if name not in BOARDS:
        raise InputError.unknown("emulated core", core, BOARDS)
    return BOARDS[name]


def missing_tools(core: str = "cortex-m4") -> list[str]:
    """The programs that a core needs and that are not on PATH."""
    tools = board(core).tools
    return [tool for tool in (tools.compiler, tools.emulator) if shutil.which(tool) is None]


def measure_size(source: Path, core: str) -> Size:
    """Compiles one C file with -O2 and reads the sizes of its sections.

    Raises:
        ToolError: The compiler is missing or refuses the file.
    """
    tools = board(core).tools
    compiler = command.find(tools.compiler, tools.advice)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.o"
        command.run([compiler, *board(core).flags, *tools.specs, "-std=c99", "-O2", "-c", source, "-o", target])
        listing = command.run([compiler.replace("gcc", "size"), "-A", target]).text
    code = constants = 0
    for line in listing.splitlines():
        match = re.match(r"(\.\S+)\s+(\d+)", line)
        if match and match[1].startswith(".text"):
            code += int(match[2])
        elif match and match[1].startswith((".rodata", ".srodata", ".data", ".sdata")):
            constants += int(match[2])
    return Size(code, constants)


def run_inputs(directory: Path, inputs: AnyArray, *, core: str, ram_bytes: int = 0, layers: int = 0) -> Run:
    """Builds the C sources in a folder, runs them on every input and collects the outputs.

    Args:
        directory: Folder that `mnedge compile` wrote.
        inputs: int8 or uint8 steps, shape (images, …), as many bytes an image as the model takes.
        core: One of `BOARDS`.
        ram_bytes: RAM of the part that is stood in for; 0 for what the board has.
        layers: Number of layers to count one by one; `instructions` then holds the marks between them too.

    Raises:
        ToolError: A tool is missing, the sources do not compile, the program crashed, wrote outside the arena, the
            input, the output or the stack, or came to the end of the stack.
        BudgetError: Arena, input, output and stack do not fit the RAM.
    """
    tools = board(core).tools
    program = command.find(tools.emulator, tools.advice)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = _build(directory, folder, core, ram_bytes, layers)
        (folder / "inputs.bin").write_bytes(np.ascontiguousarray(inputs).tobytes())
        argv: list[str | Path] = [
            program,
            "-M",
            board(core).machine,
            "-nographic",
            "-serial",
            "null",
            "-monitor",
            "none",
        ]
        argv += [*tools.options, "-semihosting-config", "enable=on,target=native", "-kernel", folder / "model.elf"]
        plugin = _plugin(folder)
        if plugin is not None:
            argv += ["-plugin", plugin, "-d", "plugin"]
        finished = command.run(argv, cwd=folder, timeout_s=_TIMEOUT_S, check=False)
        if finished.returncode != 0:
            command.check_room(finished)
            if finished.returncode == _UNWRITTEN and shutil.disk_usage(folder).free < _NO_ROOM_BYTES:
                raise StorageError(
                    f"the emulated board's outputs cannot be written: {folder.parent} is full; free some space there, "
                    "or set TMPDIR to a folder with room"
                )
            raise ToolError(_why(finished, core))
        raw = (folder / "outputs.bin").read_bytes()
    count = len(inputs)
    outputs = np.frombuffer(raw[:-4], header.output_dtype).reshape(count, -1)
    stack_bytes = int.from_bytes(raw[-4:], "little")
    log = (finished.stderr + finished.stdout).decode(errors="replace")
    functions = _functions(log, count)
    by_layer = counts_by_layer(log, layers, count)
    return Run(outputs, sum(functions.values()), stack_bytes, functions, by_layer)


def _why(finished: command.Finished, core: str) -> str:
    reasons = {
        90: "its files cannot be opened",
        91: "NAME_run refused its arguments",
        _UNWRITTEN: "the outputs cannot be written",
        93: f"the stack came to its end at {_STACK_BYTES:,} bytes; how much it needs is unknown",
        99: "it faulted",
    }
    for number, what in enumerate(_GUARDED):
        for place, side in enumerate(("before", "after")):
            reasons[_FIRST_GUARD + 2 * number + place] = f"NAME_run wrote {side} the {what}; no output of it counts"
    reason = reasons.get(finished.returncode, f"status {finished.returncode}: {finished.last_words}")
    return f"the program on the emulated {core} ended early: {reason}"


def _build(directory: Path, folder: Path, core: str, ram_bytes: int, layers: int) -> Header:
    chosen = board(core)
    compiler = command.find(chosen.tools.compiler, chosen.tools.advice)
    header = read_header(directory)
    output_type = header.output_dtype
    source = directory / f"{header.name}.c"
    const_origin, const_bytes = chosen.const
    ram_origin, most = chosen.ram
    # The RAM of a part is for the model alone, not for the guards.
    guards = 2 * len(_GUARDED) * _GUARD_BYTES
    usable = min(ram_bytes or most, most - guards)
    texts = {
        "CODE_ORIGIN": hex(chosen.code_origin), "CODE_LENGTH": str(chosen.code_bytes),
        "CONST_ORIGIN": hex(const_origin), "CONST_LENGTH": str(const_bytes),
        "RAM_ORIGIN": hex(ram_origin), "RAM_LENGTH": str(usable + guards),
        "STACK_BYTES": str(_STACK_BYTES), "GUARD_BYTES": str(_GUARD_BYTES),
        "NAME": header.name, "UPPER": header.name.upper(),
        "INPUT_TYPE": f"{header.input_dtype}_t", "OUTPUT_TYPE": f"{output_type}_t",
        "OUTPUT_LENGTH": str(sum(header.output_bytes) // np.dtype(output_type).itemsize),
        "RESET": f"{header.name}_reset(arena.data)" if header.has_state else "0",
    }  # fmt: skip
    sources = files("mnedge.devices").joinpath("board")
    for stem in (chosen.tools.startup, "semihosting.c", "harness.c", "board.ld"):
        text = sources.joinpath(stem).read_text()
        (folder / stem).write_text(re.sub(r"@(\w+)@", lambda match: texts[match[1]], text))
    argv: list[str | Path] = [
        compiler,
        *chosen.flags,
        "-O2",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wl,--gc-sections",
    ]
    argv += ["-nostartfiles", *chosen.tools.specs, "-I", directory, folder / chosen.tools.startup]
    for name, text in mark_sources(layers).items() if layers else ():
        (folder / name).write_text(text)
        argv += [folder / name] if name.endswith(".c") else ["-include", folder / name]
    argv += [
        folder / "semihosting.c",
        folder / "harness.c",
        source,
        "-T",
        folder / "board.ld",
        "-o",
        folder / "model.elf",
    ]
    finished = command.run(argv, check=False)
    command.check_room(finished)
    if finished.returncode != 0:
        overflow = re.search(r"region `(\w+)' overflowed by (\d+) bytes", finished.last_words)
        if overflow:
            limits = {"RAM": usable, "CONST": const_bytes, "CODE": chosen.code_bytes}
            limit = limits[overflow[1]]
            advice = "choose a smaller variant, or another plan with --prefer ram or --budget"
            raise BudgetError.exceeded(f"{core}: region {overflow[1]}", limit + int(overflow[2]), limit, advice)
        raise ToolError(f"{chosen.tools.compiler} failed on {source}: {finished.last_words}")
    return header


def _plugin(folder: Path) -> Path | None:
    """Builds the instruction counter; None without a host compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return None
    source, target = folder / "icount.c", folder / "libicount.so"
    source.write_text(files("mnedge.devices").joinpath("board", "icount.c").read_text())
    finished = command.run([compiler, "-O2", "-shared", "-fPIC", "-o", target, source], check=False)
    command.check_room(finished)
    return target if finished.returncode == 0 else None


def _functions(log: str, count: int) -> dict[str, int]:
    found = [(int(match[1]) // max(count, 1), match[2]) for match in re.finditer(r"icount (\d+) (\S+)", log)]
    return {name: number for number, name in sorted(found, reverse=True)}


@dataclass(frozen=True)
class QemuDevice:
    """An emulated board.

    Attributes:
        name: Its URI, e.g. "qemu://cortex-m4".
        core: The core.
    """

    name: str
    core: str

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[_QemuModel]:
        """Takes a folder that `mnedge compile` wrote; it is built when it runs.

        Raises:
            InputError: The folder holds no generated model.
            ToolError: The compiler or the emulator is missing.
        """
        del runtime
        if not path.is_dir():
            raise InputError(
                f"{path} is no folder of C sources, which is what runs on {self.name}; `mnedge compile` it"
            )
        tools = board(self.core).tools
        for program in (tools.emulator, tools.compiler):
            command.find(program, tools.advice)
        yield _QemuModel(path, self.core)

    def interrupt(self) -> None:
        """Nothing to do: a run ends by itself and leaves nothing behind."""


class _QemuModel:
    def __init__(self, directory: Path, core: str) -> None:
        self._header = header = read_header(directory)
        self._directory, self._core = directory, core
        version = f"generated C on {board(core).machine} ({board(core).tools.emulator})"
        first, *others = header.inputs
        self.info = ModelInfo(version, None, first, header.outputs, emulated=True, others=tuple(others))

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs all images in one program and gives all raw outputs of each, in order.

        Afterwards the version in `info` also tells the instructions of a call and the deepest stack.
        """
        return self.run_several(((image,) for image in images), count)

    def run_several(self, samples: Iterable[tuple[AnyArray, ...]], count: int) -> Iterator[list[AnyArray]]:
        """The same with a tensor an input."""
        del count
        steps = [np.concatenate([tensor.reshape(-1).view(np.int8) for tensor in sample]) for sample in samples]
        finished = run_inputs(
            self._directory, np.stack(steps), core=self._core, ram_bytes=_typical_ram_bytes(self._core)
        )
        counted = f"{finished.instructions:,} instructions, stack {finished.stack_bytes:,} bytes"
        self.info = replace(self.info, version=f"{self.info.version}, {counted}")
        for row in finished.outputs:
            yield self._header.split(row)


def _typical_ram_bytes(core: str) -> int:
    """Returns the RAM of a target; 0 for an unknown name."""
    return targets.get(core).ram_bytes if core in registry.names("mnedge.targets") else 0


def connect(uri: str) -> QemuDevice:
    """Opens an emulated board; the URI is qemu:// and one of `BOARDS` or `ALIASES`, e.g. qemu://cortex-m4.

    Raises:
        InputError: No such core.
    """
    core = uri.partition("://")[2]
    board(core)
    return QemuDevice(uri, ALIASES.get(core, core))
