"""Equalization, gates, rounding with feedback, fitting and the learned step, each on its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled, predict, simulate
from mnedge.quantization.bias_correction import correct_biases
from mnedge.quantization.calibrate import observe
from mnedge.quantization.equalize import equalize
from mnedge.quantization.gates import gated_outputs, with_scalable_gates
from mnedge.quantization.interpret import first_output
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.quantized import agreement_of
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.reconstruct import reconstruct, round_with_feedback
from mnedge.quantization.scheme import scheme_of
from mnedge.quantization.streams import find_streams

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_equalization_keeps_the_function(outliers: Graph, pictures: Any, granularity: Any) -> None:
    equal = equalize(outliers, pictures, granularity).graph
    np.testing.assert_allclose(predict(equal, pictures), predict(outliers, pictures), atol=2e-5)
    largest = [np.abs(graph.tensors["w1"].real()).max(axis=(1, 2, 3)) for graph in (outliers, equal)]
    assert largest[1].max() / largest[1].min() < 0.1 * largest[0].max() / largest[0].min()


def test_a_hard_swish_stops_a_stream_and_a_scalable_gate_does_not(swish: Graph, pictures: Any) -> None:
    def scaled(graph: Graph) -> set[str]:
        return {name for stream in find_streams(graph) for name in stream.members}

    assert gated_outputs(swish) == ["swish"]
    changed = with_scalable_gates(swish, ["swish"])
    assert "swish" not in scaled(swish)
    assert {"conv3", "swish"} <= scaled(changed)
    assert len(changed.ops) == len(swish.ops)
    np.testing.assert_allclose(predict(changed, pictures), predict(swish, pictures), atol=1e-6)
    np.testing.assert_allclose(
        predict(equalize(changed, pictures, "per-channel").graph, pictures), predict(swish, pictures), atol=2e-5
    )


def test_bias_correction_takes_back_a_shift_of_the_mean(swish: Graph, pictures: Any) -> None:
    scheme = scheme_of(swish, pictures)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, pictures), "min-max"))
    shifted = {name: value + (0.3 if name == "b3" else 0.0) for name, value in parameters.biases.items()}
    wrong = replace(parameters, biases=shifted)
    right = correct_biases(scheme, wrong, pictures)
    exact = np.maximum(compiled(swish, ["conv3"])(pictures)[0], -3)

    def shift(candidate: Any) -> float:
        int8 = to_int8(scheme, candidate)
        made = np.maximum(compiled(int8, ["conv3"], on_tensor=simulate(int8))(pictures)[0], -3)
        return float(np.abs((made - exact).mean(axis=(0, 1, 2))).max())

    assert shift(right) < 0.1 * shift(wrong)


def test_feedback_loses_less_than_nearest_where_inputs_are_correlated() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 24)) + 0.1 * rng.normal(size=(4000, 24))
    hessian = (mixed.T @ mixed / 4000)[None]
    weights, step = rng.normal(size=(1, 8, 24)), np.full((1, 8), 0.05)
    rounded = round_with_feedback(weights, step, hessian)
    nearest = np.round(weights / 0.05) * 0.05
    np.testing.assert_allclose(rounded / 0.05, np.round(rounded / 0.05), atol=1e-9)

    def loss(candidate: Any) -> float:
        return float(np.mean((mixed @ (candidate - weights)[0].T) ** 2))

    assert loss(rounded) < 0.3 * loss(nearest)


def test_fitting_undoes_what_a_coarse_range_lost(outliers: Graph, pictures: Any, others: Any) -> None:
    scheme = scheme_of(outliers, pictures)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, pictures), "min-max"))
    fitted = reconstruct(scheme, parameters, pictures)
    reference = predict(outliers, others)
    before, after = (
        agreement_of("logits", reference, first_output(to_int8(scheme, item), others)) for item in (parameters, fitted)
    )
    assert after > before + 0.1
