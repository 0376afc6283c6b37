"""ResNet-50 and ResNet-101 (https://arxiv.org/abs/1512.03385, table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.peers._tracer import Tracer

if TYPE_CHECKING:
    from mnedge.models.network import Layer

_WIDTHS = (64, 128, 256, 512)
_RESNET_50 = (3, 4, 6, 3)
_RESNET_101 = (3, 4, 23, 3)


def resnet50() -> list[Layer]:
    """The classifier; convolutions have a bias beside their batch norm, as in keras.applications."""
    net = Tracer((224, 224, 3), bias=True, batch_norm=True)
    _features(net, _RESNET_50)
    net.pool("pool5")
    net.fully_connected("fc", 1000)
    return net.layers


def resnet101_features(net: Tracer) -> None:
    """The network without its classifier."""
    _features(net, _RESNET_101)


def _features(net: Tracer, counts: tuple[int, ...]) -> None:
    net.convolve("conv1", 64, 7, 2)
    net.max_pool("pool1", 3, 2)
    for number, (width, count) in enumerate(zip(_WIDTHS, counts, strict=True), start=2):
        for place in range(1, count + 1):
            stride = 2 if place == 1 and number > 2 else 1
            _bottleneck(net, f"conv{number}_{place}", width, stride, project=place == 1)


def _bottleneck(net: Tracer, name: str, width: int, stride: int, *, project: bool) -> None:
    """Figure 5, right; the first convolution takes the stride, and so does the projection of the shortcut."""
    start, stride_before = net.shape, net.stride
    if project:
        net.convolve(f"{name}_shortcut", 4 * width, 1, stride)
    net.shape, net.stride = start, stride_before
    net.convolve(f"{name}_a", width, 1, stride)
    net.convolve(f"{name}_b", width, 3)
    net.convolve(f"{name}_c", 4 * width)
    net.add(f"{name}_add")
