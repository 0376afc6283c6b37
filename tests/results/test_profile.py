"""A profile beside that of a baseline."""

from __future__ import annotations

import pytest

from mnedge.results.inspection import Agreement, LayerNoise, OutputNoise
from mnedge.results.profile import LayerProfile, OpProfile


def profile(path: str, **ms: float) -> LayerProfile:
    ops = tuple(OpProfile(at, "ADD", name, (1,), time, 8, 2, time / 100) for at, (name, time) in enumerate(ms.items()))
    return LayerProfile(path, "litert", 1, ops, LayerNoise(4, Agreement(1.0, 1.0), OutputNoise(20.0, None), ()))


def test_ops_are_held_against_those_that_make_the_same_tensor() -> None:
    found = profile("new", a=1.0, b=2.0, new=4.0).against(profile("old", gone=8.0, b=5.0, a=1.0))
    assert found.baseline == "old"
    assert [row.tensor for row in found.changes] == ["a", "b", "new", "gone"]
    assert [row.slower_ms for row in found.changes] == [0.0, -3.0, 4.0, -8.0]
    assert [row.worse for row in found.changes] == pytest.approx([0.0, -0.03, 0.04, -0.08])
    assert found.changes[2].before_ms is None
    assert found.changes[3].ms is None


def test_the_whole_is_the_sum_of_its_ops_and_the_noise_at_the_output() -> None:
    found = profile("new", a=1.0, b=2.0)
    assert found.ms == 3.0
    assert found.output_error == pytest.approx(0.01)
    assert "new: 3.000 ms by litert" in found._repr_html_()
