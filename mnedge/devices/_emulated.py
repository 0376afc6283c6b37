"""Generated C, built with a board's compiler and run under its emulator.

Counts are executed instructions, not cycles. The linker script enforces the memory of the part that the board
stands in for; the stack is painted and measured.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import command
from mnedge.devices._boards import board
from mnedge.devices._layer_marks import counts_by_layer, mark_sources
from mnedge.errors import BudgetError, StorageError, ToolError
from mnedge.runtimes.compiled_c import Header, read_header

if TYPE_CHECKING:
    from mnedge.untyped import AnyArray

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
