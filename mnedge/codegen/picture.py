"""The memory plan as a picture: time runs down, addresses run to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.codegen.plan import Block, Plan
    from mnedge.codegen.program import Program

_MARKS = {"value": "#", "ring": "=", "scratch": ".", "state": "s", "kept": "k"}


def draw(program: Program, plan: Plan, *, width: int = 64, comment: bool = False) -> str:
    """One line a segment, one column a `width`-th of the arena.

    Args:
        program: The program.
        plan: Its plan.
        width: Columns that the arena is drawn in.
        comment: Start each line with " * ", for a comment in C.

    Returns:
        Lines of text. "#" is a value, "+" memory that an output takes over from an input in the same segment,
        "=" a ring of rows, "." scratch, "k" what is kept from one call to the next.
    """
    lines = [f"arena {plan.arena_bytes:,} bytes; # value, + output over input, = ring of rows, . scratch"]
    for number, part in enumerate(plan.segments):
        cells = [" "] * width
        for block in (block for block in plan.blocks if block.first <= number <= block.last):
            start, end = _columns(plan, block, width)
            for column in range(start, end):
                mark = _MARKS[block.kind]
                cells[column] = "+" if cells[column] == "#" and mark == "#" else mark
        first, last = program.layers[part.first], program.layers[part.last]
        layers = f"{part.first}" if part.is_single else f"{part.first}-{part.last}"
        live = sum(block.size_bytes for block in plan.blocks if block.first <= number <= block.last)
        title = first.op if part.is_single else f"{first.op} … {last.op}"
        lines.append(f"{layers:>7} |{''.join(cells)}| {live:>9,}  {title}")
    prefix = " * " if comment else ""
    return "".join(f"{prefix}{line}\n" for line in lines)


def _columns(plan: Plan, block: Block, width: int) -> tuple[int, int]:
    scale = width / max(plan.arena_bytes, 1)
    start = int(plan.offsets[block.name] * scale)
    end = int((plan.offsets[block.name] + block.size_bytes) * scale + 0.999)
    return start, min(max(end, start + 1), width)
