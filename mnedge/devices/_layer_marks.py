"""Instructions by layer: marks in a build of their own, which the counter of instructions looks for."""

from __future__ import annotations

import re

_MARK = "layer_mark_"


def mark_sources(layers: int) -> dict[str, str]:
    """Returns the sources of a build with marks beside NAME.c: a header included before every file, and the marks."""
    declared = "".join(f"void {_MARK}{number}(void);\n" for number in range(layers))
    defined = "".join(
        f'__attribute__((noinline)) void {_MARK}{number}(void)\n{{\n    __asm__ volatile("" ::: "memory");\n}}\n'
        for number in range(layers)
    )
    return {
        "marks.h": f"#define MNEDGE_LAYER(model, index) {_MARK}##index();\n{declared}",
        "marks.c": defined,
    }


def counts_by_layer(log: str, layers: int, count: int) -> tuple[int, ...]:
    """Instructions of each layer and run, from the counter's log; () where it counted none."""
    found = {int(match[1]): int(match[2]) for match in re.finditer(r"icount layer (\d+) (\d+)", log)}
    return tuple(found.get(number, 0) // max(count, 1) for number in range(layers)) if found else ()
