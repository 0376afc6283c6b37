"""int8 Graph to a folder of C sources: lower, plan, emit, and measure what the toolchain here can measure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mnedge import artifact, registry, targets
from mnedge.codegen import project, vectors
from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.header import header_text
from mnedge.codegen.lower import lower
from mnedge.codegen.narrow import with_narrow_weights
from mnedge.codegen.objects import objects_sources
from mnedge.codegen.picture import draw
from mnedge.codegen.plan import plan
from mnedge.codegen.prepare import prepare
from mnedge.codegen.prune import prune
from mnedge.data.detections import METADATA
from mnedge.data.origin import METADATA as ORIGIN
from mnedge.devices import _boards, _emulated
from mnedge.errors import BudgetError, InputError, UnsupportedError
from mnedge.formats.pixels import pixels_of_steps
from mnedge.pixels import CHANNELS, Pixels
from mnedge.pixels import METADATA as PIXELS
from mnedge.results import compilation
from mnedge.results.compilation import CSources, Layer
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.choices import Prefer
    from mnedge.codegen.plan import Block
    from mnedge.codegen.program import KernelSet
    from mnedge.graph.graph import Graph

_DEFAULT_CORE = "cortex-m3"
# Metadata of a model that go into the manifest: a detector's anchors, its pixels, how its data's splits were drawn.
_CARRIED = (METADATA, PIXELS, ORIGIN)
# fmt: off
_C_WORDS = frozenset((
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
    "class", "delete", "export", "explicit", "friend", "mutable", "namespace", "new", "operator", "private",
    "protected", "public", "template", "this", "throw", "try", "typename", "using", "virtual", "bool", "true",
    "false", "and", "or", "not", "xor", "asm", "main", "run",
))
# fmt: on


@dataclass(frozen=True)
class MemoryOptions:
    """Options of a compiled model's memory.

    Attributes:
        prefer: "ram": the smallest arena; "speed": layer by layer; "balanced": in between; "flash": as balanced, with
            weights of one byte also where two are faster.
        budget_bytes: Largest arena allowed, of each model; None for no limit.
        stream_input: Also make NAME_begin, NAME_row and NAME_end, which take the picture row by row.
        input_may_be_overwritten: Keep the input in the arena, where later values overwrite it.
    """

    prefer: Prefer = "balanced"
    budget_bytes: int | None = None
    stream_input: bool = False
    input_may_be_overwritten: bool = False

    def __post_init__(self) -> None:
        if self.stream_input and self.input_may_be_overwritten:
            raise InputError(
                "--stream-input and --input-may-be-overwritten exclude each other: a streamed input is never whole"
            )


_DEFAULTS = MemoryOptions()


def compile_c(
    graph: Graph,
    *,
    name: str,
    target: str,
    out: Path,
    options: MemoryOptions = _DEFAULTS,
    model_sha256: str = "",
    model: bytes = b"",
    measure: bool = True,
    force: bool = False,
) -> CSources:
    """Writes C sources for an int8 graph; the folder appears whole or not at all.

    Args:
        graph: The model, int8 or uint8 at its ends, int8 inside.
        name: Prefix of all C names, a C identifier.
        target: Name of a target with a kernel set, e.g. "cortex-m4".
        out: Folder to write.
        options: Options of its memory.
        model_sha256: Checksum of the .tflite, for the manifest.
        model: The .tflite itself, from which the test vectors are made; b"" leaves them out.
        measure: Build and run the code on the emulated board where the tools are there.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Raises:
        InputError: The name is no C identifier.
        UnsupportedError: The target takes no C, or an op has no kernel.
        BudgetError: No plan fits the budget.
        ToolError: The cross compiler or the emulator failed.
    """
    check_name(name)
    chosen = targets.get(target)
    if not chosen.kernels:
        raise UnsupportedError(f"target {target} takes no C sources; choose one of {', '.join(_with_kernels())}")
    kernels: KernelSet = chosen.kernels
    graph = prepare(graph)
    if len(graph.inputs) > 1 and (options.stream_input or options.input_may_be_overwritten):
        raise UnsupportedError(
            f"the model has {len(graph.inputs)} inputs; --stream-input and --input-may-be-overwritten are for models "
            "with one: leave them out"
        )
    program, pruned_channels = prune(lower(graph))
    if not program.layers:
        raise UnsupportedError("the model computes nothing: its output is its input")
    if options.prefer == "flash":
        program = with_narrow_weights(program)
    memory = plan(
        program,
        kernels=kernels,
        prefer=options.prefer,
        budget_bytes=options.budget_bytes,
        streamed=options.stream_input,
        input_in_arena=options.input_may_be_overwritten,
    )
    description = (
        f"{name}: int8 model{f' {model_sha256[:16]}' if model_sha256 else ''}, compiled by mnedge for {target}."
    )
    unit = Unit(name, program, memory, kernels, description)
    why_none = vectors.undefined(graph) if model else "no .tflite was given"
    found = vectors.none(why_none) if why_none else vectors.from_reference(model, unit)
    with artifact.folder(out, kind="compiled model", force=force) as folder:
        (folder / f"{name}.h").write_text(header_text(unit, _pixels_of(graph)))
        (folder / f"{name}.c").write_text(source_text(unit))
        beside = objects_sources(unit, graph)
        for file, text in beside.items():
            (folder / file).write_text(text)
        project.write(folder, unit, found, tuple(sorted(file for file in beside if file.endswith(".c"))))
        manifest = _manifest(unit, target, options.prefer, model_sha256, found.note)
        metadata = {name: data.decode() for name, data in graph.metadata.items() if name in _CARRIED}
        manifest = replace(manifest, pruned_channels=pruned_channels, metadata=metadata)
        if measure:
            manifest = _measured(folder, manifest, chosen.device, found)
        (folder / "manifest.json").write_text(to_json(manifest), encoding="utf-8")
    return manifest


def _with_kernels() -> list[str]:
    return [name for name in registry.names("mnedge.targets") if targets.get(name).kernels]


def _pixels_of(graph: Graph) -> Pixels | None:
    """What a picture is to the input, as the model says or its steps show; None where it is no picture."""
    source = graph.tensors[graph.inputs[0]]
    channels = source.shape[-1] if len(source.shape) == 4 else 0
    if PIXELS in graph.metadata:
        pixels = Pixels.from_bytes(graph.metadata[PIXELS])
        return pixels if CHANNELS[pixels.order] == channels else None
    return None if source.quantization is None else pixels_of_steps(source.quantization, source.dtype, channels)


def check_name(name: str) -> None:
    """Checks that a name can start C names.

    Raises:
        InputError: It cannot.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name, re.ASCII) or name in _C_WORDS:
        raise InputError(
            f"{name!r} cannot start C names: give --name a letter, then letters, digits and underscores, no C word"
        )


def _manifest(unit: Unit, target: str, prefer: Prefer, model_sha256: str, note: str) -> CSources:
    program, memory = unit.program, unit.plan
    input_bytes = unit.input_bytes
    output_bytes = sum(program.values[name].size_bytes for name in program.outputs)
    outside = 0 if memory.input_in_arena else input_bytes
    return CSources(
        name=unit.name,
        target=target,
        arena_bytes=memory.arena_bytes,
        flash_bytes=None,
        stack_bytes=None,
        instructions=None,
        layers=_layers(unit),
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        ram_bytes=memory.arena_bytes + output_bytes + (0 if memory.streamed else outside),
        input_in_arena=memory.input_in_arena,
        streamed=memory.streamed,
        kernels=unit.kernels,
        optimise=prefer,
        macs=sum(layer.kernel.macs() for layer in program.layers),
        model_sha256=model_sha256,
        vectors=note,
        pruned_channels=0,
        plan=tuple(draw(program, memory).splitlines()),
        blocks=tuple(_block(block, memory.offsets[block.name]) for block in memory.blocks),
    )


def _block(block: Block, offset: int) -> compilation.Block:
    return compilation.Block(block.name, offset, block.size_bytes, block.first, block.last, block.kind)


def _layers(unit: Unit) -> tuple[Layer, ...]:
    segments = {
        index: number for number, part in enumerate(unit.plan.segments) for index in range(part.first, part.last + 1)
    }
    return tuple(
        Layer(
            index=index,
            op=layer.op,
            inputs=tuple(unit.program.values[name].shape for name in layer.inputs),
            output=layer.kernel.output.shape,
            macs=layer.kernel.macs(),
            kernel=layer.kernel.sources(unit.kernels)[-1],
            segment=segments[index],
            tensor=layer.output,
        )
        for index, layer in enumerate(unit.program.layers)
    )


def core_of(target: str) -> str:
    """The emulated core that measures C for a target."""
    return _core(targets.get(target).device)


def _core(device: str) -> str:
    name = device.removeprefix("qemu://") if device else _DEFAULT_CORE
    return _boards.ALIASES.get(name, name)


def _measured(folder: Path, manifest: CSources, device: str, found: vectors.Vectors) -> CSources:
    """The manifest with what the tools here can tell."""
    core = _core(device)
    missing = _boards.missing_tools(core)
    if _boards.board(core).tools.compiler in missing:
        return manifest
    size = _emulated.measure_size(folder / f"{manifest.name}.c", core)
    manifest = replace(manifest, flash_bytes=size.flash_bytes, code_bytes=size.code_bytes)
    if missing:
        return manifest
    inputs = found.inputs if found.inputs is not None else vectors.noise(manifest.input_bytes, count=1)
    try:
        run = _emulated.run_inputs(folder, inputs, core=core)
    except BudgetError:
        if device:
            raise
        # No part is meant: the board that stands in for any core just has too little memory for this model.
        return manifest
    if found.outputs is not None and (run.outputs.view("int8") != found.outputs.view("int8")).any():
        raise AssertionError(f"{manifest.name} on the emulated {core} differs from its vectors ({found.note})")
    layers = manifest.layers
    counted = _emulated.run_inputs(folder, inputs[:1], core=core, layers=len(layers)).layers if run.instructions else ()
    if counted:
        layers = tuple(replace(row, instructions=found) for row, found in zip(layers, counted, strict=True))
    verified = f"emulated {core}, {len(inputs)} inputs" if found.outputs is not None else ""
    return replace(
        manifest,
        layers=layers,
        stack_bytes=run.stack_bytes,
        instructions=run.instructions or None,
        verified=verified,
    )
