import numpy as np
import pytest

from mnedge.data.anchors import PER_CELL, paper_shapes, place_anchors
from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.models.heads.ssdlite import map_sides
from tests.slow import rest_is_slow


def _variant(family: str, resolution: int, classes: int = 3) -> Variant:
    return Variant(family, {"v1": 0.25, "v2": 0.35}.get(family, 0.75), resolution, classes, head="ssdlite")


@pytest.mark.parametrize(
    ("family", "resolution"),
    rest_is_slow(
        [("v1", 97), ("v2", 33), ("v3-small", 97), ("v1", 300), ("v2", 96), ("v2", 300), ("v3-large", 160)], 2, 1
    ),
)
def test_anchors_fit_the_maps_of_every_size(family: str, resolution: int) -> None:
    model = build_model(_variant(family, resolution), "random")
    sides = tuple(model.get_layer(f"box_{place}_predict").output.shape[1:3] for place in range(6))
    assert sides == map_sides(_variant(family, resolution))
    anchors = PER_CELL * sum(height * width for height, width in sides)
    assert model.output_names == ["scores", "boxes"]
    assert [tuple(output.shape) for output in model.outputs] == [(1, anchors, 3), (1, anchors, 4)]
    assert len(place_anchors(sides, paper_shapes())) == anchors


@pytest.mark.slow
def test_the_first_map_is_the_expansion_before_the_last_step_down() -> None:
    # MobileNet V2, section 6.2: the first layer of SSDLite is attached to the expansion of layer 15.
    model = build_model(_variant("v2", 224), "random")
    expansion = model.get_layer("block_13_expand_relu").output
    assert model.get_layer("box_0_depthwise").input is expansion
    assert model.get_layer("class_0_depthwise").input is expansion
    assert model.get_layer("box_1_depthwise").input is model.get_layer("out_relu").output


def test_rows_follow_the_anchors() -> None:
    """What the convolution says of a cell's k-th anchor stands in the row of that anchor."""
    model = build_model(_variant("v2", 96), "random")
    import keras

    whole = keras.Model(model.inputs[0], [model.get_layer("box_0_predict").output, model.outputs[1]])
    image = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    cells, rows = (np.asarray(output) for output in whole(image, training=False))
    place = (2 * 6 + 4) * PER_CELL + 3
    np.testing.assert_array_equal(rows[0, place], cells[0, 2, 4, 12:16])


@pytest.mark.slow
def test_a_new_network_finds_nothing_yet() -> None:
    """Focal loss starts from a prior of 0.01 (Lin et al. 2017, section 4.1), or the background would drown it."""
    from mnedge.models.build import add_head, load_backbone

    variant = _variant("v2", 96)
    model = add_head(load_backbone(variant, "random"), variant)
    scores = np.asarray(model(np.zeros((1, 96, 96, 3), np.float32), training=False)[0])
    assert abs(float(np.median(scores)) - 0.01) < 0.01


def test_one_class_is_enough_to_find() -> None:
    model = build_model(_variant("v2", 96, classes=1), "random")
    assert tuple(model.outputs[0].shape) == (
        1,
        PER_CELL * sum(height * width for height, width in map_sides(_variant("v2", 96))),
        1,
    )
    with pytest.raises(InputError, match="0 classes cannot be told apart; give 1 or more"):
        _variant("v2", 96, classes=0)
    with pytest.raises(InputError, match="1 classes cannot be told apart; give 2 or more"):
        Variant("v2", 0.35, 96, 1)
