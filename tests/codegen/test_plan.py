"""The memory plan: blocks that are live together never share bytes beyond what their segment allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.codegen.lower import lower
from mnedge.codegen.picture import draw
from mnedge.codegen.plan import Plan, plan
from mnedge.codegen.prune import prune
from mnedge.errors import BudgetError
from mnedge.formats.tflite_read import read_tflite

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.codegen.program import Program

MODELS = [
    "mlperf_tiny/vww_96_int8",
    pytest.param("mcu/v2_0.35_96_int8_random", marks=pytest.mark.slow),
    "mcu/v3small_0.75_224_int8_random",
]


@pytest.fixture(params=MODELS)
def program(request: pytest.FixtureRequest, shared_data: Path) -> Program:
    return prune(lower(read_tflite(shared_data / "models" / f"{request.param}.tflite")))[0]


def check(program: Program, memory: Plan) -> None:
    covered = [index for part in memory.segments for index in range(part.first, part.last + 1)]
    assert covered == list(range(len(program.layers)))
    for number, part in enumerate(memory.segments):
        live = [block for block in memory.blocks if block.first <= number <= block.last]
        assert all(memory.offsets[block.name] + block.size_bytes <= memory.arena_bytes for block in live)
        for one in live:
            for other in live:
                low, high = memory.offsets[one.name], memory.offsets[other.name]
                apart = low + one.size_bytes <= high or high + other.size_bytes <= low
                ahead, behind = (part.distances.get(pair) for pair in ((one.name, other.name), (other.name, one.name)))
                over = ahead is not None and other.last == number and low + ahead <= high
                back = behind is not None and one.last == number and high + behind <= low
                assert one is other or apart or over or back, (one, other)


@pytest.mark.shared
@pytest.mark.parametrize("prefer", ["ram", "balanced", "speed"])
def test_live_blocks_do_not_collide(program: Program, prefer: str) -> None:
    for options in ({}, {"streamed": True}, {"input_in_arena": True}):
        check(program, plan(program, "dsp", prefer=prefer, **options))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.shared
def test_ram_needs_least_and_speed_runs_layer_by_layer(program: Program) -> None:
    ram, balanced, speed = (plan(program, "mve", prefer=name) for name in ("ram", "balanced", "speed"))
    assert ram.arena_bytes <= balanced.arena_bytes < speed.arena_bytes
    # An eighth for speed, and what the shorter search for a placement misses.
    assert balanced.arena_bytes <= ram.arena_bytes * 5 // 4
    assert all(part.is_single for part in speed.segments)
    assert any(not part.is_single for part in ram.segments)


@pytest.mark.slow
@pytest.mark.shared
def test_a_budget_takes_the_fastest_plan_that_fits(program: Program) -> None:
    ram, speed = plan(program, "dsp", prefer="ram"), plan(program, "dsp", prefer="speed")
    assert plan(program, "dsp", budget_bytes=speed.arena_bytes).arena_bytes == speed.arena_bytes
    middle = (ram.arena_bytes + speed.arena_bytes) // 2
    assert plan(program, "dsp", budget_bytes=middle).arena_bytes <= middle
    with pytest.raises(BudgetError):
        plan(program, "dsp", budget_bytes=ram.arena_bytes - 1)


@pytest.mark.shared
def test_the_picture_has_a_line_a_segment(program: Program) -> None:
    memory = plan(program, "dsp")
    lines = draw(program, memory).splitlines()
    assert len(lines) == len(memory.segments) + 1
    assert f"{memory.arena_bytes:,}" in lines[0]
