"""Biases that take back what rounding did to the mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled, predict, simulate
from mnedge.quantization.bias_correction import correct_biases
from mnedge.quantization.calibrate import observe
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.scheme import scheme_of


def shifted(graph: Any, images: np.ndarray) -> Any:
    """A scheme, and parameters whose weights were all rounded down to coarse steps: the mean of every layer moves."""
    scheme = scheme_of(graph, images)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))
    coarse = {name: np.floor(value / 0.05).astype(np.float32) * np.float32(0.05)
              for name, value in parameters.weights.items()}  # fmt: skip
    return scheme, replace(parameters, weights=coarse)


def mean_errors(scheme: Any, parameters: Any, images: np.ndarray) -> dict[str, float]:
    """Root mean square over channels of int8 mean minus float mean, by layer, relative to the layer's spread."""
    names = [layer.output for layer in scheme.layers]
    int8 = to_int8(scheme, parameters)
    exact = compiled(scheme.graph, names)(images)
    made = compiled(int8, names, on_tensor=simulate(int8))(images)
    errors = {}
    for name, one, other in zip(names, exact, made, strict=True):
        axes = tuple(range(one.ndim - 1))
        errors[name] = float(np.sqrt(np.mean((one.mean(axes) - other.mean(axes)) ** 2)) / one.std())
    return errors


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
def test_means_come_back(separable: Any, images: Any, activation: str) -> None:
    graph = separable(activation=activation).graph("logits")
    scheme, parameters = shifted(graph, images(24))
    before = mean_errors(scheme, parameters, images(24))
    corrected = correct_biases(scheme, parameters, images(24))
    after = mean_errors(scheme, corrected, images(24))
    for name in before:
        assert after[name] < max(0.4 * before[name], 0.03), (name, before[name], after[name])
    assert corrected.weights is parameters.weights
    assert corrected.ranges is parameters.ranges


def test_the_output_comes_closer_on_other_pictures(separable: Any, images: Any) -> None:
    graph = separable().graph("logits")
    scheme, parameters = shifted(graph, images(24))
    errors = []
    for candidate in (parameters, correct_biases(scheme, parameters, images(24))):
        int8 = to_int8(scheme, candidate)
        made = predict(int8, images(40, 9), on_tensor=simulate(int8))
        errors.append(float(np.mean((made - predict(graph, images(40, 9))) ** 2)))
    assert errors[1] < 0.7 * errors[0]


def test_values_that_hard_swish_makes_zero_do_not_count(net: Any, images: Any) -> None:
    """Far below -3 the float mean is whatever it is; int8 does not reach there, and the bias must not try."""
    deep = net().conv("c", 2, kernel=1, activation="NONE", weights=np.ones((2, 1, 1, 3)), bias=[-40.0, 1.0])
    scheme = scheme_of(deep.hard_swish("h").conv("d", 2).graph(), images(16))
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images(16)), "min-max"))
    corrected = correct_biases(scheme, parameters, images(16))
    np.testing.assert_allclose(corrected.biases["c/b"], parameters.biases["c/b"], atol=0.05)
