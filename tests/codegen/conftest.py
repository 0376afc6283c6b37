"""Generated C on this machine, with sanitizers: every buffer is allocated to the byte."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import io_types, source_text
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

static int run(const char *name, model model, size_t in, size_t out, size_t bytes)
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
    for (; fread(input, 1, in, images) == in; paint ^= 0xFF) {
        memset(arena, paint, bytes);
        memcpy(before, input, in);
        failed |= model(input, output, arena) != 0 || memcmp(before, input, in) != 0;
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


@dataclass(frozen=True)
class Ran:
    """Outputs, int8 of shape (images, output bytes), and the first bytes of the arena that were written to."""

    outputs: np.ndarray
    touched: int


@pytest.fixture
def run_sanitized() -> Callable[[Path, Sequence[tuple[Unit, np.ndarray]]], list[Ran]]:
    """Builds units, each with its images, into one program with sanitizers, and runs it.

    An access outside input, output or arena, undefined behaviour, and a changed input fail the test.
    """
    return _run_sanitized


def _run_sanitized(folder: Path, units: Sequence[tuple[Unit, np.ndarray]]) -> list[Ran]:
    lines, calls = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"], []
    for unit, images in units:
        (folder / f"{unit.name}.c").write_text(source_text(unit))
        (folder / f"{unit.name}.h").write_text(header_text(unit))
        (folder / f"{unit.name}.bin").write_bytes(images.tobytes())
        lines.append(f'#include "{unit.name}.h"')
        upper = unit.name.upper()
        calls.append(
            f'failed |= run("{unit.name}", (model){unit.name}_run, {upper}_INPUT_BYTES, {upper}_OUTPUT_BYTES, '
            f"{upper}_ARENA_BYTES);"
        )
        assert io_types(unit)[0] == "int8_t"
    (folder / "main.c").write_text(
        "\n".join([*lines, _MAIN, "int main(void)\n{\n    int failed = 0;", *calls, "    return failed;\n}\n"])
    )
    sources = ["main.c", *(f"{unit.name}.c" for unit, _ in units)]
    subprocess.run(
        ["gcc", *FLAGS.split(), *sources, "-o", "run"], cwd=folder, check=True, capture_output=True, text=True
    )
    finished = subprocess.run(["./run"], cwd=folder, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [
        Ran(np.frombuffer((folder / f"{unit.name}.out").read_bytes(), np.int8).reshape(len(images), -1), int(touched))
        for (unit, images), touched in zip(units, finished.stdout.split(), strict=True)
    ]


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
    entry, (output,) = interpreter.get_input_details()[0], interpreter.get_output_details()
    results = []
    for image in images:
        interpreter.set_tensor(entry["index"], image.reshape(entry["shape"]))
        interpreter.invoke()
        results.append(interpreter.get_tensor(output["index"]).ravel().view(np.int8).copy())
    return np.stack(results)
