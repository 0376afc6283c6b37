"""SSDLite: SSD with depthwise separable layers (https://arxiv.org/abs/1801.04381, section 6.2, and 1905.02244, 6.3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.data.anchors import PER_CELL
from mnedge.models.heads._head import Head
from mnedge.models.variant import sides_by_stride

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from mnedge.models.features import Features
    from mnedge.models.variant import Variant

# Channels of the extra maps at alpha 1, and the least that a thin network keeps.
_EXTRA_CHANNELS = (512, 256, 256, 128)
_LEAST_CHANNELS = 16
# Share of the anchors that a new network takes for objects (https://arxiv.org/abs/1708.02002, section 4.1).
_PRIOR = 0.01
# While the head learns alone, running statistics have few steps to follow.
_MOMENTUM = 0.97


def _build(maps: Features, classes: int, alpha: float) -> dict[str, keras.KerasTensor]:
    """Predicts boxes and scores on two maps of the backbone and four of its own.

    The first map is the expansion of the last block before stride 32, the second the backbone's last one.

    Gives "scores", float32 (1, anchors, classes), a sigmoid for each class: focal loss needs no background class, and
    int8 scores then have the same steps of 1/256 everywhere; and "boxes", float32 (1, anchors, 4), codes as
    `mnedge.data.anchors` has them. The branches share no layer, so each keeps ranges of its own in int8.
    """
    import keras

    layers = [maps.by_stride[16], maps.last]
    for place, channels in enumerate(_EXTRA_CHANNELS):
        layers.append(_extra(layers[-1], _thinned(channels, alpha), f"extra_{place}"))
    boxes = [_predictor(layer, 4, f"box_{place}", bias=0.0) for place, layer in enumerate(layers)]
    bias = math.log(_PRIOR / (1 - _PRIOR))
    scores = [_predictor(layer, classes, f"class_{place}", bias=bias) for place, layer in enumerate(layers)]
    return {
        "scores": keras.layers.Activation("sigmoid", name="scores")(_joined(scores, "logits")),
        "boxes": _joined(boxes, "boxes"),
    }


def map_sides(variant: Variant) -> tuple[tuple[int, int], ...]:
    """Heights and widths of the six maps in cells; the head halves odd sides upwards."""
    backbone = sides_by_stride(variant)
    sides = [backbone[16], backbone[32]]
    for _ in _EXTRA_CHANNELS:
        sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
    return tuple(sides)


def _thinned(channels: int, alpha: float) -> int:
    return max(_LEAST_CHANNELS, int(channels * alpha) // 8 * 8)


def _extra(source: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Half the resolution: 1 x 1 to half the channels, depthwise 3 x 3 with stride 2, 1 x 1 to the channels."""
    import keras

    made = keras.layers.Conv2D(channels // 2, 1, use_bias=False, name=f"{name}_reduce")(source)
    made = _depthwise(_norm(made, f"{name}_reduce"), name, stride=2)
    made = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_expand")(made)
    return _norm(made, f"{name}_expand")


def _predictor(source: keras.KerasTensor, values: int, name: str, *, bias: float) -> keras.KerasTensor:
    """Depthwise 3 x 3 and 1 x 1: (1, H, W, C) to (1, H * W * anchors, values)."""
    import keras

    made = keras.layers.Conv2D(
        PER_CELL * values,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.03),
        bias_initializer=keras.initializers.Constant(bias),
        name=f"{name}_predict",
    )(_depthwise(source, name))
    height, width = source.shape[1:3]
    return keras.layers.Reshape((height * width * PER_CELL, values), name=f"{name}_rows")(made)


def _joined(rows: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Rows of all maps under each other, in two steps: LiteRT's delegate takes no CONCATENATION of six."""
    import keras

    small = keras.layers.Concatenate(1, name=f"{name}_small")(rows[2:])
    return keras.layers.Concatenate(1, name=name)([*rows[:2], small])


def _depthwise(source: keras.KerasTensor, name: str, stride: int = 1) -> keras.KerasTensor:
    import keras

    made = keras.layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(source)
    return _norm(made, f"{name}_depthwise")


def _norm(source: keras.KerasTensor, name: str) -> keras.KerasTensor:
    import keras

    made = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(source)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(made)


HEAD = Head("ssdlite", (32,), _build, least_classes=1)
