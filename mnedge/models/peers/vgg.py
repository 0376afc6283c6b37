"""VGG-16 (https://arxiv.org/abs/1409.1556, table 1, column D)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.peers._tracer import Tracer

if TYPE_CHECKING:
    from mnedge.models.network import Layer

# Channels and number of the 3 x 3 convolutions of each stage; a maximum over 2 x 2 ends it.
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16() -> list[Layer]:
    """The classifier with its three fully connected layers."""
    net = Tracer((224, 224, 3))
    for number in range(1, len(STAGES) + 1):
        stage(net, number)
        net.max_pool(f"pool{number}", 2, 2)
    net.flatten()
    for name, channels in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        net.fully_connected(name, channels)
    return net.layers


def stage(net: Tracer, number: int) -> None:
    """The convolutions of one stage, 1 to 5."""
    channels, count = STAGES[number - 1]
    for place in range(1, count + 1):
        net.convolve(f"conv{number}_{place}", channels, 3)
