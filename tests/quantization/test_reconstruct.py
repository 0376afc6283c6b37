"""Layers fitted in closed form: rounding that takes up its own error, and outputs that come closer to float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import predict, simulate
from mnedge.quantization.calibrate import observe
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.reconstruct import best_step, reconstruct, round_with_feedback
from mnedge.quantization.scheme import scheme_of


def correlated(rows: int = 600, taps: int = 12) -> np.ndarray:
    """Inputs whose taps say much the same, as neighbouring pixels do."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (rows, 3)) @ rng.normal(0, 1, (3, taps)) + 0.1 * rng.normal(0, 1, (rows, taps))


def test_feedback_rounds_onto_the_grid_with_less_error_than_nearest() -> None:
    rng = np.random.default_rng(1)
    inputs, weights = correlated(), rng.normal(0, 1, (1, 5, 12))
    step = np.full((1, 5), 0.3)
    hessian = (inputs.T @ inputs / len(inputs))[None] + 1e-3 * np.eye(12)
    made = round_with_feedback(weights, step, hessian)
    steps = made / step[..., None]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    nearest = np.round(weights / 0.3) * 0.3
    error, plain = (float(np.mean((inputs @ (rounded - weights)[0].T) ** 2)) for rounded in (made, nearest))
    assert error < 0.3 * plain


def test_uncorrelated_inputs_round_to_nearest() -> None:
    weights = np.random.default_rng(1).normal(0, 1, (2, 3, 6))
    step = np.random.default_rng(2).uniform(0.05, 0.3, (2, 3))
    made = round_with_feedback(weights, step, np.stack([np.diag(np.arange(1.0, 7.0))] * 2))
    np.testing.assert_allclose(made, np.round(weights / step[..., None]) * step[..., None])


def test_feedback_saturates() -> None:
    made = round_with_feedback(np.array([[[50.0, -50.0]]]), np.array([[0.1]]), np.eye(2)[None])
    np.testing.assert_allclose(made, [[[12.7, -12.7]]])


def test_weights_that_come_from_a_grid_get_it_back() -> None:
    """Files whose weights were int8 once: the largest step of a channel need not have been 127."""
    steps = np.random.default_rng(5).integers(-100, 101, (6, 1, 9)).astype(np.float64)
    steps[:, 0, 4] = 100
    weights = 0.02 * steps
    hessian = np.stack([np.eye(9)] * 6)
    chosen = best_step(weights, np.abs(weights).max(axis=2) / 127, hessian, hessian)
    np.testing.assert_allclose(chosen, 0.02)


def test_the_luckiest_grid_errs_least_on_the_inputs_at_hand() -> None:
    rng = np.random.default_rng(6)
    weights = rng.normal(0, 1, (20, 1, 9))
    inputs = correlated(taps=9)
    hessian = np.stack([inputs.T @ inputs / len(inputs) + 1e-3 * np.eye(9)] * 20)
    finest = np.abs(weights).max(axis=2) / 127
    chosen = best_step(weights, finest, hessian, hessian)
    assert np.all(chosen >= finest)

    def error(step: np.ndarray) -> np.ndarray:
        missed = round_with_feedback(weights, step, hessian) - weights
        return np.asarray(np.mean((missed[:, 0] @ inputs.T) ** 2, axis=1))

    assert np.all(error(chosen) <= error(finest) * (1 + 1e-6))
    assert error(chosen).mean() < 0.6 * error(finest).mean()


def fitted(graph: Any, images: np.ndarray, granularity: Any = "per-channel", **options: Any) -> Any:
    scheme = scheme_of(graph, images, granularity)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "mse"))
    return scheme, parameters, reconstruct(scheme, parameters, images, **options)


def error_of(scheme: Any, parameters: Any, images: np.ndarray) -> float:
    int8 = to_int8(scheme, parameters)
    exact = predict(scheme.graph, images)
    return float(np.mean((predict(int8, images, on_tensor=simulate(int8)) - exact) ** 2))


def test_outputs_come_closer_to_float_on_other_pictures(separable: Any, images: Any) -> None:
    # Under one scale per tensor, an outlier in each layer leaves the other weights a coarse grid.
    made = separable()
    for name in ("stem", "deep", "wide"):
        weights = made.tensors[f"{name}/w"].data
        weights.flat[0] = 6 * np.abs(weights).max()
    scheme, before, after = fitted(made.graph("wide"), images(64), "per-tensor")
    assert error_of(scheme, after, images(64, 8)) < 0.6 * error_of(scheme, before, images(64, 8))


def test_errors_do_not_gather_where_the_pictures_at_hand_show_next_to_nothing(net: Any, images: Any) -> None:
    """A channel that is all but dark in calibration keeps its weights: other pictures light it up."""
    dark = images(32).copy()
    dark[..., 2] = 0.02 * dark[..., 0]
    graph = net().conv("c", 8, activation="NONE").graph()
    scheme, before, after = fitted(graph, dark, refit=np.inf)
    for layer in scheme.layers:
        moved = np.abs(after.weights[layer.weights] - before.weights[layer.weights])[..., 2]
        # Half a step is what rounding to nearest may take.
        assert (moved / before.weight_scales[layer.weights][:, None, None]).max() < 1.0


def test_weights_lie_on_the_scales_that_are_shipped(separable: Any, images: Any) -> None:
    scheme, _, after = fitted(separable().graph(), images(16))
    int8 = to_int8(scheme, after)
    for layer in scheme.layers:
        np.testing.assert_allclose(
            int8.tensors[layer.weights].real(), after.weights[layer.weights], rtol=1e-4, atol=1e-6
        )


def test_without_refit_weights_are_only_rounded(separable: Any, images: Any) -> None:
    graph = separable().graph()
    scheme, before, after = fitted(graph, images(16), refit=np.inf)
    for layer in scheme.layers:
        scales, chosen = before.weight_scales[layer.weights], after.weight_scales[layer.weights]
        # Few taps take the best of grids that are up to a third coarser.
        few = scheme.graph.tensors[layer.weights].real().size <= 32 * scales.size
        assert np.all(chosen >= scales * (1 - 1e-6))
        assert np.all(chosen <= scales * (1.31 if few else 1 + 1e-6))
        # Feedback moves a weight by a few steps at most.
        assert np.abs(after.weights[layer.weights] - before.weights[layer.weights]).max() < 8 * scales.max()


def test_a_seed_chooses_the_pixels(net: Any, images: Any) -> None:
    graph = net().conv("c", 4).conv("d", depthwise=True).conv("e", 3, kernel=1).graph()
    results = [fitted(graph, images(8), seed=seed, rows=100)[2].weights["c/w"] for seed in (0, 0, 1)]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("multiplicity", [1, 2])
def test_depthwise_layers_are_fitted_channel_by_channel(net: Any, images: Any, multiplicity: int) -> None:
    made = net().conv("c", 4)
    weights = made.constant("w", made.rng.normal(0, 0.4, (1, 3, 3, 4 * multiplicity)).astype(np.float32))
    bias = made.constant("b", np.zeros(4 * multiplicity, np.float32))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "activation": "NONE", "depth_multiplier": multiplicity}
    made.op("DEPTHWISE_CONV_2D", "d", ("c", weights, bias), (1, 4, 4, 4 * multiplicity), **options)
    scheme, before, after = fitted(made.graph(), images(32))
    assert error_of(scheme, after, images(32)) <= 1.05 * error_of(scheme, before, images(32))


def test_progress_ends_at_one(separable: Any, images: Any) -> None:
    told: list[float] = []
    fitted(separable().graph(), images(4), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
