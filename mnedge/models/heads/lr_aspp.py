"""LR-ASPP, the segmentation head of MobileNet V3 (https://arxiv.org/abs/1905.02244, section 6.4 and figure 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.heads._head import Head
from mnedge.models.heads._layers import conv_norm, upsample

if TYPE_CHECKING:
    import keras

    from mnedge.models.features import Features

_FILTERS = 128


def _build(maps: Features, classes: int, _alpha: float) -> dict[str, keras.KerasTensor]:
    """Weighs a narrow map by the whole picture's means and adds the scores of a finer map.

    Gives "logits", float32 (1, H, W, classes).
    """
    import keras

    narrow = conv_norm(maps.narrow, _FILTERS, "head_narrow")
    # The paper pools 49 x 49 with a stride for its pictures of 1024 x 2048; at these sizes that is the whole map.
    means = keras.layers.GlobalAveragePooling2D(keepdims=True, name="head_means")(maps.narrow)
    gate = keras.layers.Conv2D(_FILTERS, 1, activation="sigmoid", name="head_gate")(means)
    weighed = keras.layers.Multiply(name="head_weighed")([narrow, gate])
    fine = maps.by_stride[8]
    coarse = upsample(weighed, fine.shape[1:3], "head_upsample")
    scores = [
        keras.layers.Conv2D(classes, 1, name="head_coarse_scores")(coarse),
        keras.layers.Conv2D(classes, 1, use_bias=False, name="head_fine_scores")(fine),
    ]
    return {"logits": upsample(keras.layers.Add(name="head_scores")(scores), maps.image.shape[1:3], "logits")}


HEAD = Head("lr_aspp", (16, 32, 8), _build)
