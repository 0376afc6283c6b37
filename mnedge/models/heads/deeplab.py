"""DeepLabv3+ (https://arxiv.org/abs/1802.02611) with depthwise separable convolutions throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.heads._head import Head
from mnedge.models.heads._layers import conv_norm, separable, upsample

if TYPE_CHECKING:
    import keras

    from mnedge.models.features import Features

_FILTERS, _FINE_FILTERS = 128, 48
# Rates of the three branches at stride 16 (https://arxiv.org/abs/1706.05587, section 3.3); twice that at stride 8.
_RATES = (6, 12, 18)


def _build(maps: Features, classes: int, _alpha: float) -> dict[str, keras.KerasTensor]:
    """Atrous spatial pyramid pooling on the last bottleneck, then a decoder on the map of stride 4.

    Gives "logits", float32 (1, H, W, classes).
    """
    import keras

    source, side = maps.narrow, maps.narrow.shape[1]
    stride = max(maps.by_stride)
    branches = [conv_norm(source, _FILTERS, "head_aspp_0")]
    for number, rate in enumerate(_RATES, start=1):
        spread = max(1, rate * 16 // stride)
        # A kernel whose outer weights fall outside the map everywhere is a 1 x 1 one with ballast.
        if spread < side:
            branches.append(separable(source, _FILTERS, f"head_aspp_{number}", dilation=spread))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="head_pool")(source)
    # A batch of one picture has no statistics at 1 x 1, so this convolution has a bias instead of a batch norm.
    pooled = keras.layers.Conv2D(_FILTERS, 1, activation="relu", name="head_pool_conv")(pooled)
    branches.append(upsample(pooled, source.shape[1:3], "head_pool_spread"))
    joined = keras.layers.Concatenate(name="head_aspp")(branches)
    coarse = conv_norm(joined, _FILTERS, "head_project")
    fine = maps.by_stride[4]
    coarse = upsample(coarse, fine.shape[1:3], "head_upsample")
    fine = conv_norm(fine, _FINE_FILTERS, "head_fine")
    decoded = keras.layers.Concatenate(name="head_decoder")([coarse, fine])
    decoded = separable(decoded, _FILTERS, "head_decoder_conv")
    scores = keras.layers.Conv2D(classes, 1, name="head_scores")(decoded)
    return {"logits": upsample(scores, maps.image.shape[1:3], "logits")}


HEAD = Head("deeplab", (16, 8, 32), _build)
