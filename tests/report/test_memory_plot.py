from dataclasses import replace

import pytest

from mnedge.report.memory_plot import memory_plot
from mnedge.results.details import Details, MemoryPlan


def test_the_memory_plan_is_drawn_to_scale(details: Details) -> None:
    plan = details.plan
    assert plan is not None
    plot = memory_plot(plan)
    assert plot is not None
    per_byte = [block.height / tensor.bytes for block, tensor in zip(plot.blocks, plan.tensors, strict=True)]
    assert per_byte == pytest.approx([per_byte[0]] * len(per_byte))
    lives = [tensor.last + 1 - tensor.first for tensor in plan.tensors]
    per_layer = [block.width / life for block, life in zip(plot.blocks, lives, strict=True)]
    assert per_layer == pytest.approx([per_layer[0]] * len(per_layer))
    # The tensor at 40,000 with 38,500 bytes ends highest.
    assert [tensor.offset for block, tensor in zip(plot.blocks, plan.tensors, strict=True) if block.at_peak] == [40_000]
    assert not plot.overlaps
    moved = replace(plan.tensors[1], offset=39_999)
    overlapping = memory_plot(replace(plan, tensors=(plan.tensors[0], moved, *plan.tensors[2:])))
    assert overlapping is not None
    assert overlapping.overlaps
    assert memory_plot(None) is None
    assert memory_plot(MemoryPlan(4, ())) is None
