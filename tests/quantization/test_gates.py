"""Gates of hard-swish as depthwise convolutions: the same function, with a weight for each channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import predict
from mnedge.quantization.equalize import noise_gains
from mnedge.quantization.gates import gated_outputs, with_scalable_gates, worthwhile_gates


@pytest.fixture
def swished(net: Any) -> Any:
    """Two hard-swishes, the first on channels of which the loudest is 25 times as loud as the quietest."""
    made = net(seed=5)
    loud = 10.0 ** np.linspace(-0.7, 0.7, 6)
    weights = made.rng.normal(0, 0.4, (6, 3, 3, 3)) * loud[:, None, None, None]
    made.conv("c", 6, weights=weights, activation="NONE").hard_swish("first")
    return made.conv("d", 6, kernel=1, activation="NONE").hard_swish("second").conv("e", 3, activation="NONE").graph()


def test_gates_are_found_in_order(swished: Any) -> None:
    assert gated_outputs(swished) == ["first", "second"]


def test_other_products_are_no_gates(net: Any) -> None:
    made = net().conv("c", 3).conv("d", 3)
    made.op("MUL", "product", ("c", "d"), (1, 8, 8, 3), activation="NONE")
    made.op("MUL", "square", ("product", "product"), (1, 8, 8, 3), activation="NONE")
    assert gated_outputs(made.graph()) == []


def test_a_scalable_gate_is_the_same_function(swished: Any, images: Any) -> None:
    changed = with_scalable_gates(swished, ["second"])
    changed.check()
    kinds = {op.outputs[0]: op.kind for op in changed.ops}
    assert (kinds["first/gate"], kinds["second/gate"]) == ("ADD", "DEPTHWISE_CONV_2D")
    assert len(changed.ops) == len(swished.ops)
    np.testing.assert_allclose(predict(changed, images(4)), predict(swished, images(4)), rtol=1e-5, atol=1e-5)


def test_a_gate_that_others_read_stays(net: Any) -> None:
    made = net().conv("c", 3, activation="NONE").hard_swish("h").add("s", "h/gate").graph()
    assert with_scalable_gates(made, ["h"]).ops == made.ops


def test_the_threshold_chooses(swished: Any, images: Any) -> None:
    assert worthwhile_gates(swished, images(8), 0.0) == ["first", "second"]
    assert worthwhile_gates(swished, images(8), np.inf) == []
    # Both have as many elements: the gate that gains more goes first.
    gains = noise_gains(with_scalable_gates(swished, ["first", "second"]), ["first", "second"], images(8))
    lesser, greater = sorted(gains, key=gains.__getitem__)
    assert gains[greater] > 1.2 * gains[lesser] > 0
    between = float(np.sqrt(gains[lesser] * gains[greater])) / np.prod(swished.tensors["first"].shape)
    assert worthwhile_gates(swished, images(8), between) == [greater]


def test_a_network_without_gates_has_none(separable: Any, images: Any) -> None:
    assert worthwhile_gates(separable().graph(), images(4), 1e-7) == []
