"""Cost of ops over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.workflows.op_costs import on_device

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from tests.devices.conftest import Pi


pytestmark = [pytest.mark.device, pytest.mark.slow]


def test_a_board_times_each_op_alone(pi: Pi, small_int8: Graph, tmp_path: Path) -> None:
    model, shares = tmp_path / "small.int8.tflite", list[float]()
    model.write_bytes(write_tflite(small_int8))
    found = on_device(model, pi.uri(), 1, shares.append)
    assert found.unit == "ms"
    assert found.place == pi.uri().partition("?")[0]
    assert found.runtime.startswith("ai-edge-litert")
    assert found.emulated
    assert len(found.costs) == len(small_int8.ops)
    assert all(cost is not None and cost >= 0 for cost in found.costs)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])
