"""Feature maps by stride, and atrous convolutions in the place of steps down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.models import Variant
from mnedge.models.build import load_backbone
from mnedge.models.features import features, with_output_stride
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    import keras

FAMILIES = ("v1", "v2", "v3-small", "v3-large-minimalistic", "v4-conv-small")


def _backbone(family: str, side: int = 96) -> keras.Model:
    return load_backbone(Variant(family, 0.35 if family != "v1" else 0.25, side), "random", seed=1)


@pytest.mark.parametrize("family", rest_is_slow([*FAMILIES, "v4-hybrid-medium"], 3))
def test_every_stride_has_its_map(family: str) -> None:
    maps = features(_backbone(family))
    assert {stride: tensor.shape[1] for stride, tensor in maps.by_stride.items()} == {
        1: 96, 2: 48, 4: 24, 8: 12, 16: 6, 32: 3,
    }  # fmt: skip
    # V2, V3 and V4 widen once more for their classifier; V1 does not.
    assert (maps.narrow.shape[-1] < maps.last.shape[-1]) == (family != "v1")


@pytest.mark.parametrize("family", rest_is_slow(FAMILIES, 2, 1))
@pytest.mark.parametrize("stride", rest_is_slow((16, 8), slow=0))
def test_spread_kernels_see_what_steps_down_saw(family: str, stride: int) -> None:
    """A dilated network's map holds, in between, what the same network says of the picture moved by whole steps."""
    backbone = _backbone(family, 224)
    dense = with_output_stride(backbone, stride)
    assert dense.count_params() == backbone.count_params()
    image = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    coarse, fine = (np.asarray(model(image, training=False))[0] for model in (backbone, dense))
    ratio = 32 // stride
    assert fine.shape[:2] == (7 * ratio, 7 * ratio)
    if family.startswith("v3-small"):
        # Squeeze-and-excite averages over a map of another size, so its values differ a little everywhere.
        assert np.corrcoef(coarse[3, 3], _best_match(coarse[3, 3], fine))[0, 1] > 0.9
    else:
        np.testing.assert_allclose(_best_match(coarse[3, 3], fine), coarse[3, 3], atol=1e-3)


@pytest.mark.slow
def test_attention_takes_the_map_that_a_step_down_leaves() -> None:
    backbone = load_backbone(Variant("v4-hybrid-medium", 0.1, 80), "random")
    # Sides of 5 and 3, where twice the lower one is not the upper one.
    assert backbone.output_shape[1:3] == (3, 3)
    for stride, side in ((16, 5), (8, 10)):
        dense = with_output_stride(backbone, stride)
        assert dense.output_shape[1:3] == (side, side)
        assert dense.count_params() == backbone.count_params()
        assert max(features(dense).by_stride) == stride


def _best_match(wanted: np.ndarray, fine: np.ndarray) -> np.ndarray:
    distance = np.abs(fine - wanted).sum(-1)
    found: np.ndarray = fine[np.unravel_index(distance.argmin(), distance.shape)]
    return found


@pytest.mark.slow
def test_the_full_stride_changes_nothing() -> None:
    backbone = _backbone("v2")
    image = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    same = with_output_stride(backbone, 32)
    np.testing.assert_allclose(same(image, training=False), backbone(image, training=False), atol=1e-6)
