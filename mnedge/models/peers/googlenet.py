"""GoogLeNet (https://arxiv.org/abs/1409.4842, table 1) and Inception V2 (https://arxiv.org/abs/1502.03167, figure 5).

Without GoogLeNet's auxiliary classifiers, which only training uses.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnedge.models.peers._tracer import Tracer

if TYPE_CHECKING:
    from mnedge.models.network import Layer

_HALVE = ()

# Channels: 1 x 1; reduced for and of 3 x 3; reduced for and of 5 x 5; projected after the maximum.
_GOOGLENET = (
    (64, 96, 128, 16, 32, 32),  # 3a
    (128, 128, 192, 32, 96, 64),
    _HALVE,
    (192, 96, 208, 16, 48, 64),  # 4a
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    _HALVE,
    (256, 160, 320, 32, 128, 128),  # 5a
    (384, 192, 384, 48, 128, 128),
)  # fmt: skip

# Channels: 1 x 1; reduced for and of 3 x 3; reduced for and of two 3 x 3; projected. Without 1 x 1 and projection the
# module halves the sides, and the maximum is joined as it is.
_INCEPTION_V2 = (
    (64, 64, 64, 64, 96, 32),  # 3a
    (64, 64, 96, 64, 96, 64),
    (0, 128, 160, 64, 96, 0),
    (224, 64, 96, 96, 128, 128),  # 4a
    (192, 96, 128, 96, 128, 128),
    (160, 128, 160, 128, 160, 96),
    (96, 128, 192, 160, 192, 96),
    (0, 128, 192, 192, 256, 0),
    (352, 192, 320, 160, 224, 128),  # 5a
    (352, 192, 320, 192, 224, 128),
)  # fmt: skip
# The module that ends the stage of stride 16, and with it what a detector sees first.
_LAST_AT_STRIDE_16 = 5


def googlenet() -> list[Layer]:
    """Nine modules of four branches."""
    net = Tracer((224, 224, 3))
    _stem(net)
    for number, row in enumerate(_GOOGLENET):
        if row == _HALVE:
            net.max_pool(f"pool_{number}", 3, 2)
            continue
        narrow, reduce_3, wide_3, reduce_5, wide_5, projected = row
        name = f"inception_{number}"
        net.branches(
            partial(net.convolve, f"{name}_1x1", narrow),
            partial(_reduced, net, f"{name}_3x3", (reduce_3, wide_3), kernel=3),
            partial(_reduced, net, f"{name}_5x5", (reduce_5, wide_5), kernel=5),
            partial(net.convolve, f"{name}_pool_proj", projected),
        )
    net.pool("pool5")
    net.fully_connected("classifier", 1000)
    return net.layers


def inception_v2() -> list[Layer]:
    """The classifier."""
    net = Tracer((224, 224, 3), bias=False, batch_norm=True)
    inception_v2_features(net)
    net.pool("global_pool")
    net.fully_connected("classifier", 1000)
    return net.layers


def inception_v2_features(net: Tracer) -> list[tuple[int, int, int]]:
    """The modules without the classifier.

    Returns:
        Shapes of the last maps of stride 16 and 32 that a detector takes: after the fifth module, and at the end.
    """
    _stem(net)
    taps = []
    for number, row in enumerate(_INCEPTION_V2, start=1):
        _double(net, f"inception_{number}", row)
        if number == _LAST_AT_STRIDE_16:
            taps.append(net.shape)
    return [*taps, net.shape]


def _stem(net: Tracer) -> None:
    net.convolve("conv1", 64, 7, 2)
    net.max_pool("pool1", 3, 2)
    net.convolve("conv2_reduce", 64)
    net.convolve("conv2", 192, 3)
    net.max_pool("pool2", 3, 2)


def _reduced(net: Tracer, name: str, channels: tuple[int, ...], *, kernel: int, stride: int = 1) -> None:
    """A 1 x 1 convolution, then wider kernels; the last one takes the stride."""
    net.convolve(f"{name}_reduce", channels[0])
    for place, width in enumerate(channels[1:], start=1):
        net.convolve(f"{name}_{place}", width, kernel, stride if place == len(channels) - 1 else 1)


def _double(net: Tracer, name: str, row: tuple[int, ...]) -> None:
    narrow, reduce_3, wide_3, reduce_33, wide_33, projected = row
    stride = 1 if narrow else 2
    wide = [
        partial(_reduced, net, f"{name}_3x3", (reduce_3, wide_3), kernel=3, stride=stride),
        partial(_reduced, net, f"{name}_double3x3", (reduce_33, wide_33, wide_33), kernel=3, stride=stride),
    ]
    if not narrow:
        net.branches(*wide, partial(net.max_pool, f"{name}_pool", 3, 2))
        return
    net.branches(
        partial(net.convolve, f"{name}_1x1", narrow),
        *wide,
        partial(net.convolve, f"{name}_pool_proj", projected),
    )
