"""DeepLab at 513 px with 21 classes: on VGG-16, ResNet-101 and MobileNets.

On VGG-16 that of https://arxiv.org/abs/1606.00915, section 4.1; the others are DeepLabv3
(https://arxiv.org/abs/1706.05587, figure 5), as the V2 paper has it (https://arxiv.org/abs/1801.04381, section 6.3).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnedge.models.peers import vgg
from mnedge.models.peers._tracer import Tracer, backbone
from mnedge.models.peers.resnet import resnet101_features

if TYPE_CHECKING:
    from mnedge.models.network import Layer

_RESOLUTION = 513
_CLASSES = 20 + 1  # and background
_HEAD_CHANNELS = 256
# The last layer that the head takes: V2's second last map, of 320 channels.
_LAST = {"v1": "conv_pw_13", "v2": "block_16_project"}


def deeplab_vgg16(branches: int = 1) -> list[Layer]:
    """DeepLab-LargeFOV, or with four branches DeepLab-ASPP: fc6 of 3 x 3 with a dilation, fc7, fc8 in each."""
    net = Tracer((_RESOLUTION, _RESOLUTION, 3), output_stride=8)
    for number in range(1, len(vgg.STAGES) + 1):
        vgg.stage(net, number)
        net.max_pool(f"pool{number}", 3, 2)

    def branch(number: int) -> None:
        net.convolve(f"fc6_{number}", 1024, 3)
        net.convolve(f"fc7_{number}", 1024)
        net.convolve(f"fc8_{number}", _CLASSES)

    net.branches(*(partial(branch, number) for number in range(1, branches + 1)))
    return net.layers


def deeplabv3_resnet101() -> list[Layer]:
    """DeepLabv3 on ResNet-101, output stride 16."""
    net = Tracer((_RESOLUTION, _RESOLUTION, 3), bias=False, batch_norm=True, output_stride=16)
    resnet101_features(net)
    _head(net, pyramid=True)
    return net.layers


def deeplabv3_mobilenet(family: str, *, pyramid: bool) -> list[Layer]:
    """DeepLabv3 on MobileNet V1 or V2, output stride 16; `pyramid` keeps the atrous spatial pyramid pooling."""
    net = Tracer((_RESOLUTION, _RESOLUTION, 3), bias=False, batch_norm=True)
    net.take(backbone(family, 1.0, _RESOLUTION, _LAST[family], output_stride=16))
    _head(net, pyramid=pyramid)
    return net.layers


def _head(net: Tracer, *, pyramid: bool) -> None:
    """DeepLabv3's figure 5: 1 x 1, three dilated 3 x 3, and the mean of the picture, joined by a 1 x 1."""
    sides = net.shape[:2]

    def dilated(number: int) -> None:
        net.convolve(f"aspp_{number}", _HEAD_CHANNELS, 3)

    def mean() -> None:
        net.pool("aspp_mean")
        net.convolve("aspp_mean_projection", _HEAD_CHANNELS)
        net.shape = (*sides, _HEAD_CHANNELS)

    net.branches(
        partial(net.convolve, "aspp_0", _HEAD_CHANNELS),
        *(partial(dilated, number) for number in (1, 2, 3) if pyramid),
        mean,
    )
    net.shape = (*sides, net.shape[2])
    net.convolve("concat_projection", _HEAD_CHANNELS)
    net.convolve("logits", _CLASSES, plain=True)
