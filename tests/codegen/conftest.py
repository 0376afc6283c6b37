"""Generated C on this machine, with sanitizers: every buffer is allocated to the byte."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import source_text
from mnedge.codegen.header import header_text
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnedge.codegen.emit import Unit
    from mnedge.graph.graph import Graph

FLAGS = (
    "-std=c99 -O0 -Wall -Wextra -Wconversion -Werror -pedantic -fsanitize=address,undefined -fno-sanitize-recover=all"
)
_MAIN = """
typedef int (*model)(const int8_t *, int8_t *, void *);
typedef int (*stream)(const int8_t *, const int8_t *);

static int run(const char *name, model model, stream stream, int (*reset)(void *), size_t in, size_t out, size_t bytes)
{
    char path[64];
    int failed = 0, paint = 0x5A;
    size_t touched = 0;
    snprintf(path, sizeof path, "%s.bin", name);
    FILE *const images = fopen(path, "rb");
    snprintf(path, sizeof path, "%s.out", name);
    FILE *const results = fopen(path, "wb");
    int8_t *const input = malloc(in), *const output = malloc(out), *const before = malloc(in);
    unsigned char *const arena = malloc(bytes ? bytes : 1);
    for (int first = 1; fread(input, 1, in, images) == in; paint ^= 0xFF) {
        if (reset == NULL) {
            memset(arena, paint, bytes);
        } else if (first) {
            failed |= reset(arena) != 0;
        }
        first = 0;
        memcpy(before, input, in);
        failed |= model(input, output, arena) != 0 || memcmp(before, input, in) != 0;
        failed |= stream != NULL && stream(input, output) != 0;
        fwrite(output, 1, out, results);
        for (size_t i = touched; i < bytes; i++) {
            touched = arena[i] == paint ? touched : i + 1;
        }
    }
    printf("%zu\\n", touched);
    free(input), free(output), free(before), free(arena), fclose(images), fclose(results);
    return failed;
}
"""
# The picture row by row, each call in and out of turn, in an arena that holds anything before.
_STREAM = """
static int stream_@NAME@(const int8_t *input, const int8_t *expected)
{
    enum { rows = @UPPER@_INPUT_ROWS, row_bytes = @UPPER@_INPUT_BYTES / rows, outputs = @UPPER@_OUTPUT_BYTES };
    int8_t *const output = malloc(outputs), *const row = malloc(row_bytes);
    unsigned char *const arena = malloc(@UPPER@_ARENA_BYTES);
    int wrong = 0;
    for (int paint = 0; paint < 3; paint++) {
        memset(arena, paint * 0x7F, @UPPER@_ARENA_BYTES);
        memcpy(row, input, row_bytes);
        wrong += @NAME@_row((void *)row, arena) != -1 || @NAME@_end(arena) != -1;
        wrong += @NAME@_begin(NULL, arena) != -1 || @NAME@_begin((void *)output, NULL) != -1;
        wrong += @NAME@_begin((void *)output, arena + 4) != -1;
        wrong += @NAME@_begin((void *)output, arena) != 0;
        for (int i = 0; i < rows; i++) {
            wrong += @NAME@_end(arena) != -1 || @NAME@_row(NULL, arena) != -1 || @NAME@_row((void *)row, NULL) != -1;
            memcpy(row, input + i * row_bytes, row_bytes);
            wrong += @NAME@_row((void *)row, arena) != 0;
            memset(row, 0, row_bytes);
        }
        wrong += @NAME@_row((void *)row, arena) != -1 || @NAME@_row((void *)row, arena + 1) != -1;
        wrong += @NAME@_end(NULL) != -1 || @NAME@_end(arena + 1) != -1;
        wrong += @NAME@_end(arena) != 0 || memcmp(output, expected, outputs) != 0;
        wrong += @NAME@_row((void *)row, arena) != -1 || @NAME@_end(arena) != -1 || @NAME@_end(arena) != -1;
        wrong += @NAME@_begin((void *)output, arena) != 0 || @NAME@_row((void *)row, arena) != 0;
    }
    wrong += @NAME@_run((const void *)input, (void *)output, arena) != 0 || memcmp(output, expected, outputs) != 0;
    wrong += @NAME@_row((void *)row, arena) != -1 || @NAME@_end(arena) != -1;
    free(output), free(row), free(arena);
    if (wrong) {
        fprintf(stderr, "@NAME@: %d answers wrong\\n", wrong);
    }
    return wrong;
}
"""


@dataclass(frozen=True)
class Ran:
    """Outputs, int8 of shape (images, output bytes), and the first bytes of the arena that were written to."""

    outputs: np.ndarray
    touched: int


@pytest.fixture
def run_sanitized() -> Callable[[Path, Sequence[tuple[Unit, np.ndarray]]], list[Ran]]:
    """Builds units, each with its images, into one program with sanitizers, and runs it.

    An access outside input, output or arena, undefined behaviour, a changed input, and a wrong answer to a call in or
    out of turn where the picture is streamed fail the test.
    """
    return _run_sanitized


def _run_sanitized(folder: Path, units: Sequence[tuple[Unit, np.ndarray]]) -> list[Ran]:
    lines, streams, calls = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"], [], []
    for unit, images in units:
        (folder / f"{unit.name}.c").write_text(source_text(unit))
        (folder / f"{unit.name}.h").write_text(header_text(unit))
        (folder / f"{unit.name}.bin").write_bytes(images.tobytes())
        lines.append(f'#include "{unit.name}.h"')
        upper = unit.name.upper()
        stream, reset = "NULL", f"{unit.name}_reset" if unit.program.states else "NULL"
        if unit.plan.streamed:
            stream = f"stream_{unit.name}"
            streams.append(_STREAM.replace("@NAME@", unit.name).replace("@UPPER@", upper))
        calls.append(
            f'failed |= run("{unit.name}", (model){unit.name}_run, {stream}, {reset}, {upper}_INPUT_BYTES, '
            f"{upper}_OUTPUT_BYTES, {upper}_ARENA_BYTES);"
        )
    (folder / "main.c").write_text(
        "\n".join(
            [*lines, *streams, _MAIN, "int main(void)\n{\n    int failed = 0;", *calls, "    return failed;\n}\n"]
        )
    )
    sources = ["main.c", *(f"{unit.name}.c" for unit, _ in units)]
    subprocess.run(
        ["gcc", *FLAGS.split(), *sources, "-o", "run"], cwd=folder, check=True, capture_output=True, text=True
    )
    _check_as_one_unit_of_cpp(folder, [unit.name for unit, _ in units])
    finished = subprocess.run(["./run"], cwd=folder, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [
        Ran(np.frombuffer((folder / f"{unit.name}.out").read_bytes(), np.int8).reshape(len(images), -1), int(touched))
        for (unit, images), touched in zip(units, finished.stdout.split(), strict=True)
    ]


def _check_as_one_unit_of_cpp(folder: Path, names: Sequence[str]) -> None:
    """All generated files in one translation unit must be C++ too."""
    (folder / "all.cpp").write_text("".join(f'#include "{name}.c"\n' for name in dict.fromkeys(names)))
    checked = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "all.cpp"]
    finished = subprocess.run(checked, cwd=folder, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]


@pytest.fixture
def reference() -> Callable[[Graph, np.ndarray], np.ndarray]:
    """What LiteRT's reference kernels make of images, without a delegate: int8, shape (images, output bytes)."""
    return _reference


def _reference(graph: Graph, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=write_tflite(graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    entries, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    places = np.cumsum([int(np.prod(entry["shape"])) for entry in entries])[:-1]
    results = []
    for image in images:
        for entry, part in zip(entries, np.split(image.ravel(), places), strict=True):
            interpreter.set_tensor(entry["index"], part.reshape(entry["shape"]))
        interpreter.invoke()
        made = [interpreter.get_tensor(output["index"]).ravel().view(np.int8) for output in outputs]
        results.append(np.concatenate(made))
    return np.stack(results)
