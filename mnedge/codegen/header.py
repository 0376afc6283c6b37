"""NAME.h: the calls, and what a caller must know, as macros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.emit import Unit, io_types
from mnedge.codegen.plan import KEPT, kept_bytes
from mnedge.graph.graph import Quantization
from mnedge.runtimes._runtime import TensorSpec, takes_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.codegen.program import Value
    from mnedge.pixels import Pixels


def header_text(unit: Unit, pixels: Pixels | None = None) -> str:
    """NAME.h, safe to include from C++.

    Args:
        unit: The network.
        pixels: Pixels of its input; None if the input is no picture, or its range is not stated.
    """
    upper, name = unit.name.upper(), unit.name
    c_in, c_out = io_types(unit)
    outputs = [unit.program.values[entry] for entry in unit.program.outputs]
    macros: list[tuple[str, object, str]] = [
        ("ARENA_BYTES", unit.plan.arena_bytes, "working memory that the caller gives"),
        ("ARENA_ALIGNMENT", "8u", "of the arena's first byte"),
    ]
    if unit.program.states:
        text = "kept from one call to the next, from the offset on"
        macros.append(("STATE_BYTES", kept_bytes(unit.program), text))
        macros.append(("STATE_OFFSET", unit.plan.offsets[KEPT], "in the arena"))
    if len(unit.inputs) > 1:
        macros.append(("INPUT_BYTES", unit.input_bytes, "all inputs, one after another"))
    for number, value in enumerate(unit.inputs):
        prefix = numbered("INPUT", number, unit.inputs)
        macros += _value_macros(prefix, value)
        if len(unit.inputs) > 1:
            macros.append((f"{prefix}_OFFSET", unit.input_offset(value.name), "in the input"))
    if unit.plan.input_in_arena:
        offset = unit.plan.offsets[unit.program.inputs[0]]
        macros.append(("INPUT_OFFSET", offset, "of the input in the arena: a picture put there is not copied"))
    if len(outputs) > 1:
        total = sum(value.size_bytes for value in outputs)
        macros.append(("OUTPUT_BYTES", total, "all outputs, one after another"))
    for number, value in enumerate(outputs):
        prefix = numbered("OUTPUT", number, outputs)
        macros += _value_macros(prefix, value)
        if len(outputs) > 1:
            macros.append((f"{prefix}_OFFSET", unit.output_offset(unit.program.outputs[number]), "in the output"))
    picture = "" if pixels is None or len(unit.inputs) > 1 else _picture(unit.inputs[0], pixels)
    lines = "".join(f"#define {upper}_{key} {value} /* {text} */\n" for key, value, text in macros)
    return (
        f"/* {unit.description} */\n#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n{picture}{lines}\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{_prototypes(unit, name, c_in, c_out)}{_conversions(unit)}\n'
        f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
    )


def _picture(value: Value, pixels: Pixels) -> str:
    """The comment that says how an 8-bit picture becomes the input."""
    spec = TensorSpec(value.name, value.shape, value.dtype, Quantization.per_tensor(value.scale, value.zero_point))
    channels = {"GREY": "grey, one byte a pixel"}.get(pixels.order, f"{pixels.order}, interleaved")
    if takes_pixels(spec, pixels):
        step = "pixel - 128" if value.dtype == "int8" else "the pixel"
        how = f"Each step is {step}"
    else:
        how = "Each step is round(real / INPUT_SCALE) + INPUT_ZERO_POINT, within the limits of its type"
    return (
        f"/* The input is a picture of {value.rows} rows of {value.columns} pixels, from the top left, {channels}.\n"
        f" * {how}, where a pixel is 0..255;\n * the network was trained on real = {pixels.formula}. */\n"
    )


def numbered(word: str, number: int, values: Sequence[Value]) -> str:
    """`word`, with the number of one of several values behind it."""
    return word if len(values) == 1 else f"{word}{number}"


def _conversions(unit: Unit) -> str:
    """Inline functions from real values to steps of each input, and from steps of each output to real values."""
    text = ""
    name, upper = unit.name, unit.name.upper()
    for number, value in enumerate(unit.inputs):
        limits = np.iinfo(value.dtype)
        low, high = int(limits.min), int(limits.max)
        # Past every step, whatever the zero point.
        far = f"{2.0 * (high - low + 1):.1f}f"
        macro = f"{upper}_{numbered('INPUT', number, unit.inputs)}"
        text += (
            "\n/* The step of a real value, half away from zero, as TFLite's QUANTIZE rounds; within the limits. */\n"
            f"static inline {value.dtype}_t {numbered(f'{name}_quantize', number, unit.inputs)}(float real)\n{{\n"
            f"    const float steps = real / {macro}_SCALE;\n"
            f"    if (!(steps > -{far})) {{\n        return {low};\n    }}\n"
            f"    if (steps >= {far}) {{\n        return {high};\n    }}\n"
            "    int32_t nearest = (int32_t)steps;\n"
            "    const float rest = steps - (float)nearest;\n"
            f"    nearest += {macro}_ZERO_POINT + (rest >= 0.5f) - (rest <= -0.5f);\n"
            f"    return ({value.dtype}_t)(nearest < {low} ? {low} : nearest > {high} ? {high} : nearest);\n}}\n"
        )
    outputs = [unit.program.values[entry] for entry in unit.program.outputs]
    for number, value in enumerate(outputs):
        if value.dtype not in ("int8", "uint8", "int16"):
            continue
        macro = f"{upper}_{numbered('OUTPUT', number, outputs)}"
        text += (
            "\n/* The real value of a step. */\n"
            f"static inline float {numbered(f'{name}_dequantize', number, outputs)}({value.dtype}_t step)\n{{\n"
            f"    return {macro}_SCALE * (float)(step - {macro}_ZERO_POINT);\n}}\n"
        )
    return text


def _value_macros(prefix: str, value: Value) -> list[tuple[str, object, str]]:
    return [
        (f"{prefix}_BYTES", value.size_bytes, "x".join(map(str, value.shape))),
        (f"{prefix}_ROWS", value.rows, "height"),
        (f"{prefix}_COLUMNS", value.columns, "width"),
        (f"{prefix}_CHANNELS", value.channels, "innermost"),
        (f"{prefix}_SCALE", f"{value.scale!r}f", "real = scale * (step - zero point)"),
        (f"{prefix}_ZERO_POINT", f"({value.zero_point})", value.dtype),
    ]


def _prototypes(unit: Unit, name: str, c_in: str, c_out: str) -> str:
    overwritten = ""
    if unit.plan.input_in_arena:
        overwritten = (
            f" * The input may be (const {c_in} *)arena + {name.upper()}_INPUT_OFFSET and is overwritten then;\n"
            " * an input elsewhere is copied there and stays as it is.\n"
        )
    text = ""
    if unit.program.states:
        text = (
            f"/* Puts the state, which lives in the arena from one call to the next, to what the model starts from;\n"
            " * is called before the first run. Returns 0, or -1 for a null pointer or a misaligned arena. */\n"
            f"int {name}_reset(void *arena);\n\n"
        )
    several = ""
    if len(unit.inputs) > 1:
        several = " * The inputs lie one after another, each at its offset.\n"
    text += (
        f"/* Runs the model once. All state is in the arena, so calls with different arenas may run at the same time.\n"
        f"{several}"
        f"{overwritten} * Returns 0, or -1 for a null pointer or an arena that is not aligned. */\n"
        f"int {name}_run(const {c_in} *input, {c_out} *output, void *arena);\n"
    )
    if unit.plan.streamed:
        text += (
            f"\n/* The same with a picture handed over row by row: begin, {name.upper()}_INPUT_ROWS rows, end.\n"
            " * The output is complete after end. All return 0, or -1 for a null pointer, an arena that is not\n"
            " * aligned, rows too many or few, or a row or an end before begin or after end. After an end too early\n"
            " * the missing rows may still follow. */\n"
            f"int {name}_begin({c_out} *output, void *arena);\n"
            f"int {name}_row(const {c_in} *input, void *arena);\nint {name}_end(void *arena);\n"
        )
    return text
