"""The memory plan: which layers run together, and where each value, ring and scratch lies in the arena."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.codegen.schedule import Segment, readers_of, segment
from mnedge.errors import BudgetError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnedge.choices import Prefer
    from mnedge.codegen.program import KernelSet, Program

_ALIGNMENT = 8
# The block that holds all states.
KEPT = "kept between calls"
_FIXED = ("kept", "state")
_LONGEST_SEGMENT = 24
# Orders of placing that are tried; the smallest arena is worth more of them.
_ATTEMPTS = {"balanced": 160, "ram": 600, "speed": 160, "flash": 160}


@dataclass(frozen=True)
class Block:
    """Memory for one thing, live while segments first … last run.

    Attributes:
        name: The value's name; for scratch memory "scratch N".
        size_bytes: Size.
        first: Index of the segment that fills it.
        last: Index of the last segment that reads it.
        kind: "value", "ring", "scratch", "kept" from one call to the next, or "state" of a picture under way.
    """

    name: str
    size_bytes: int
    first: int
    last: int
    kind: Literal["value", "ring", "scratch", "kept", "state"]


@dataclass(frozen=True)
class Plan:
    """Memory plan: the place of every value.

    Attributes:
        segments: In order of execution.
        blocks: Everything that lives in the arena.
        offsets: First byte of each block by name.
        arena_bytes: Size of the arena.
        streamed: The caller hands the input over row by row.
        input_in_arena: The input lies in the arena, and is overwritten.
    """

    segments: tuple[Segment, ...]
    blocks: tuple[Block, ...]
    offsets: dict[str, int]
    arena_bytes: int
    streamed: bool
    input_in_arena: bool


def plan(
    program: Program,
    kernels: KernelSet,
    *,
    prefer: Prefer = "balanced",
    budget_bytes: int | None = None,
    streamed: bool = False,
    input_in_arena: bool = False,
) -> Plan:
    """Plans the arena.

    "ram" takes the smallest arena; "balanced" and "flash" the fastest plan within a sixteenth of the smallest; "speed"
    runs layer by layer; a budget takes the fastest plan that fits.

    Args:
        program: Program to plan.
        kernels: Kernel set, which decides the scratch memory.
        prefer: Preference of the plan.
        budget_bytes: Largest arena allowed; None for no limit.
        streamed: The caller hands the input over row by row.
        input_in_arena: The input lies in the arena and may be overwritten.

    Raises:
        BudgetError: No plan fits; names the smallest one.
        UnsupportedError: Streamed, but the first layers need the picture whole.
    """
    candidates = _candidates(program, kernels, streamed=streamed)
    if not any(first == 0 for first, _ in candidates):
        layer = program.layers[0]
        raise UnsupportedError(
            f"the input cannot be streamed: {layer.op} and what else reads it need the picture whole; "
            "compile without --stream-input"
        )
    smallest: Plan | None = None
    placed = []
    for chosen, bound in _choices(program, candidates, input_in_arena=input_in_arena):
        current = _place(program, chosen, bound, _ATTEMPTS[prefer], streamed=streamed, input_in_arena=input_in_arena)
        placed.append(current)
        if smallest is None or current.arena_bytes < smallest.arena_bytes:
            smallest = current
    assert smallest is not None
    near = smallest.arena_bytes * 17 // 16
    allowed = {"ram": smallest.arena_bytes, "balanced": near, "speed": 1 << 60, "flash": near}[prefer]
    if budget_bytes is not None:
        if smallest.arena_bytes > budget_bytes:
            advice = "a smaller variant or resolution, --stream-input or --input-may-be-overwritten may fit"
            raise BudgetError.exceeded("the smallest plan's arena", smallest.arena_bytes, budget_bytes, advice)
        allowed = budget_bytes if prefer in ("balanced", "flash") else min(max(allowed, 0), budget_bytes)
    fitting = [item for item in placed if item.arena_bytes <= allowed]
    return min(fitting, key=lambda item: (sum(part.overhead for part in item.segments), item.arena_bytes))


Candidates = dict[tuple[int, int], Segment]


def _choices(program: Program, candidates: Candidates, *, input_in_arena: bool) -> Iterator[tuple[list[Segment], int]]:
    """Segments worth placing, each choice once, and the bytes that are live in them at most.

    Values that lie over a part of their inputs are hard to place: the second half of the choices does without them.
    """
    seen = set()
    for partly in (True, False):
        weigh = _weigher(program, input_in_arena=input_in_arena, partly=partly)
        for limit in _limits(candidates, weigh, len(program.layers)):
            chosen = _fastest(candidates, weigh, len(program.layers), limit)
            key = tuple((part.first, part.last) for part in chosen)
            if key not in seen:
                seen.add(key)
                yield chosen, max(weigh(part) for part in chosen)


def _candidates(program: Program, kernels: KernelSet, *, streamed: bool) -> Candidates:
    found = {}
    count = len(program.layers)
    for first in range(count):
        for last in range(first, min(first + _LONGEST_SEGMENT, count)):
            part = segment(program, first, last, kernels, streamed=streamed)
            if part is None and last > first:
                break
            if part is not None:
                found[first, last] = part
    return found


def _weigher(program: Program, *, input_in_arena: bool, partly: bool) -> Callable[[Segment], int]:
    """A function that estimates the bytes that are live while a segment runs, before anything is placed.

    Args:
        program: Program to plan.
        input_in_arena: See `plan`.
        partly: Whether a value may lie over a part of its input, and not only in its place.
    """
    readers = readers_of(program)
    made_by = {layer.output: index for index, layer in enumerate(program.layers)}
    outside = _outside(program) | (set() if input_in_arena else {*program.inputs})
    sizes = {name: value.size_bytes for name, value in program.values.items() if name not in outside}

    known: dict[tuple[int, int], int] = {}

    def weigh(part: Segment) -> int:
        key = (part.first, part.last)
        if key not in known:
            known[key] = weighed(part)
        return known[key]

    def weighed(part: Segment) -> int:
        through = sum(
            size
            for name, size in sizes.items()
            if made_by.get(name, -1) < part.first
            and max(readers[name], default=-1) > part.last
            and name not in part.rings
        )
        dying = {name for name in part.reads if name in sizes and max(readers[name]) <= part.last}
        rings = sum(rows * program.values[name].row_bytes for name, rows in part.rings.items())
        live = through + rings + part.scratch_bytes
        grown = [name for name in part.whole if name in sizes]
        paired: set[str] = set()
        for output in sorted(grown, key=lambda name: -sizes[name]):
            partner = min(
                (name for name in dying - paired if partly or part.distances[output, name] == 0),
                key=lambda name: max(sizes[output], sizes[name] + part.distances[output, name]) - sizes[name],
                default=None,
            )
            if partner is None:
                live += sizes[output]
            else:
                paired.add(partner)
                live += max(sizes[output], sizes[partner] + part.distances[output, partner])
        return live + sum(sizes[name] for name in dying - paired)

    return weigh


def _limits(candidates: Candidates, weigh: Callable[[Segment], int], count: int) -> list[int]:
    """Peaks worth trying, from the smallest possible one up to that of the layer-by-layer plan."""
    best = [0] + [1 << 60] * count
    for last in range(count):
        for first in range(last + 1):
            if (first, last) in candidates:
                best[last + 1] = min(best[last + 1], max(best[first], weigh(candidates[first, last])))
    least = best[count]
    weights = sorted({weigh(part) for part in candidates.values()})
    above = [weight for weight in weights if weight > least]
    steps = max(len(above) // 10, 1)
    near = [least * factor // 64 for factor in (65, 66, 68, 70, 72)]
    return [least, *near, *above[::steps], 1 << 60]


def _fastest(candidates: Candidates, weigh: Callable[[Segment], int], count: int, limit: int) -> list[Segment]:
    """The segments with the least overhead among those whose every part weighs at most `limit`."""
    best: list[tuple[int, int, list[Segment]] | None] = [(0, 0, [])] + [None] * count
    for last in range(count):
        for first in range(last + 1):
            part, before = candidates.get((first, last)), best[first]
            if part is None or before is None or weigh(part) > limit:
                continue
            entry = (before[0] + part.overhead, max(before[1], weigh(part)), [*before[2], part])
            current = best[last + 1]
            if current is None or entry[:2] < current[:2]:
                best[last + 1] = entry
    final = best[count]
    # Layer by layer is always possible, and no limit is below the smallest peak.
    assert final is not None
    return final[2]


def _blocks(program: Program, segments: list[Segment], *, streamed: bool, input_in_arena: bool) -> list[Block]:
    readers = readers_of(program)
    by_layer = {index: number for number, part in enumerate(segments) for index in range(part.first, part.last + 1)}
    blocks = _lasting(program, segments, by_layer, streamed=streamed, input_in_arena=input_in_arena)
    outside = _outside(program)
    for number, part in enumerate(segments):
        for name, rows in part.rings.items():
            # A single row of the caller's input is read where it is.
            if name not in program.inputs or rows > 1:
                blocks.append(Block(name, rows * program.values[name].row_bytes, number, number, "ring"))
        for name in part.whole:
            if name not in outside:
                last = max((by_layer[reader] for reader in readers[name]), default=number)
                blocks.append(Block(name, program.values[name].size_bytes, number, last, "value"))
        if part.scratch_bytes:
            blocks.append(Block(f"scratch {number}", part.scratch_bytes, number, number, "scratch"))
    return blocks


def _lasting(
    program: Program, segments: list[Segment], by_layer: dict[int, int], *, streamed: bool, input_in_arena: bool
) -> list[Block]:
    """Blocks that no layer makes: the state of a picture under way, values kept between calls, inputs in the arena."""
    blocks = []
    if streamed:
        blocks.append(Block("state", state_bytes(segments[0]), 0, 0, "state"))
    if program.states:
        blocks.append(Block(KEPT, kept_bytes(program), 0, len(segments) - 1, "kept"))
    for name in program.inputs if input_in_arena else ():
        last = max((by_layer[reader] for reader in readers_of(program)[name]), default=0)
        blocks.append(Block(name, program.values[name].size_bytes, 0, last, "value"))
    return blocks


def _outside(program: Program) -> set[str]:
    """The values that have no block of their own: outputs, states, and what is written to the place of a state."""
    return {*program.outputs, *(state.name for state in program.states), *program.homes}


def kept_offsets(program: Program) -> dict[str, int]:
    """First byte of each state in the part of the arena that is kept from one call to the next."""
    offsets, place = {}, 0
    for state in program.states:
        offsets[state.name] = place
        place += -(-program.values[state.name].size_bytes // _ALIGNMENT) * _ALIGNMENT
    return offsets


def kept_bytes(program: Program) -> int:
    """Bytes of all states, each aligned."""
    return sum(-(-program.values[state.name].size_bytes // _ALIGNMENT) * _ALIGNMENT for state in program.states)


def state_bytes(part: Segment) -> int:
    """Bytes of the row counters of a streamed segment: three pointers of at most 8 bytes and one int32 a layer."""
    return 24 + 4 * (part.last - part.first + 2)


def _place(
    program: Program, segments: list[Segment], bound: int, attempts: int, *, streamed: bool, input_in_arena: bool
) -> Plan:
    blocks = _blocks(program, segments, streamed=streamed, input_in_arena=input_in_arena)
    gaps: dict[tuple[str, str], int] = {}
    last_of = {block.name: block.last for block in blocks}
    for number, part in enumerate(segments):
        for (output, name), distance in part.distances.items():
            if last_of.get(name) == number:
                gaps[output, name] = -(-distance // _ALIGNMENT) * _ALIGNMENT
    best: dict[str, int] = {}
    best_top = 1 << 62
    for order in _orders(blocks, attempts):
        offsets, top = _first_fit(order, gaps, best_top)
        if top < best_top:
            best, best_top = offsets, top
        if best_top <= bound:
            break
    places = {name: best[KEPT] + offset for name, offset in kept_offsets(program).items()}
    homes = {name: places[state] for name, state in program.homes.items()}
    offsets = {**best, **places, **homes}
    return Plan(tuple(segments), tuple(blocks), offsets, max(best_top, 0), streamed, input_in_arena)


def _orders(blocks: list[Block], attempts: int) -> Iterator[list[Block]]:
    """Orders to place blocks in: backwards in time, as outputs lie below inputs; by size; and shuffled ones."""
    # Both have the same place under every plan: what is kept comes first, or right behind the state of a picture.
    state = sorted((block for block in blocks if block.kind in _FIXED), key=lambda block: -_FIXED.index(block.kind))
    rest = [block for block in blocks if block.kind not in _FIXED]
    backwards = sorted(rest, key=lambda block: (-block.last, -block.first, -block.size_bytes))
    yield state + backwards
    yield state + sorted(rest, key=lambda block: -block.size_bytes)
    # A fixed seed: the same model gives the same plan.
    chance = random.Random(5)  # noqa: S311 - no secret
    largest = sorted(rest, key=lambda block: -block.size_bytes)
    for attempt in range(attempts):
        base = backwards if attempt % 2 else largest
        reach = 1 + attempt % 7
        keys = {block.name: position + chance.uniform(0, reach) for position, block in enumerate(base)}
        yield state + sorted(rest, key=lambda block: keys[block.name])


def _first_fit(order: list[Block], gaps: dict[tuple[str, str], int], stop_at: int) -> tuple[dict[str, int], int]:
    offsets: dict[str, int] = {}
    placed: list[Block] = []
    top = 0
    for block in order:
        forbidden = []
        for other in placed:
            if other.first > block.last or block.first > other.last:
                continue
            start, end = offsets[other.name], offsets[other.name] + other.size_bytes
            if (block.name, other.name) in gaps:
                # This one is written while the other is read: it may lie at start - gap or below.
                forbidden.append((start - gaps[block.name, other.name] + 1, end))
            elif (other.name, block.name) in gaps:
                forbidden.append((start - block.size_bytes + 1, start + gaps[other.name, block.name]))
            else:
                forbidden.append((start - block.size_bytes + 1, end))
        offset = 0
        for low, high in sorted(forbidden):
            if low <= offset < high:
                offset = -(-high // _ALIGNMENT) * _ALIGNMENT
        # A second pass, as rounding up may have run into an earlier range.
        while any(low <= offset < high for low, high in forbidden):
            offset = -(-max(high for low, high in forbidden if low <= offset < high) // _ALIGNMENT) * _ALIGNMENT
        offsets[block.name] = offset
        placed.append(block)
        top = max(top, offset + block.size_bytes)
        if top >= stop_at:
            return offsets, top
    return offsets, top
