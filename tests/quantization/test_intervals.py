"""Intervals: what ops can make, and what their consumers can tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.graph import Op
from mnedge.quantization.intervals import INFINITE, channel_floor, hull, made_interval
from mnedge.quantization.scheme import scheme_of


def _scheme(net: Any, images: Any, **options: Any) -> Any:
    return scheme_of(net.graph(), images(4), **options)


@pytest.mark.parametrize(
    ("activation", "bounds"),
    [("NONE", (-np.inf, np.inf)), ("RELU", (0, np.inf)), ("RELU6", (0, 6)), ("RELU_N1_TO_1", (-1, 1))],
)
def test_a_fused_activation_bounds_what_is_made(net: Any, images: Any, activation: str, bounds: Any) -> None:
    scheme = _scheme(net().conv("c", 3, activation=activation).conv("d", 3), images)
    assert scheme.bounds[scheme.group["c"]] == bounds


def test_nothing_below_minus_three_matters_to_a_hard_swish(net: Any, images: Any) -> None:
    whole = net().conv("c", 3, activation="NONE").op("HARD_SWISH", "h", ("c",), (1, 8, 8, 3))
    scheme = _scheme(whole.conv("d", 3), images)
    assert scheme.bounds[scheme.group["c"]] == (-3, np.inf)
    assert scheme.bounds[scheme.group["h"]] == (-0.375, np.inf)
    scheme = _scheme(net().conv("c", 3, activation="NONE").hard_swish("h").conv("d", 3), images)
    assert scheme.bounds[scheme.group["c"]] == (-3, np.inf)
    assert scheme.bounds[scheme.group["h/gate"]] == (0, 6)


def test_another_reader_needs_all_values(net: Any, images: Any) -> None:
    seen = net().conv("c", 3, activation="NONE").hard_swish("h").conv("d", 3, activation="NONE").add("s", "c")
    scheme = _scheme(seen, images)
    assert scheme.bounds[scheme.group["c"]] == (-np.inf, np.inf)


def test_an_output_needs_all_values(net: Any, images: Any) -> None:
    graph = net().conv("c", 3, activation="NONE").hard_swish("h").graph("h", "c")
    scheme = scheme_of(graph, images(4))
    assert scheme.bounds[scheme.group["c"]] == (-np.inf, np.inf)


def test_a_scaled_gate_says_what_it_reads(net: Any, images: Any) -> None:
    """relu6(w x + 3) is 0 below -3 / w: the lowest of all channels counts."""
    gated = net().conv("c", 2, activation="NONE")
    gated.conv("gate", kernel=1, depthwise=True, activation="RELU6", weights=[0.5, 2.0], bias=[3.0, 3.0])
    gated.op("MUL", "h", ("c", "gate"), (1, 8, 8, 2), activation="NONE")
    scheme = _scheme(gated, images)
    assert scheme.bounds[scheme.group["c"]] == (-6, np.inf)


def test_the_floor_of_a_channel_moves_with_the_scale_of_its_gate(net: Any) -> None:
    gated = net().conv("c", 2, activation="NONE")
    gated.conv("gate", kernel=1, depthwise=True, activation="RELU6", weights=[0.5, 2.0], bias=[3.0, 3.0])
    gated.op("MUL", "h", ("c", "gate"), (1, 8, 8, 2), activation="NONE")
    graph = gated.graph()
    assert channel_floor(graph, "c").tolist() == [-6.0, -1.5]
    assert channel_floor(graph, "h").tolist() == [-np.inf, -np.inf]
    plain = net().conv("c", 2, activation="NONE").hard_swish("h").graph()
    assert channel_floor(plain, "c").tolist() == [-3.0, -3.0]


def test_what_an_op_makes_is_bounded_whatever_it_reads() -> None:
    assert made_interval(None) == INFINITE
    assert made_interval(Op("LOGISTIC", ("x",), ("y",))) == (0.0, 1.0)
    assert made_interval(Op("RELU6", ("x",), ("y",))) == (0.0, 6.0)
    assert made_interval(Op("ADD", ("x", "c"), ("y",), {"activation": "RELU"})) == (0.0, np.inf)
    assert hull([(0.0, 1.0), (-2.0, 0.5)]) == (-2.0, 1.0)
