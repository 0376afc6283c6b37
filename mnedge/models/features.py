"""Feature maps of a backbone by stride, at full depth or with atrous convolutions instead of its last steps down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

# Height, width and channels that a Reshape makes.
_MAP_RANK = 3


@dataclass(frozen=True, eq=False)
class Features:
    """Features that a head builds on: Keras tensors, float32 (1, H / stride, W / stride, channels), sides rounded up.

    Attributes:
        image: The network's input.
        by_stride: The deepest map of each stride: what the next step down reads, and the last map.
        last: The last map.
        narrow: The last map before the final 1 x 1 convolution that only widens for the classifier (V2, V3); it is
            what DeepLab stands on in https://arxiv.org/abs/1801.04381, section 6.3. The last map where there is no
            such convolution (V1).
    """

    image: keras.KerasTensor
    by_stride: Mapping[int, keras.KerasTensor]
    last: keras.KerasTensor
    narrow: keras.KerasTensor


def features(backbone: keras.Model) -> Features:
    """Finds the feature maps of a backbone without classifier."""
    maps, stride = {}, 1
    aside = _aside(backbone)
    for layer in backbone.layers:
        if (step := _step(layer)) > 1 and layer.name not in aside:
            maps[stride] = _unpadded(layer.input)
            stride *= step
    last = backbone.outputs[0]
    maps[stride] = last
    return Features(backbone.inputs[0], maps, last, _before_widening(backbone))


def with_output_stride(backbone: keras.Model, stride: int) -> keras.Model:
    """A copy of a backbone, weights and all, that goes no further down than `stride`.

    Where a step is left out, the depthwise kernels behind it are spread by it, so that each weight sees what it saw
    before (https://arxiv.org/abs/1706.05587, section 3.1).

    Args:
        backbone: Without classifier; its last map has a stride of 32.
        stride: 8, 16 or 32.
    """
    import keras

    changes: dict[str, dict[str, object]] = {}
    reached, spread = 1, 1
    aside = _aside(backbone)
    _, *sides, _ = backbone.inputs[0].shape
    for layer in backbone.layers:
        step = 1 if layer.name in aside else _step(layer)
        change: dict[str, object] = {}
        if reached * step > stride:
            change |= {"strides": 1, "padding": "same"}
        else:
            reached *= step
            step = 1
        # Keras has no kernel that is spread and strides.
        if isinstance(layer, keras.layers.DepthwiseConv2D) and spread > 1 and layer.name not in aside:
            change["dilation_rate"] = spread
        spread *= step
        if isinstance(layer, keras.layers.Reshape) and len(layer.target_shape) == _MAP_RANK:
            change["target_shape"] = (*(-(-side // reached) for side in sides), layer.target_shape[-1])
        if change:
            changes[layer.name] = change
            if "strides" in change and _is_padding(source := layer.input._keras_history.operation):  # noqa: SLF001
                changes[source.name] = {"padding": 0}

    def changed(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), **changes.get(layer.name, {})})

    image = keras.Input(batch_shape=backbone.inputs[0].shape, name=backbone.inputs[0].name)
    copy = keras.models.clone_model(backbone, input_tensors=image, clone_function=changed)
    copy.set_weights(backbone.get_weights())
    return copy


def _aside(backbone: keras.Model) -> set[str]:
    """Names of layers with a stride that a shortcut leads around, as attention has them: a later sum is larger."""
    import keras

    found: set[str] = set()
    largest = 0
    for layer in reversed(backbone.layers):
        if isinstance(layer, keras.layers.Add):
            largest = max(largest, layer.output.shape[1])
        elif _step(layer) > 1 and layer.output.shape[1] < largest:
            found.add(layer.name)
    return found


def _step(layer: keras.Layer) -> int:
    strides = getattr(layer, "strides", 1)
    return int(strides if isinstance(strides, int) else strides[0])


def _is_padding(layer: keras.Layer) -> bool:
    import keras

    return isinstance(layer, keras.layers.ZeroPadding2D)


def _unpadded(tensor: keras.KerasTensor) -> keras.KerasTensor:
    maker = tensor._keras_history.operation  # noqa: SLF001 - Keras' own record of what made a tensor
    return maker.input if _is_padding(maker) else tensor


def _before_widening(backbone: keras.Model) -> keras.KerasTensor:
    import keras

    convolution = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    source = convolution.input._keras_history.operation  # noqa: SLF001
    # V1 ends with a depthwise separable pair: what its last 1 x 1 convolution reads is half a layer.
    is_bottleneck = isinstance(source, (keras.layers.Add, keras.layers.BatchNormalization))
    return convolution.input if is_bottleneck else backbone.outputs[0]
