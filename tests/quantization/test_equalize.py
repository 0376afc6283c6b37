"""Cross-layer equalization: the same function in float, and channels that one range fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled, predict
from mnedge.quantization.channels import sensitivities
from mnedge.quantization.equalize import equalize, noise_gains
from mnedge.quantization.gates import gated_outputs, with_scalable_gates
from mnedge.quantization.streams import find_streams


def unbalanced(net: Any, activation: str = "RELU", decades: float = 3.0) -> Any:
    """Channels whose loudness spans decades, taken back by the layer that reads them."""
    made = net(seed=2)
    loud = 10.0 ** np.linspace(-decades / 2, decades / 2, 8)
    weights = made.rng.normal(0, 0.3, (8, 3, 3, 3)) * loud[:, None, None, None]
    made.conv("loud", 8, weights=weights, bias=made.rng.normal(0, 0.2, 8) * loud, activation=activation)
    return made.conv("read", 6, kernel=1, weights=made.rng.normal(0, 0.4, (6, 1, 1, 8)) / loud, activation="NONE")


def spread(graph: Any, name: str, images: np.ndarray) -> float:
    """Largest over smallest channel of an activation."""
    largest = np.abs(compiled(graph, (name,))(images)[0]).max((0, 1, 2))
    return float(largest.max() / largest.min())


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
def test_the_function_stays(separable: Any, images: Any, granularity: Any, activation: str) -> None:
    graph = separable(activation=activation).graph("logits")
    changed = equalize(graph, images(12), granularity).graph
    changed.check()
    weights = [name for name in graph.tensors if name.endswith("/w")]
    scaled = any(not np.array_equal(changed.tensors[name].real(), graph.tensors[name].real()) for name in weights)
    # Below ReLU6 the channels share the steps well, and other pictures would be clipped where float does not.
    assert scaled == ((activation, granularity) != ("RELU6", "per-channel"))
    # Pictures that calibration has seen: a channel near ReLU6's 6 may only be scaled as far as they reach.
    exact = predict(graph, images(12))
    np.testing.assert_allclose(predict(changed, images(12)), exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_channels_come_closer(net: Any, images: Any, granularity: Any) -> None:
    graph = unbalanced(net).graph()
    changed = equalize(graph, images(16), granularity).graph
    assert spread(graph, "loud", images(16)) > 300
    assert spread(changed, "loud", images(16)) < 30
    np.testing.assert_allclose(predict(changed, images(4, 3)), predict(graph, images(4, 3)), rtol=1e-3, atol=1e-3)


def test_the_cost_of_noise_is_that_of_the_equalized_network(net: Any, images: Any) -> None:
    equal = equalize(unbalanced(net).graph(), images(16), "per-channel")
    expected = sensitivities(equal.graph, ["loud", "read"], images(16))
    assert set(equal.sensitivity) == {"loud", "read"}
    for name, cost in expected.items():
        np.testing.assert_allclose(equal.sensitivity[name], cost, rtol=1e-3)


def test_a_channel_that_reaches_six_is_left_alone(net: Any, images: Any) -> None:
    graph = unbalanced(net, "RELU6").graph()
    before = compiled(graph, ("loud",))(images(16))[0].max((0, 1, 2))
    changed = equalize(graph, images(16), "per-tensor").graph
    after = compiled(changed, ("loud",))(images(16))[0].max((0, 1, 2))
    reached = before >= 5.99
    assert 0 < reached.sum() < 8
    np.testing.assert_allclose(after[reached], before[reached], rtol=1e-5)
    assert after.max() <= 6.0
    assert np.all(after[~reached] >= before[~reached] * 0.999)


def test_a_hard_swish_passes_factors_on_through_its_gate(net: Any, images: Any) -> None:
    """MUL(x, depthwise(x)): the gate stays as it is, x and the product are scaled together."""
    made = unbalanced(net, "NONE")
    swished = net(seed=3)
    swished.tensors, swished.ops, swished.at = dict(made.tensors), made.ops[:1], "loud"
    graph = swished.hard_swish("h").conv("read", 6, kernel=1, activation="NONE").graph()
    gated = with_scalable_gates(graph, gated_outputs(graph))
    streams = find_streams(gated)
    assert [set(stream.members) for stream in streams] == [{"loud", "h"}]
    assert {layer.output for layer in streams[0].makers} == {"loud"}
    assert {layer.output for layer in streams[0].readers} == {"h/gate", "read"}
    changed = equalize(gated, images(16), "per-channel").graph
    exact = predict(graph, images(6))
    np.testing.assert_allclose(predict(changed, images(6)), exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())
    assert find_streams(graph) == [], "with an ADD for a gate, nothing can be scaled"


def test_the_gain_is_where_channels_differ(net: Any, images: Any) -> None:
    graph = unbalanced(net, decades=1.5).conv("even", 6, kernel=1).conv("last", 4, kernel=1, activation="NONE").graph()
    gains = noise_gains(graph, ["loud", "even", "last"], images(16))
    assert gains["loud"] > 10 * max(gains["even"], 1e-9)
    assert gains["last"] == 0.0
