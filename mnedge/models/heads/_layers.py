"""Layers that several heads are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


def conv_norm(source: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """A 1 x 1 convolution with batch norm and ReLU."""
    import keras

    made = keras.layers.Conv2D(channels, 1, use_bias=False, name=name)(source)
    made = keras.layers.BatchNormalization(name=f"{name}_bn")(made)
    return keras.layers.ReLU(name=f"{name}_relu")(made)


def separable(
    source: keras.KerasTensor, channels: int, name: str, *, stride: int = 1, dilation: int = 1
) -> keras.KerasTensor:
    """A depthwise 3 x 3 and a 1 x 1 convolution, each with batch norm and ReLU6."""
    import keras

    made = keras.layers.DepthwiseConv2D(
        3, stride, padding="same", dilation_rate=dilation, use_bias=False, name=f"{name}_depthwise"
    )(source)
    made = keras.layers.BatchNormalization(name=f"{name}_depthwise_bn")(made)
    made = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(made)
    made = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(made)
    made = keras.layers.BatchNormalization(name=f"{name}_pointwise_bn")(made)
    return keras.layers.ReLU(6.0, name=f"{name}_pointwise_relu")(made)


def upsample(source: keras.KerasTensor, size: Sequence[int], name: str) -> keras.KerasTensor:
    """Bilinear, with half-pixel centres, to any size."""
    import keras

    factor = [wanted / had for wanted, had in zip(size, source.shape[1:3], strict=True)]
    if all(step.is_integer() for step in factor):
        return keras.layers.UpSampling2D([int(step) for step in factor], interpolation="bilinear", name=name)(source)
    # A whole factor and a cut would shift the map against the picture.
    return keras.layers.Resizing(*size, interpolation="bilinear", name=name)(source)
