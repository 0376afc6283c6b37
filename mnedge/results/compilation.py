"""Result of `compile`: C sources, a TFLM project or a model for an Ethos-U, and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from mnedge.choices import Prefer
from mnedge.results import shown, stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A block of the arena.

    Attributes:
        name: The tensor, or what else lives there.
        offset: First byte.
        bytes: Size.
        first: First step that it lives in.
        last: Last step that it lives in.
        kind: "value", "ring" of rows, "scratch", "kept" from one call to the next, or "state" of a picture under way.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    kind: str = "value"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of the generated C.

    Attributes:
        index: Its place, from 0.
        op: Kind of the op.
        inputs: Shapes of the inputs, height, width, channels.
        output: Shape of the output, likewise.
        macs: Multiply-adds.
        kernel: The kernel's source.
        segment: Segment of the memory plan that it runs in.
        tensor: The tensor that it makes, by the name that the model has for it, or one derived from that.
        instructions: Executed by it in one run on the emulated board; None where it did not run.
    """

    index: int
    op: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    macs: int
    kernel: str
    segment: int
    tensor: str = ""
    instructions: int | None = None

    @property
    def instructions_a_mac(self) -> float | None:
        """Instructions a multiply-add; None where nothing was counted or multiplied."""
        return self.instructions / self.macs if self.instructions is not None and self.macs else None


def slowest_first(layers: Iterable[Layer]) -> list[Layer]:
    """Layers by what they take, the largest first; in their own order where nothing was counted."""
    return sorted(layers, key=lambda layer: -(layer.instructions or 0))


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A compiled model; its JSON is manifest.json of the folder.

    Attributes:
        name: Prefix of the C names, or stem of the file.
        target: Target that it was compiled for.
        arena_bytes: Working memory of the activations.
        flash_bytes: Code and constants; None where no cross compiler is here to tell.
    """

    FILE: ClassVar[str] = "manifest.json of a compiled model"

    name: str
    target: str
    arena_bytes: int
    flash_bytes: int | None

    def figures(self) -> tuple[tuple[str, int | None, str], ...]:
        """Table of the memory: rows of name, value and unit."""
        return (("arena", self.arena_bytes, "bytes"), ("flash", self.flash_bytes, "bytes"))

    def _repr_html_(self) -> str:
        return shown.table(f"{self.name} for {self.target}", ("figure", "value", "unit"), self.figures())


@dataclass(frozen=True, kw_only=True)
class CSources(Compilation):
    """C sources that need no interpreter, no allocation and no library.

    Attributes:
        arena_bytes: Working memory that the caller gives, with all scratch; the input too where `input_in_arena`.
        flash_bytes: Code and constants of NAME.c at -O2; None without arm-none-eabi-gcc.
        stack_bytes: Deepest stack under NAME_run on the emulated board; None where it did not run.
        instructions: Executed by one NAME_run on the emulated board; None where it did not run.
        layers: One row per layer.
        code_bytes: The code of `flash_bytes`.
        input_bytes: The input, which the caller keeps outside the arena unless `input_in_arena`.
        output_bytes: The output, which the caller keeps.
        ram_bytes: Arena, output, and the input where it is outside.
        input_in_arena: Whether the input lies in the arena and is overwritten.
        streamed: Whether the input may come row by row.
        kernels: Kernel set.
        optimise: Preference of the plan.
        macs: Multiply-adds of one run.
        model_sha256: Checksum of the .tflite.
        vectors: Test vectors from LiteRT's reference kernels, or why there are none.
        verified: Device on which the C was run against the test vectors; "" for none.
        pruned_channels: Channels that are constant whatever the input is, and were folded into biases.
        plan: The memory plan as lines of text, time down, addresses to the right.
        blocks: Tensors in the arena, and the segments between which each lives, both included.
        metadata: Metadata of the model, by name: its pixels, the anchors of a detector.
    """

    stack_bytes: int | None
    instructions: int | None
    layers: tuple[Layer, ...]
    code_bytes: int | None = None
    input_bytes: int
    output_bytes: int
    ram_bytes: int
    input_in_arena: bool
    streamed: bool
    kernels: str
    optimise: Prefer
    macs: int
    model_sha256: str
    vectors: str
    verified: str = ""
    pruned_channels: int
    plan: tuple[str, ...]
    blocks: tuple[Block, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def figures(self) -> tuple[tuple[str, int | None, str], ...]:
        """Table of the memory: rows of name, value and unit."""
        return (
            ("arena", self.arena_bytes, "bytes"),
            ("ram", self.ram_bytes, "bytes with input and output"),
            ("flash", self.flash_bytes, "bytes"),
            ("stack", self.stack_bytes, "bytes"),
            ("instructions", self.instructions, "an inference, emulated"),
        )


@dataclass(frozen=True, kw_only=True)
class Firmware(Compilation):
    """Several models as one library of C that share kernels.

    Attributes:
        arena_bytes: Working memory where models run in turn: one arena for all, and those that keep a state their own.
        flash_bytes: Code and constants of all at -O2; None without a cross compiler.
        code_bytes: The code of `flash_bytes`.
        models: Each model by itself; their code holds the kernels once more.
    """

    code_bytes: int | None
    models: tuple[CSources, ...]


@dataclass(frozen=True, kw_only=True)
class TflmProject(Compilation):
    """Content of a TensorFlow Lite Micro project: the model as an array, its ops and the arena.

    Attributes:
        arena_bytes: Arena to give the interpreter, margin included.
        flash_bytes: The model array; the interpreter and its kernels come on top.
        format: "tflm".
        arena_bytes_measured: Arena that the 64-bit interpreter needs.
        margin_bytes: Margin for the buffers of CMSIS-NN.
        ops: Kinds of the ops, sorted.
        model_sha256: Checksum of the .tflite.
    """

    format: Literal["tflm"] = "tflm"
    arena_bytes_measured: int
    margin_bytes: int
    ops: tuple[str, ...]
    model_sha256: str


@dataclass(frozen=True, kw_only=True)
class VelaModel(Compilation):
    """A .tflite for an Arm Ethos-U; the figures are Vela's estimates.

    Attributes:
        arena_bytes: SRAM.
        flash_bytes: Flash, or DRAM where no flash holds the model.
        format: "vela".
        accelerator: Vela's name of the NPU.
        system_config: Vela's system configuration.
        memory_mode: Vela's memory mode.
        optimise: Vela's strategy, Size or Performance.
        file: Name of the compiled .tflite.
        file_bytes: Size of the compiled .tflite.
        sram_bytes: SRAM.
        dram_bytes: DRAM.
        on_chip_flash_bytes: Flash on the chip.
        off_chip_flash_bytes: Flash beside the chip.
        cycles: Cycles of an inference.
        cycles_npu: Cycles of the NPU.
        inference_ms: Latency, ms.
        macs: Multiply-adds.
        summary: Name of Vela's CSV.
        npu_operators: Operators that run on the NPU.
        cpu_operators: Operators that stay on the CPU.
        cpu_ops: The ops that stay on the CPU by their TFLite names, each with its tensor.
        model_sha256: Checksum of the .tflite.
    """

    format: Literal["vela"] = "vela"
    accelerator: str
    system_config: str
    memory_mode: str
    optimise: str
    file: str
    file_bytes: int
    sram_bytes: int
    dram_bytes: int
    on_chip_flash_bytes: int
    off_chip_flash_bytes: int
    cycles: int
    cycles_npu: int
    inference_ms: float
    macs: int
    summary: str
    npu_operators: int
    cpu_operators: int
    cpu_ops: tuple[str, ...]
    model_sha256: str


@dataclass(frozen=True)
class Compiled:
    """The part of a compiled model's manifest.json that others read, whatever its form.

    Attributes:
        name: Prefix of the C names, or stem of the file.
        arena_bytes: Memory of the activations.
        ram_bytes: Arena, output, and the input where it is outside; None for forms that do not tell.
        flash_bytes: Code and constants; None where it was not compiled.
        stack_bytes: Deepest stack; None likewise.
        instructions: Executed by one inference; None where no board ran it.
        inference_ms: Vela's estimate, ms; None for forms without one.
        blocks: Tensors in the arena; empty for an NPU.
        metadata: Metadata of the model, by name: its pixels, the anchors of a detector.
    """

    FILE: ClassVar[str] = Compilation.FILE

    name: str = ""
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    stack_bytes: int | None = None
    instructions: int | None = None
    inference_ms: float | None = None
    blocks: tuple[Block, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_compiled(folder: Path) -> Compiled:
    """Reads the manifest.json of a folder that `compile` wrote.

    Raises:
        InputError: It is missing or damaged.
    """
    return stored.read(folder / "manifest.json", Compiled)
