"""Program and plan to C99: NAME.h and NAME.c."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.picture import draw
from mnedge.codegen.program import CallSite, Layer, int_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.codegen.plan import Plan
    from mnedge.codegen.program import KernelSet, Program, Value
    from mnedge.codegen.schedule import Segment


@dataclass(frozen=True)
class Unit:
    """Everything that one NAME.c is written from."""

    name: str
    program: Program
    plan: Plan
    kernels: KernelSet
    description: str

    def symbol(self, index: int) -> str:
        """Name of a layer's descriptor."""
        return f"{self.name}_layer{index:02}"

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Inputs that the caller feeds, in the order of their bytes."""
        return tuple(self.program.values[name] for name in self.program.inputs)

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(value.size_bytes for value in self.inputs)

    def input_offset(self, name: str) -> int:
        """First byte of a program input in the caller's input."""
        before = self.program.inputs[: self.program.inputs.index(name)]
        return sum(self.program.values[entry].size_bytes for entry in before)

    def output_offset(self, name: str) -> int:
        """First byte of a program output in the caller's output."""
        before = self.program.outputs[: self.program.outputs.index(name)]
        return sum(self.program.values[entry].size_bytes for entry in before)


def kernel_source(stem: str) -> str:
    """The C text of a kernel file."""
    return files("mnedge.codegen").joinpath("kernels", f"{stem}.c").read_text()


def _shared(stem: str) -> str:
    """A kernel's C text, which models in one translation unit have once; the checksum tells kernels of others apart."""
    text = kernel_source(stem)
    mark = f"MNEDGE_{stem.upper()}"
    version = f"0x{zlib.crc32(text.encode()):08X}u"
    return (
        f"#ifndef {mark}\n#define {mark} {version}\n{text}#elif {mark} != {version}\n"
        f'#error "another version of mnedge made {stem} above: compile all models with one"\n#endif\n'
    )


def kernel_stems(unit: Unit) -> list[str]:
    """The kernel files a program needs, each once, in the order in which C needs them."""
    stems: dict[str, None] = {}
    for layer in unit.program.layers:
        stems.update(dict.fromkeys(layer.kernel.sources(unit.kernels)))
    return list(stems)


def source_text(unit: Unit) -> str:
    """NAME.c."""
    parts = [
        f"/* {unit.description}\n *\n{draw(unit.program, unit.plan, comment=True)} */\n",
        f'#include "{unit.name}.h"\n',
        f"#include <stddef.h>\n\n{_MACROS}",
    ]
    parts += [_shared(stem) for stem in kernel_stems(unit)]
    for index, layer in enumerate(unit.program.layers):
        constants = layer.kernel.constants(unit.symbol(index), unit.kernels)
        if constants:
            parts.append(f"/* layer {index}: {_title(unit, layer)} */\n{constants}\n")
    parts.append(_run_struct(unit))
    if any(layer.kernel.form == "window" for layer in unit.program.layers):
        parts.append(_shared("window"))
    chained = [part for part in unit.plan.segments if _is_chained(unit, part)]
    if chained:
        parts.append(_declarations(unit, chained))
        parts += [_stage(unit, part, index) for part in chained for index in range(part.first, part.last + 1)]
    parts.append(_entry_points(unit))
    return "\n".join(parts)


_MACROS = """#if defined(KERNEL)
#elif defined(__GNUC__)
#define KERNEL static __attribute__((noinline, unused))
#define INLINE static inline __attribute__((always_inline, unused))
#else
#define KERNEL static
#define INLINE static inline
#endif
#ifndef MNEDGE_LAYER /* define it to time layers: it comes before each part of one */
#define MNEDGE_LAYER(model, index)
#endif
"""


def _title(unit: Unit, layer: Layer) -> str:
    shapes = " and ".join("x".join(map(str, unit.program.values[name].shape[1:])) for name in layer.inputs)
    return f"{layer.op}, {shapes} to {'x'.join(map(str, layer.kernel.output.shape[1:]))}"


def _is_chained(unit: Unit, part: Segment) -> bool:
    return not part.is_single or (unit.plan.streamed and part.first == 0)


def _run_struct(unit: Unit) -> str:
    longest = max((part.last - part.first + 2 for part in unit.plan.segments), default=2)
    return (
        f"struct {unit.name}_state {{\n    const int8_t *input;\n    int8_t *output;\n    int8_t *arena;\n"
        f"    int32_t made[{longest}]; /* rows made so far: of the input, then by each layer of the segment */\n}};\n"
    )


def _base(unit: Unit, name: str) -> str:
    """The C expression of a value's first byte."""
    if name in unit.plan.offsets:
        return f"run->arena + {unit.plan.offsets[name]}"
    if name in unit.program.inputs:
        offset = unit.input_offset(name)
        return f"run->input + {offset}" if offset else "run->input"
    return f"run->output + {unit.output_offset(name)}"


def _row(unit: Unit, part: Segment, name: str, row: str) -> str:
    """The C expression of a row's first byte."""
    value = unit.program.values[name]
    base = _base(unit, name)
    if value.rows == 1:
        return base
    rows = part.rings.get(name)
    if rows == 1:
        return base
    index = row if rows is None else f"{row} % {rows}"
    return f"{base} + {index} * {value.row_bytes}"


def _scratch(unit: Unit, number: int) -> str:
    offset = unit.plan.offsets.get(f"scratch {number}")
    return "NULL" if offset is None else f"run->arena + {offset}"


def _window(unit: Unit, part: Segment, layer: Layer) -> str:
    """Two lines of C that point `rows` at the input rows under output row `row`."""
    name, kernel = layer.inputs[0], layer.kernel
    window, seen = kernel.window, kernel.input  # type: ignore[attr-defined]
    ring = part.rings.get(name, seen.rows)
    first = f"row * {window.stride_rows} - {window.pad_top}"
    arguments = (
        f"{_base(unit, name)}, {first}, {window.rows}, {window.dilation_rows}, {seen.rows}, {seen.row_bytes}, {ring}"
    )
    return f"const int8_t *rows[{window.rows}];\n        window(rows, {arguments});\n        "


def _row_call(unit: Unit, part: Segment, number: int, index: int) -> str:
    """The C statements that make row `row` of a layer."""
    layer = unit.program.layers[index]
    kernel = layer.kernel
    before, inputs = "", []
    if kernel.form == "window":
        before, inputs = _window(unit, part, layer), ["rows"]
    else:
        for position, name in enumerate(layer.inputs):
            whole = kernel.takes_whole(position)
            inputs.append(_base(unit, name) if whole else _row(unit, part, name, "row"))
    output = _row(unit, part, layer.output, "row")
    site = CallSite(unit.symbol(index), tuple(inputs), output, _scratch(unit, number), str(kernel.output.columns))
    return before + kernel.call(site, unit.kernels)


def _single(unit: Unit, part: Segment, number: int) -> str:
    """The C statements of a layer on its own."""
    layer = unit.program.layers[part.first]
    kernel = layer.kernel
    title = f"    /* layer {part.first}: {_title(unit, layer)} */\n    MNEDGE_LAYER({unit.name}, {part.first})\n"
    if kernel.form == "window":
        body = _row_call(unit, part, number, part.first)
        return f"{title}    for (int32_t row = 0; row < {kernel.output.rows}; row++) {{\n        {body}\n    }}\n"
    inputs = tuple(_base(unit, name) for name in layer.inputs)
    pixels = str(kernel.output.rows * kernel.output.columns)
    site = CallSite(unit.symbol(part.first), inputs, _base(unit, layer.output), _scratch(unit, number), pixels)
    return f"{title}    {kernel.call(site, unit.kernels)}\n"


def _declarations(unit: Unit, chained: list[Segment]) -> str:
    indices = [index for part in chained for index in range(part.first, part.last + 1)]
    return "".join(f"static void {unit.name}_make{index:02}(struct {unit.name}_state *run);\n" for index in indices)


def _stage(unit: Unit, part: Segment, index: int) -> str:
    """The C function that makes every row of a layer whose input rows are there, and passes each one on."""
    layer = unit.program.layers[index]
    number = unit.plan.segments.index(part)
    rows, place = layer.kernel.output.rows, index - part.first + 1
    slots = {unit.program.layers[i].output: i - part.first + 1 for i in range(part.first, part.last + 1)}
    if unit.plan.streamed and part.first == 0:
        slots[unit.program.inputs[0]] = 0
    conditions = [f"run->made[{place}] < {rows}"]
    for name in dict.fromkeys(layer.inputs):
        if name not in slots:
            continue
        made = f"run->made[{slots[name]}]"
        if layer.kernel.form == "window":
            conditions.append(f"window_is_there({_there(unit, layer, place)}, {made})")
        else:
            conditions.append(f"{made} > run->made[{place}]")
    next_layers = [i for i in range(part.first, part.last + 1) if layer.output in unit.program.layers[i].inputs]
    passes = "".join(f"        {unit.name}_make{i:02}(run);\n" for i in next_layers)
    return (
        f"/* layer {index}: {_title(unit, layer)} */\n"
        f"static void {unit.name}_make{index:02}(struct {unit.name}_state *run)\n{{\n"
        f"    while ({' && '.join(conditions)}) {{\n"
        f"        const int32_t row = run->made[{place}];\n        MNEDGE_LAYER({unit.name}, {index})\n"
        f"        {_row_call(unit, part, number, index)}\n"
        f"        run->made[{place}] = row + 1;\n{passes}    }}\n}}\n"
    )


def _there(unit: Unit, layer: Layer, place: int) -> str:
    window = layer.kernel.window  # type: ignore[attr-defined]
    rows = unit.program.values[layer.inputs[0]].rows
    reach = (window.rows - 1) * window.dilation_rows + 1 - window.pad_top
    return f"run->made[{place}] * {window.stride_rows} + {reach}, {rows}"


def _no_rows_made(part: Segment) -> str:
    return f"    for (int32_t i = 0; i < {part.last - part.first + 2}; i++) {{\n        run->made[i] = 0;\n    }}\n"


def _segments(unit: Unit, start: int) -> str:
    """The C statements that run the segments from number `start` on."""
    lines = []
    for number, part in enumerate(unit.plan.segments):
        if number < start:
            continue
        if _is_chained(unit, part):
            last = unit.program.layers[part.last]
            lines.append(
                f"    /* layers {part.first} to {part.last} pass rows on, up to {_title(unit, last)} */\n"
                f"{_no_rows_made(part)}"
                f"    {unit.name}_make{part.first:02}(run);\n"
            )
        else:
            lines.append(_single(unit, part, number))
    return "".join(lines)


def _entry_points(unit: Unit) -> str:
    c_in, c_out = io_types(unit)
    name = unit.name
    alignment = _misaligned(unit)
    checks = (
        f"    if (input == NULL || output == NULL || arena == NULL || {alignment}) {{\n        return -1;\n    }}\n"
    )
    if not unit.plan.streamed:
        copy = ""
        if unit.plan.input_in_arena:
            copy = (
                f"    int8_t *const place = local.arena + {name.upper()}_INPUT_OFFSET;\n"
                f"    for (int32_t i = 0; i < {unit.input_bytes} && local.input != place; i++) {{\n"
                f"        place[i] = local.input[i];\n    }}\n"
            )
        return _reset(unit) + (
            f"int {name}_run(const {c_in} *input, {c_out} *output, void *arena)\n{{\n{checks}"
            f"    struct {name}_state local = {{(const int8_t *)input, (int8_t *)output, (int8_t *)arena, {{0}}}};\n"
            f"    struct {name}_state *const run = &local;\n{copy}{_segments(unit, 0)}    return 0;\n}}\n"
        )
    first = unit.plan.segments[0]
    (source,) = unit.inputs
    rows, row_bytes, ring = source.rows, source.row_bytes, first.rings[source.name]
    keep = "    run->input = (const int8_t *)input;\n"
    if ring > 1:
        keep = (
            f"    int8_t *const place = {_row(unit, first, source.name, 'run->made[0]')};\n"
            f"    for (int32_t i = 0; i < {row_bytes}; i++) {{\n"
            f"        place[i] = ((const int8_t *)input)[i];\n    }}\n"
        )
    readers = "".join(
        f"    {name}_make{i:02}(run);\n"
        for i in range(first.first, first.last + 1)
        if source.name in unit.program.layers[i].inputs
    )
    return _reset(unit) + (
        f"{_is_begun(unit)}\n"
        f"int {name}_begin({c_out} *output, void *arena)\n{{\n"
        f"    if (output == NULL || arena == NULL || {alignment}) {{\n        return -1;\n    }}\n"
        f"    struct {name}_state *const run = (struct {name}_state *)arena;\n"
        f"    run->output = (int8_t *)output;\n    run->arena = (int8_t *)arena;\n"
        f"{_no_rows_made(first)}    return 0;\n}}\n\n"
        f"int {name}_row(const {c_in} *input, void *arena)\n{{\n"
        f"    struct {name}_state *const run = (struct {name}_state *)arena;\n"
        f"    if (input == NULL || !{name}_is_begun(arena) || run->made[0] >= {rows}) {{\n        return -1;\n    }}\n"
        f"{keep}    run->made[0]++;\n{readers}    return 0;\n}}\n\n"
        f"int {name}_end(void *arena)\n{{\n"
        f"    struct {name}_state *const state = (struct {name}_state *)arena;\n"
        f"    if (!{name}_is_begun(arena) || state->made[0] != {rows}) {{\n        return -1;\n    }}\n"
        f"    /* The state gives way to what follows, which reads no input; `made` may reach past the arena. */\n"
        f"    struct {name}_state local = {{NULL, state->output, state->arena, {{0}}}};\n"
        f"    struct {name}_state *const run = &local;\n    (void)run;\n{_segments(unit, 1)}"
        f"    state->arena = NULL;\n    return 0;\n}}\n\n"
        f"int {name}_run(const {c_in} *input, {c_out} *output, void *arena)\n{{\n{checks}"
        f"    int status = {name}_begin(output, arena);\n"
        f"    for (int32_t row = 0; status == 0 && row < {rows}; row++) {{\n"
        f"        status = {name}_row(input + row * {row_bytes // source.item_bytes}, arena);\n    }}\n"
        f"    return status == 0 ? {name}_end(arena) : status;\n}}\n"
    )


def _reset(unit: Unit) -> str:
    """The C function that puts every state to what the model starts from; "" without states."""
    if not unit.program.states:
        return ""
    constants, lines = [], []
    for number, state in enumerate(unit.program.states):
        value = unit.program.values[state.name]
        pattern = state.initial.reshape(-1).view(np.int8)
        place = f"state + {unit.plan.offsets[state.name]}"
        source = str(int(pattern[0]))
        if (pattern != pattern[0]).any():
            constants.append(int_array("int8_t", f"{unit.name}_state{number:02}_initial", pattern))
            source = f"{unit.name}_state{number:02}_initial[i]"
        lines.append(
            f"    for (int32_t i = 0; i < {value.size_bytes}; i++) {{\n        ({place})[i] = {source};\n    }}\n"
        )
    return (
        f"{''.join(constants)}"
        f"int {unit.name}_reset(void *arena)\n{{\n    int8_t *const state = (int8_t *)arena;\n"
        f"    if (arena == NULL || {_misaligned(unit)}) {{\n        return -1;\n    }}\n"
        f"{''.join(lines)}    return 0;\n}}\n\n"
    )


def _misaligned(unit: Unit) -> str:
    """The C expression that tells whether an arena is not aligned."""
    return f"((uintptr_t)arena & ({unit.name.upper()}_ARENA_ALIGNMENT - 1u)) != 0"


def _is_begun(unit: Unit) -> str:
    """The C function that tells a picture under way from whatever else an arena may hold."""
    return (
        "/* Whether the arena holds the state of a picture under way, which points at the arena that it lies in.\n"
        " * What was there before NAME_begin does not, nor what the last layers and NAME_end leave. */\n"
        f"INLINE int {unit.name}_is_begun(const void *arena)\n{{\n"
        f"    if (arena == NULL || {_misaligned(unit)}) {{\n        return 0;\n    }}\n"
        f"    return ((const struct {unit.name}_state *)arena)->arena == (const int8_t *)arena;\n}}\n"
    )


def io_types(unit: Unit) -> tuple[str, str]:
    """The C element types of the inputs and the outputs; int8_t where they differ."""
    return _c_type(unit.inputs), _c_type([unit.program.values[name] for name in unit.program.outputs])


def _c_type(values: Sequence[Value]) -> str:
    dtypes = {value.dtype for value in values}
    return f"{dtypes.pop()}_t" if len(dtypes) == 1 else "int8_t"
