"""Heads that segment: their shapes on every backbone, and the papers' structure."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge import tasks
from mnedge.errors import InputError
from mnedge.models import Variant, heads
from mnedge.models.build import build_model
from tests.slow import rest_is_slow

FAMILIES = (("v1", 0.25), ("v2", 0.35), ("v3-small", 1.0))


@pytest.mark.parametrize(("family", "alpha"), rest_is_slow(FAMILIES, slow=0))
@pytest.mark.parametrize(
    ("head", "stride"), rest_is_slow([("lr-aspp", 16), ("deeplab", 8), ("lr-aspp", 8), ("deeplab", 16)], 2)
)
def test_every_pixel_has_a_score_of_every_class(family: str, alpha: float, head: str, stride: int) -> None:
    model = build_model(Variant(family, alpha, 64, 4, head, stride), "random")
    image = np.zeros((1, 64, 64, 3), np.float32)
    assert np.asarray(model(image, training=False)).shape == (1, 64, 64, 4)
    assert model.output_names == ["logits"]


def test_a_side_that_no_stride_divides_works_too() -> None:
    model = build_model(Variant("v2", 0.35, 72, 3, "lr-aspp"), "random")
    assert model.output_shape == (1, 72, 72, 3)


@pytest.mark.slow
def test_deeplab_spreads_its_branches_twice_as_far_at_stride_8() -> None:
    rates = {}
    for stride in (16, 8):
        model = build_model(Variant("v2", 0.35, 512, 21, "deeplab", stride), "random")
        layers = [layer for layer in model.layers if layer.name.startswith("head_aspp_") and hasattr(layer, "strides")]
        rates[stride] = sorted({layer.dilation_rate[0] for layer in layers if "depthwise" in layer.name})
    # https://arxiv.org/abs/1706.05587, section 3.3.
    assert rates == {16: [6, 12, 18], 8: [12, 24, 36]}


def test_a_head_has_a_name_of_its_own_and_refuses_what_it_cannot_stand_on() -> None:
    assert Variant("v3-small", 1.0, 224, 3, "lr-aspp").slug == "lr_aspp_mobilenet_v3_small_1.0_224"
    assert Variant("v3-small", 1.0, 224, 3, "lr-aspp").output_stride == 16
    assert Variant("v3-small").output_stride == 32
    with pytest.raises(InputError, match=r"output stride 4 is none that lr-aspp can stand on; it takes 16, 32, 8"):
        Variant("v2", 1.0, 224, 3, "lr-aspp", 4)
    with pytest.raises(InputError, match=r"unknown head 'lraspp'; did you mean 'lr-aspp'"):
        Variant("v2", 1.0, 224, 3, "lraspp")
    served = [head for name in tasks.names() for head in tasks.get(name).heads]
    assert sorted(served) == sorted([*heads.names(), "classifier"])


@pytest.mark.slow
def test_weights_of_another_head_are_refused(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "w.weights.h5"
    build_model(Variant("v2", 0.35, 64, 3, "lr-aspp"), "random").save_weights(path)
    assert build_model(Variant("v2", 0.35, 96, 3, "lr-aspp"), path).output_shape == (1, 96, 96, 3)
    with pytest.raises(InputError, match=r"does not hold deeplab_mobilenet_v2_0\.35_64"):
        build_model(Variant("v2", 0.35, 64, 3, "deeplab"), path)
