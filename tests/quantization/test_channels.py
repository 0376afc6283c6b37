"""What is known of every channel, against numpy and against noise that is really added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled
from mnedge.quantization.channels import channel_statistics, sensitivities
from mnedge.quantization.gates import gated_outputs, with_scalable_gates


def test_statistics_are_those_of_numpy(separable: Any, images: Any) -> None:
    graph = separable().graph()
    found = channel_statistics(graph, ["deep", "mean"], images(10))
    deep, mean = (value.astype(np.float64) for value in compiled(graph, ("deep", "mean"))(images(10)))
    np.testing.assert_allclose(found["deep"].low, deep.min((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["deep"].high, deep.max((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["deep"].typical_high, deep.max((1, 2)).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["deep"].power, (deep**2).mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["mean"].power, (mean**2).mean(0), rtol=1e-5)


def test_one_pixel_in_a_thousand_is_not_typical(net: Any) -> None:
    graph = net(shape=(1, 40, 40, 1)).conv("c", 1, kernel=1, weights=np.ones(1), bias=[0.0], activation="NONE").graph()
    pictures = np.zeros((2, 40, 40, 1), np.float32)
    pictures[:, 0, 0], pictures[:, 20] = 100.0, 1.0
    found = channel_statistics(graph, ["c"], pictures)["c"]
    assert (found.high[0], found.typical_high[0]) == (100.0, 1.0)


@pytest.mark.parametrize("output", ["scores", "logits"])
def test_noise_costs_what_the_sensitivity_says(separable: Any, images: Any, output: str) -> None:
    """The divergence that real noise causes in the outputs, channel by channel."""
    graph, pictures = separable().graph(output), images(32)
    names = ["stem", "wide"]
    found = sensitivities(graph, names, pictures, draws=8)
    exact = compiled(graph, ("logits",))(pictures)[0].astype(np.float64)
    random = np.random.default_rng(0)
    for name in names:
        spread = compiled(graph, (name,))(pictures)[0].std()
        for channel in np.argsort(-found[name])[:3]:
            noise = np.zeros((len(pictures), *graph.tensors[name].shape[1:]), np.float32)
            costs = []
            for _ in range(6):
                noise[..., channel] = random.normal(0, 0.05 * spread, noise.shape[:-1])

                def on_tensor(at: str, value: Any, name: str = name, noise: Any = noise) -> Any:
                    return value + noise if at == name else value

                made = compiled(graph, ("logits",), on_tensor=on_tensor)(pictures)[0].astype(np.float64)
                costs.append(_divergence(exact, made, classes=output == "scores"))
            expected = found[name][channel] * (0.05 * spread) ** 2
            assert 0.5 < np.mean(costs) / expected < 2.0


def _divergence(exact: Any, made: Any, *, classes: bool) -> float:
    """Mean over pictures, in nats; outputs that are no classes as Gaussians, a mean over them."""
    if not classes:
        return float(np.mean((made - exact) ** 2) / exact.var() / 2)
    log = [value - np.log(np.exp(value).sum(-1, keepdims=True)) for value in (exact, made)]
    return float(np.mean(np.sum(np.exp(log[0]) * (log[0] - log[1]), -1)))


def test_what_nothing_depends_on_costs_nothing(net: Any, images: Any) -> None:
    graph = net().conv("c", 2, kernel=1, weights=np.array([[1, 0, 0], [1, 0, 0]]), activation="NONE").graph()
    found = sensitivities(graph, ["x", "c"], images(4))
    assert found["x"][0] > 0
    np.testing.assert_array_equal(found["x"][1:], 0)


def test_only_what_a_hard_swish_sees_counts_as_low(net: Any, images: Any) -> None:
    made = net().conv("c", 2, kernel=1, activation="NONE", weights=9 * np.ones((2, 1, 1, 3)), bias=[-5.0, 2.0])
    graph = made.hard_swish("h").conv("d", 2).graph()
    for changed in (graph, with_scalable_gates(graph, gated_outputs(graph))):
        found = channel_statistics(changed, ["c"], images(16))["c"]
        np.testing.assert_allclose(found.low, -3.0)
        assert np.all(found.typical_low >= -3.0)
