"""Ranges: min-max, percentile, least squared error, and what the outputs lose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.quantization.calibrate import Statistics, observe
from mnedge.quantization.ranges import (
    RANGE_METHODS,
    choose_ranges,
    least_squares,
    min_max,
    percentile,
    squared_error,
)
from mnedge.quantization.scheme import range_quantization, scheme_of

if TYPE_CHECKING:
    from mnedge.graph.graph import Quantization


def seen(values: Any) -> Statistics:
    rows = np.asarray(values, np.float32).reshape(len(values), -1)
    return Statistics(float(rows.min()), float(rows.max()), {"t": rows})


def spiked(count: int = 20_000) -> np.ndarray:
    """Normal values, and two spikes a hundred times as far out."""
    values = np.random.default_rng(0).normal(0, 1, count)
    values[:2] = -100, 120
    return values


def error_of(quantization: Quantization, values: np.ndarray) -> float:
    """Squared error of the int8 grid itself, through Quantization instead of the search's own formula."""
    return float(np.sum((quantization.dequantize(quantization.quantize(values, "int8")) - values) ** 2))


def test_min_max_always_holds_zero() -> None:
    assert min_max(seen([2.0, 3.0])) == (0.0, 3.0)
    assert min_max(seen([-2.0, -1.0])) == (-2.0, 0.0)


def test_a_percentile_leaves_spikes_out() -> None:
    low, high = percentile(seen(spiked()))
    assert -6 < low < -3
    assert 3 < high < 6
    assert percentile(seen([1.0, 2.0]))[0] == 0.0


def test_the_error_is_that_of_the_grid() -> None:
    values = np.random.default_rng(1).normal(0.4, 1, 500)
    for low, high in [(-1.0, 2.0), (-3.5, 0.7), (0.0, 3.0)]:
        ours = squared_error(values, np.ones(500), low, high)
        assert np.isclose(ours, error_of(range_quantization(low, high), values), rtol=1e-3)
    assert squared_error(values, np.ones(500), 0.0, 0.0) == np.inf


@pytest.mark.parametrize("skew", ["normal", "one-sided", "spiked"])
def test_least_squares_is_near_the_best_of_all(skew: str) -> None:
    rng = np.random.default_rng(2)
    values = {"normal": rng.normal(0, 1, 4000), "one-sided": rng.exponential(1, 4000), "spiked": spiked(4000)}[skew]
    statistics = seen(values)
    found = error_of(range_quantization(*least_squares(statistics)), values)
    low, high = min_max(statistics)
    # An independent search over a finer grid, on the values themselves.
    best = min(
        error_of(range_quantization(low * a, high * b), values)
        for a in np.linspace(0.1, 1, 40) for b in np.linspace(0.1, 1, 40)
    )  # fmt: skip
    assert found <= error_of(range_quantization(low, high), values) * 1.001
    assert found <= best * 1.15


def test_importance_moves_the_range_to_the_channel_that_counts() -> None:
    rng = np.random.default_rng(3)
    rows = np.stack([rng.normal(0, 0.05, 3000), rng.normal(0, 5, 3000)], 1)
    statistics = Statistics(float(rows.min()), float(rows.max()), {"t": rows.astype(np.float32)})
    quiet = least_squares(statistics, {"t": np.array([2.0, 0.0])})
    loud = least_squares(statistics, {"t": np.array([0.0, 2.0])})
    assert quiet[1] - quiet[0] < 0.5 * (loud[1] - loud[0])


def test_a_constant_tensor_keeps_its_ends() -> None:
    assert least_squares(seen(np.zeros(10))) == (0.0, 0.0)


def test_the_range_goes_by_what_noise_costs_the_outputs(net: Any, images: Any) -> None:
    """The channel that decides keeps its extremes, whether it is the loud one or the quiet one."""
    scheme = scheme_of(net().conv("c", 2).conv("d", 3, kernel=1, activation="NONE").graph(), images(4))
    rng = np.random.default_rng(3)
    rows = np.abs(np.stack([rng.normal(0, 0.05, 3000), rng.normal(0, 5, 3000)], 1)).astype(np.float32)
    statistics = observe(scheme, images(4)) | {"c": Statistics(0.0, float(rows.max()), {"c": rows})}

    def high(*costs: float) -> float:
        return choose_ranges(scheme, statistics, "output", {"c": np.array(costs)})["c"][1]

    assert high(1e-3, 1e-9) < 0.5 * high(1e-6, 1e-3)
    # Only their proportion counts; and a cost of 0, or of other channels, says nothing.
    assert high(1e-9, 1e-6) == high(1e-6, 1e-3)
    assert high(0.0, 0.0) == high(1.0, 1.0, 1.0) == choose_ranges(scheme, statistics, "mse")["c"][1]


def test_members_of_a_group_count_by_what_their_noise_costs(net: Any, images: Any) -> None:
    """Not by the number of their pixels."""
    made = net().conv("c", 2)
    made.op("MAX_POOL_2D", "p", ("c",), (1, 4, 4, 2), filter_height=2, filter_width=2, stride_h=2, stride_w=2,
            padding="VALID", activation="NONE")  # fmt: skip
    made.conv("d", 3, kernel=1, activation="NONE")
    scheme = scheme_of(made.graph(), images(4))
    assert scheme.group["c"] == scheme.group["p"]
    rng = np.random.default_rng(4)
    loud, quiet = (np.abs(rng.normal(0, size, (count, 2))).astype(np.float32) for size, count in ((5, 300), (0.05, 9)))
    group = scheme.group["c"]
    statistics = observe(scheme, images(4)) | {group: Statistics(0.0, float(loud.max()), {"c": loud, "p": quiet})}

    def high(costs: dict[str, float]) -> float:
        shares = {name: np.full(2, cost) for name, cost in costs.items()}
        return choose_ranges(scheme, statistics, "output", shares)[group][1]

    assert high({"c": 1e-7, "p": 1.0}) < high({"c": 1.0, "p": 1.0}) == high({"c": 1.0})


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_every_free_group_gets_a_range_inside_what_was_seen(separable: Any, images: Any, method: str) -> None:
    scheme = scheme_of(separable().graph(), images(8))
    statistics = observe(scheme, images(8))
    ranges = choose_ranges(scheme, statistics, method)
    assert set(ranges) == set(scheme.free_groups)
    for name, (low, high) in ranges.items():
        widest = min_max(statistics[name])
        assert widest[0] <= low <= 0 <= high <= widest[1]
    if method == "min-max":
        assert ranges == {name: min_max(statistics[name]) for name in ranges}


def test_constants_keep_min_and_max(net: Any, images: Any) -> None:
    scheme = scheme_of(net().conv("c", 3, activation="NONE").hard_swish("h").conv("d", 2).graph(), images(4))
    ranges = choose_ranges(scheme, observe(scheme, images(4)), "mse")
    assert ranges[scheme.group["h/three"]] == (0.0, 3.0)


def test_an_unknown_method_names_the_known(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(4))
    with pytest.raises(InputError, match=r"unknown range method 'minmax'; did you mean 'min-max'\?"):
        choose_ranges(scheme, observe(scheme, images(4)), "minmax")


def test_scores_and_what_relu6_bounds_keep_their_ends(separable: Any, images: Any) -> None:
    """The largest score is the answer, and nothing above 6 is left to cut: a spike there is no outlier."""
    scheme = scheme_of(separable().graph(), images(8))
    statistics = observe(scheme, images(8))
    for name, spike in (("logits", 60.0), ("deep", 6.0)):
        rows = np.random.default_rng(0).uniform(0, spike / 100, (4000, statistics[name].samples[name].shape[1]))
        rows[0, 0] = spike
        statistics[name] = Statistics(0.0, spike, {name: rows.astype(np.float32)})
    whole, cut = (choose_ranges(scheme, statistics, method) for method in ("output", "percentile"))
    for name, spike in (("logits", 60.0), ("deep", 6.0)):
        assert whole[name] == (0.0, spike)
        assert cut[name][1] < 0.5 * spike
