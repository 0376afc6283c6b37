"""Emulated boards: their memory, and the compiler and emulator of their cores."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from mnedge.errors import InputError

ADVICE = "on Debian: apt-get install qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"


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
