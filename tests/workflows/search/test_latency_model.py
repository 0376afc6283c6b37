"""The model of latency, on machines whose law is known and on one whose is not."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge.models import Variant
from mnedge.models.cost import cost
from mnedge.workflows.search.candidates import candidates
from mnedge.workflows.search.latency_model import features, fit, spread

_SPACE = [one.variant for one in candidates(10)]


def _law(variant: Variant) -> float:
    """A machine with 1 GMAC/s for dense layers, a tenth of it for depthwise ones, and 50 us a call."""
    _, dense, depthwise, *_ = features(variant)
    return float(0.05 + dense / 1e6 + depthwise / 1e5)


def test_features_add_up_to_the_published_multiply_adds() -> None:
    variant = Variant("v2", 1.0, 224)
    _, dense, depthwise, written, layers = features(variant)
    assert dense + depthwise == cost(variant).macs
    assert 0.05 < depthwise / dense < 0.1
    assert written > 0
    assert layers > 50


def test_a_law_of_that_form_is_found_from_a_handful() -> None:
    handful = spread(_SPACE, 8)
    model = fit({variant: _law(variant) for variant in handful})
    assert model.worst_error is not None
    assert model.worst_error < 0.01
    for variant in _SPACE:
        assert model.predict_ms(variant) == pytest.approx(_law(variant), rel=0.01)


def test_the_stated_error_is_that_of_the_noise() -> None:
    generator = np.random.default_rng(0)
    noisy = {variant: _law(variant) * float(generator.uniform(0.8, 1.25)) for variant in spread(_SPACE, 12)}
    model = fit(noisy)
    assert model.median_error is not None
    assert model.worst_error is not None
    assert 0.02 < model.median_error < 0.3
    assert model.median_error <= model.worst_error


def test_no_term_makes_a_network_faster() -> None:
    # A machine that is slower for small networks; a plain least squares fit would get a negative weight.
    times = {variant: 1e3 / float(features(variant)[1]) + 1.0 for variant in spread(_SPACE, 6)}
    model = fit(times)
    assert min(model.weights) >= 0.0
    assert sum(model.weights) > 0.0


def test_too_few_have_no_error() -> None:
    model = fit({variant: _law(variant) for variant in spread(_SPACE, 3)})
    assert model.worst_error is None


def test_what_is_measured_lies_apart() -> None:
    chosen = spread(_SPACE, 8)
    assert len(set(chosen)) == 8
    macs = sorted(cost(variant).macs for variant in _SPACE)
    taken = [cost(variant).macs for variant in chosen]
    assert min(taken) < macs[len(macs) // 10]
    assert max(taken) > macs[-len(macs) // 10]
    assert len({variant.family for variant in chosen}) >= 3
    assert spread(_SPACE[:2] * 3, 8) == spread(_SPACE[:2], 8)
    assert spread([], 8) == []
