"""Statistics of activations against NumPy over the whole tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.executor import compiled
from mnedge.quantization.calibrate import check_finite, observe
from mnedge.quantization.scheme import scheme_of


def test_ends_and_samples_are_those_of_the_tensors(separable: Any, images: Any) -> None:
    graph = separable().graph()
    scheme = scheme_of(graph, images(10))
    found = observe(scheme, images(10))
    assert set(found) == set(scheme.free_groups)
    for group, statistics in found.items():
        members = [name for name in scheme.group if scheme.group[name] == group]
        tensors = compiled(scheme.graph, members)(images(10))
        assert np.isclose(statistics.low, min(value.min() for value in tensors), atol=1e-5)
        assert np.isclose(statistics.high, max(value.max() for value in tensors), atol=1e-5)
        for name, whole in zip(members, tensors, strict=True):
            rows = statistics.samples[name]
            assert rows.shape[1] == whole.shape[-1]
            # All pixels of such small pictures are taken.
            np.testing.assert_allclose(np.sort(rows.ravel()), np.sort(whole.ravel()), atol=1e-5)
        assert statistics.values.size == sum(value.size for value in tensors)


def test_large_activations_are_sampled(net: Any, images: Any) -> None:
    scheme = scheme_of(net(shape=(1, 64, 64, 3)).conv("c", 4, kernel=1).graph(), images(2, side=64))
    pictures = images(3, side=64)
    statistics = observe(scheme, pictures)["c"]
    assert statistics.samples["c"].shape == (3 * 512, 4)
    whole = compiled(scheme.graph, ("c",))(pictures)[0]
    assert np.isclose(statistics.high, whole.max(), rtol=1e-5)
    # Another engine: every sample is a value of the tensor but for the last bits.
    known = np.sort(whole.ravel())
    samples = statistics.samples["c"].ravel()
    above = np.searchsorted(known, samples).clip(1, known.size - 1)
    assert np.minimum(abs(known[above] - samples), abs(known[above - 1] - samples)).max() < 1e-5


def test_every_image_is_sampled_at_places_of_its_own(net: Any) -> None:
    """What happens only at one place, such as an edge, shows in the samples of some of the images."""
    pictures = np.zeros((40, 64, 64, 3), np.float32)
    pictures[:, 0, 0] = 1.0
    weights = np.ones((4, 1, 1, 3), np.float32)
    scheme = scheme_of(net(shape=(1, 64, 64, 3)).conv("c", 4, kernel=1, weights=weights).graph(), pictures[:2])
    statistics = observe(scheme, pictures)["c"]
    background = np.median(statistics.values, axis=0)
    bright = (statistics.samples["c"] > background + 1).all(axis=1).reshape(40, -1).any(axis=1)
    assert 0 < bright.sum() < 40


def test_a_seed_chooses(net: Any, images: Any) -> None:
    scheme = scheme_of(net(shape=(1, 64, 64, 3)).conv("c", 4, kernel=1).graph(), images(2, side=64))
    pictures = images(3, side=64)
    first = observe(scheme, pictures, seed=1)["c"].values
    assert np.array_equal(first, observe(scheme, pictures, seed=1)["c"].values)
    assert not np.array_equal(first, observe(scheme, pictures, seed=2)["c"].values)


def test_values_that_do_not_matter_are_cut(net: Any, images: Any) -> None:
    loud = net().conv("c", 3, activation="NONE", weights=np.random.default_rng(0).normal(0, 3, (3, 3, 3, 3)))
    scheme = scheme_of(loud.hard_swish("h").conv("d", 2).graph(), images(6))
    found = observe(scheme, images(6))
    assert compiled(scheme.graph, ("c",))(images(6))[0].min() < -3
    assert found["c"].low == -3
    assert found["c"].values.min() == -3
    assert found[scheme.group["h/gate"]].high <= 6


def test_a_constant_is_known(net: Any, images: Any) -> None:
    scheme = scheme_of(net().conv("c", 3, activation="NONE").hard_swish("h").conv("d", 2).graph(), images(4))
    three = observe(scheme, images(4))[scheme.group["h/three"]]
    assert (three.low, three.high, three.values.tolist()) == (0.0, 3.0, [3.0])


def test_a_divisor_that_comes_near_zero_is_refused(net: Any, images: Any) -> None:
    """LiteRT's int8 DIV ends the inference where a divisor's step stands for 0."""

    def divided(shift: float) -> Any:
        made = net().conv("c", 3)
        made.op("ADD", "d", ("c", made.constant("shift", np.float32(shift))), (1, 8, 8, 3), activation="NONE")
        made.op("DIV", "q", ("c", "d"), (1, 8, 8, 3), activation="NONE")
        return scheme_of(made.graph(), images(6))

    assert "q" in observe(divided(1.0), images(6))
    with pytest.raises(UnsupportedError, match=r"the DIV that makes q divides by d, .* near to 0 as 0\.001 "):
        observe(divided(0.001), images(6))
    made = net().conv("c", 3).op("DIV", "q", ("c", "x"), (1, 8, 8, 3), activation="NONE")
    with pytest.raises(UnsupportedError, match=r"divides by x, .* keep it float with --allow-float DIV"):
        observe(scheme_of(made.graph(), images(6)), images(6))
    made = net().conv("c", 3)
    made.op("DIV", "q", ("c", made.constant("d", np.array([1.0, 1e-4, 2.0], np.float32))), (1, 8, 8, 3),
            activation="NONE")  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"divides by d, which comes as near to 0 as 0\.0001"):
        observe(scheme_of(made.graph(), images(6)), images(6))


@pytest.mark.parametrize(("value", "words"), [(np.nan, "holds"), (np.inf, "holds"), (3e38, "makes values in")])
def test_a_network_that_computes_no_numbers_is_refused_by_the_op_that_makes_them(
    separable: Any, images: Any, value: float, words: str
) -> None:
    graph = separable(activation="NONE").graph()
    first = next(op for op in graph.ops if op.kind == "CONV_2D")
    weights = graph.tensors[first.inputs[1]]
    damaged = weights.data.copy()
    damaged.flat[0] = value
    graph = graph.replaced(tensors=[replace(weights, data=damaged)])
    with pytest.raises(InputError, match=rf"\(CONV_2D\).* {words} .*infinite"):
        check_finite(graph, images(4) * np.float32(100))
    with pytest.raises(InputError, match="calibration inputs hold values that are infinite"):
        check_finite(graph, images(4) * np.float32(np.nan))
