"""Single-shot detectors: SSD300 on VGG-16, SSD on Inception V2 and MobileNet V1, SSDLite on MobileNets.

SSD300 is that of https://arxiv.org/abs/1512.02325, figure 2; the others that of the MobileNet papers
(https://arxiv.org/abs/1704.04861, section 4.6; https://arxiv.org/abs/1801.04381, section 6.2;
https://arxiv.org/abs/1905.02244, section 6.3), whose layers stand in tensorflow/models, research/object_detection.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.models.network import round_to_eight
from mnedge.models.peers import vgg
from mnedge.models.peers._tracer import Tracer, backbone
from mnedge.models.peers.googlenet import inception_v2_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.models.network import Layer, Shape

_COORDINATES = 4
_COCO_CLASSES = 80 + 1  # and background

# SSD300: anchors per position of each map (section 2.2), and the maps after VGG's: reduced, channels, stride, padding.
_SSD300_ANCHORS = (4, 6, 6, 6, 4, 4)
_SSD300_EXTRA = ((256, 512, 2), (128, 256, 2), (128, 256, 1), (128, 256, 1))

# The others: three anchors per position of the largest map, six of each other; maps after the backbone's two.
_ANCHORS = (3, 6, 6, 6, 6, 6)
_EXTRA_CHANNELS = (512, 256, 256, 128)

# The layers of a MobileNet whose outputs are the maps of stride 16 and 32.
_TAPS = {
    "v1": ("conv_pw_11", "conv_pw_13"),
    "v2": ("block_13_expand", "Conv_1"),
    "v3-large": ("expanded_conv_12_expand", "conv_1"),
    "v3-small": ("expanded_conv_8_expand", "conv_1"),
}


def ssd300() -> list[Layer]:
    """SSD300 on VGG-16, whose fully connected layers became convolutions of 1024 channels."""
    net = Tracer((300, 300, 3))
    maps = []
    for number in range(1, 6):
        vgg.stage(net, number)
        if number == 4:
            maps.append(net.shape)
        net.max_pool(f"pool{number}", 3 if number == 5 else 2, 1 if number == 5 else 2)
    net.convolve("fc6", 1024, 3)
    net.convolve("fc7", 1024)
    maps.append(net.shape)
    for number, (reduced, channels, stride) in enumerate(_SSD300_EXTRA, start=8):
        net.convolve(f"conv{number}_1", reduced)
        net.convolve(f"conv{number}_2", channels, 3, stride, padding="same" if stride == 2 else "valid")
        maps.append(net.shape)
    _predict(net, maps, _SSD300_ANCHORS, kernel=3)
    return net.layers


def ssd_inception_v2() -> list[Layer]:
    """SSD at 300 px on Inception V2, with the same layers behind it as on MobileNet V1."""
    net = Tracer((300, 300, 3), bias=False, batch_norm=True)
    maps = [*inception_v2_features(net), *_extra_maps(net, lite=False)]
    _predict(net, maps, _ANCHORS, kernel=1)
    return net.layers


def ssd_mobilenet_v1() -> list[Layer]:
    """SSD at 300 px on MobileNet V1: standard convolutions behind the backbone, 1 x 1 ones for the predictions."""
    net, maps = _tapped("v1", 1.0, 300)
    maps += _extra_maps(net, lite=False)
    _predict(net, maps, _ANCHORS, kernel=1)
    return net.layers


def ssdlite(family: str, alpha: float = 1.0, *, halved: bool = False) -> list[Layer]:
    """SSDLite at 320 px: every convolution behind the backbone is a depthwise separable one.

    Args:
        family: Family of the backbone.
        alpha: Width multiplier of the backbone.
        halved: Whether the channels of the blocks between the two taps are halved (V3, section 6.3).
    """
    net, maps = _tapped(family, alpha, 320, halved=halved)
    maps += _extra_maps(net, lite=True, alpha=alpha)
    _predict_lite(net, maps)
    return net.layers


def _tapped(family: str, alpha: float, resolution: int, *, halved: bool = False) -> tuple[Tracer, list[Shape]]:
    """The backbone up to its second tap, and the shapes of both maps."""
    first, second = _TAPS[family]
    layers = backbone(family, alpha, resolution, second)
    tap = [layer.name for layer in layers].index(first)
    if family == "v2":
        layers[-1] = _narrowed(layers[-1], alpha)
    if halved:
        layers = _halve(layers, tap)
    net = Tracer((resolution, resolution, 3), bias=False, batch_norm=True)
    net.take(layers)
    return net, [layers[tap].output_shape, net.shape]


def _halve(layers: Sequence[Layer], tap: int) -> list[Layer]:
    """Halves the channels of all that comes after the tapped expansion; that block works on its own width."""
    projection = next(place for place, layer in enumerate(layers) if place > tap and layer.kind == "pointwise")
    first, *rest = layers[projection:]
    return [
        *layers[:projection],
        replace(first, output_shape=_half(first.output_shape)),
        *(
            replace(layer, input_shape=_half(layer.input_shape), output_shape=_half(layer.output_shape))
            for layer in rest
        ),
    ]


def _narrowed(last: Layer, alpha: float) -> Layer:
    """V2's last map: a classifier never narrows its 1280 channels, a detector does."""
    return replace(last, output_shape=(*last.output_shape[:2], round_to_eight(1280 * alpha)))


def _half(shape: Shape) -> Shape:
    return (*shape[:2], shape[2] // 2)


def _extra_maps(net: Tracer, *, lite: bool, alpha: float = 1.0) -> list[Shape]:
    maps = []
    for number, width in enumerate(_EXTRA_CHANNELS, start=2):
        channels = int(width * alpha)
        net.convolve(f"extra_{number}_reduce", channels // 2)
        if lite:
            net.separable(f"extra_{number}", channels, 3, 2)
        else:
            net.convolve(f"extra_{number}", channels, 3, 2)
        maps.append(net.shape)
    return maps


def _predict(net: Tracer, maps: Sequence[Shape], anchors: Sequence[int], *, kernel: int) -> None:
    for number, (shape, count) in enumerate(zip(maps, anchors, strict=True)):
        for what, each in (("boxes", _COORDINATES), ("scores", _COCO_CLASSES)):
            net.shape = shape
            net.convolve(f"{what}_{number}", count * each, kernel, plain=True)


def _predict_lite(net: Tracer, maps: Sequence[Shape]) -> None:
    for number, (shape, count) in enumerate(zip(maps, _ANCHORS, strict=True)):
        for what, each in (("boxes", _COORDINATES), ("scores", _COCO_CLASSES)):
            net.shape = shape
            net.separable(f"{what}_{number}", count * each, plain=True)
