"""Keras models of variants: shapes, random weights that do not depend on what was built before, backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import build_model, classes_of, load_backbone, packaged_demo

if TYPE_CHECKING:
    from pathlib import Path

TINY = Variant("v1", 0.25, 32, classes=5)


def image(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)


def test_a_classifier_gives_shares_of_its_classes() -> None:
    model = build_model(TINY, "random")
    assert model.name == "mobilenet_v1_0.25_32"
    assert model.input_shape == (1, 32, 32, 3)
    scores = np.asarray(model(image()))
    assert scores.shape == (1, 5)
    assert np.isclose(scores.sum(), 1)


def test_a_seed_makes_the_weights_and_nothing_else_does() -> None:
    first = build_model(TINY, "random", seed=3)
    build_model(Variant("v1", 0.5, 32, classes=3), "random")
    again, other = build_model(TINY, "random", seed=3), build_model(TINY, "random", seed=4)
    assert [weight.path for weight in first.weights] == [weight.path for weight in again.weights]
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_random_weights_keep_the_variance_alive() -> None:
    """He et al. 2015: activations neither die nor blow up on the way to the classifier."""
    spread = np.asarray(load_backbone(TINY, "random")(image())).std()
    assert 0.05 < spread < 20


def test_a_backbone_is_the_classifier_without_its_head() -> None:
    backbone, classifier = load_backbone(TINY, "random", seed=1), build_model(TINY, "random", seed=1)
    assert backbone.output_shape == (1, 1, 1, 256)
    trained = {layer.name: layer.get_weights() for layer in classifier.layers}
    for layer in backbone.layers:
        for one, two in zip(layer.get_weights(), trained[layer.name], strict=True):
            assert np.array_equal(one, two), layer.name


def test_weights_say_their_classes() -> None:
    demo = packaged_demo(Variant("v3-small", 1.0, 96, classes=10))
    assert demo is not None
    assert classes_of(Variant("v3-small", 1.0, 96), demo) == 10
    assert [classes_of(TINY, weights) for weights in ("demo", "imagenet", "random")] == [10, 1000, None]


def test_a_demo_that_is_not_packaged_says_so() -> None:
    assert packaged_demo(TINY) is None
    with pytest.raises(InputError, match=r"no packaged demo checkpoint of mobilenet_v1_0\.25_32 with 5 classes"):
        build_model(TINY, "demo")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.h5"):
        build_model(TINY, tmp_path / "gone.h5")
