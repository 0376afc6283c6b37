"""Node data as Model Explorer reads it."""

from __future__ import annotations

import json
from dataclasses import replace

from mnedge.report.node_data import node_data
from mnedge.results.inspection import Agreement, LayerNoise, OutputNoise
from mnedge.results.profile import Elsewhere, LayerProfile, OpProfile

_NOISE = LayerNoise(4, Agreement(1.0, 1.0), OutputNoise(20.0, None), ())


def _profile(path: str, *ops: OpProfile) -> LayerProfile:
    return LayerProfile(path, "litert", 1, ops, _NOISE)


def test_every_figure_is_a_file_of_values_by_tensor() -> None:
    now = _profile(
        "a", OpProfile(0, "ADD", "x", (1,), 0.5, 64, 4, 0.002), OpProfile(1, "MUL", "y", (1,), 0.25, 32, 0, 0.0)
    )
    files = {name: json.loads(text) for name, text in node_data(now).items()}
    assert set(files) == {"latency_ms.json", "live_bytes.json", "weights_bytes.json", "output_error.json"}
    assert files["latency_ms.json"]["results"] == {"x": {"value": 0.5}, "y": {"value": 0.25}}
    assert files["live_bytes.json"]["results"]["x"] == {"value": 64}
    for content in files.values():
        assert [item["stop"] for item in content["gradient"]][:: len(content["gradient"]) - 1] == [0.0, 1.0]


def test_a_baseline_shows_what_became_slower_or_worse() -> None:
    """Only ops that the graph has: those that are gone have no node."""
    before = _profile(
        "b", OpProfile(0, "ADD", "x", (1,), 0.25, 64, 4, 0.001), OpProfile(1, "MUL", "z", (1,), 1.0, 1, 0, 0.0)
    )
    now = _profile("a", OpProfile(0, "ADD", "x", (1,), 0.5, 64, 4, 0.002)).against(before)
    files = {name: json.loads(text)["results"] for name, text in node_data(now).items()}
    assert files["slower_ms.json"] == {"x": {"value": 0.25}}
    assert files["worse_output_error.json"] == {"x": {"value": 0.001}}


def test_another_place_is_a_file_of_the_ops_that_it_has() -> None:
    ops = OpProfile(0, "ADD", "x", (1,), 0.5, 64, 4, 0.0), OpProfile(1, "MUL", "y", (1,), 0.25, 32, 0, 0.0)
    board = Elsewhere("qemu://cortex-m4", "compiled C", "instructions", emulated=True, costs=(None, 9.0))
    files = node_data(replace(_profile("a", *ops), elsewhere=(board,)))
    assert json.loads(files["qemu_cortex-m4_instructions.json"])["results"] == {"y": {"value": 9.0}}
