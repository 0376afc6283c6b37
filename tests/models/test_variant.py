import math

import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.models.variant import Variant, check_compiles, sides_by_stride
from tests.slow import rest_is_slow


@pytest.mark.parametrize(
    ("variant", "slug"),
    [
        (Variant("v3-small", 1.0, 224), "mobilenet_v3_small_1.0_224"),
        (Variant("v1", 0.25, 224), "mobilenet_v1_0.25_224"),
        (Variant("v2", 1, 96), "mobilenet_v2_1.0_96"),
        (Variant("v3-small-minimalistic"), "mobilenet_v3_small_minimalistic_1.0_224"),
        (Variant("v3-large-minimalistic"), "mobilenet_v3_large_minimalistic_1.0_224"),
    ],
)
def test_a_slug_names_family_width_and_resolution(variant: Variant, slug: str) -> None:
    assert variant.slug == slug


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("v3small",), "did you mean 'v3-small'"),
        (("v4",), "Known: v1, v2, v3-large"),
        (("v1", 0.0), "0.25, 0.5, 0.75, 1.0"),
        (("v1", 0.03), "the smallest is 0.03125"),
        (("v2", -1.0), "0.35, 0.5, 0.75, 1.0, 1.3, 1.4"),
        (("v2", math.nan), "is not a width"),
        (("v2", math.inf), "is not a width"),
        (("v2", 100.0), "2 GiB"),
        (("v2", 1.0, 31), "the smallest is 32; published are 96, 128, 160, 192, 224"),
        (("v2", 1.0, 0), "the smallest is 32"),
        (("v2", 1.0, 10**6), "2 GiB"),
        (("v2", 1.0, 224, 1), "2 or more"),
        (("v2", 1.0, 224, 10**7), "2 GiB"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_near(arguments: tuple, said: str) -> None:
    with pytest.raises(InputError) as error:
        Variant(*arguments)
    assert said in str(error.value)
    assert str(arguments[-1]) in str(error.value)


@pytest.mark.parametrize(
    ("family", "resolution"), rest_is_slow([("v1", 97), ("v3-large", 33), ("v2", 97), ("v3-small", 160)])
)
def test_maps_are_as_large_as_those_of_the_keras_backbone(family: str, resolution: int) -> None:
    from mnedge.models.build import load_backbone
    from mnedge.models.features import features

    variant = Variant(family, 0.5, resolution)
    maps = features(load_backbone(variant, "random")).by_stride
    assert sides_by_stride(variant) == {stride: tuple(found.shape[1:3]) for stride, found in maps.items()}


def test_an_output_stride_that_a_head_cannot_stand_on_is_refused() -> None:
    with pytest.raises(InputError, match="output stride 4 is none that lr-aspp can stand on; it takes 16, 32, 8"):
        Variant("v2", head="lr-aspp", output_stride=4)
    with pytest.raises(InputError, match="output stride 16 is none that embedding can stand on; it takes 32"):
        Variant("v2", head="embedding", output_stride=16)


def test_attention_is_refused_where_c_runs_before_anything_is_built() -> None:
    said = r"v4-hybrid-medium has BATCH_MATMUL, .* and cortex-m4 runs C; take one of v1, .*v4-conv-large, or"
    with pytest.raises(UnsupportedError, match=said):
        check_compiles(Variant("v4-hybrid-medium"), "cortex-m4")
    check_compiles(Variant("v4-hybrid-medium"), "cpu")
    check_compiles(Variant("v4-conv-medium"), "cortex-m4")
