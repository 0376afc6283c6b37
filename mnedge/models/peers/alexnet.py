"""AlexNet (Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks, 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.peers._tracer import Tracer

if TYPE_CHECKING:
    from mnedge.models.network import Layer

RESOLUTION = 227  # the paper says 224, but only 227 gives its 55 x 55 after 11 x 11 with stride 4


def alexnet() -> list[Layer]:
    """Figure 2: the second, fourth and fifth convolution see one half of the channels each."""
    net = Tracer((RESOLUTION, RESOLUTION, 3))
    net.convolve("conv1", 96, 11, 4, padding="valid")
    net.max_pool("pool1", 3, 2, "valid")
    net.halves("conv2", 256, 5)
    net.max_pool("pool2", 3, 2, "valid")
    net.convolve("conv3", 384, 3)
    net.halves("conv4", 384, 3)
    net.halves("conv5", 256, 3)
    net.max_pool("pool5", 3, 2, "valid")
    net.flatten()
    for name, channels in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        net.fully_connected(name, channels)
    return net.layers
