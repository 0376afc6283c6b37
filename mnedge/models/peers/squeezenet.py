"""SqueezeNet 1.0 (https://arxiv.org/abs/1602.07360, table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.models.peers._tracer import Tracer

if TYPE_CHECKING:
    from mnedge.models.network import Layer

RESOLUTION = 227  # as for AlexNet: 224 does not give the 111 x 111 of the table

# Squeezed channels of the fire modules 2 to 9, each expanded to four times as many by 1 x 1 and by 3 x 3.
_FIRES = (16, 16, 32, 32, 48, 48, 64, 64)
_HALVED_AFTER = (4, 8)


def squeezenet() -> list[Layer]:
    """Fire modules between two convolutions; no fully connected layer."""
    net = Tracer((RESOLUTION, RESOLUTION, 3))
    net.convolve("conv1", 96, 7, 2, padding="valid")
    net.max_pool("pool1", 3, 2, "valid")
    for number, squeezed in enumerate(_FIRES, start=2):
        _fire(net, f"fire{number}", squeezed)
        if number in _HALVED_AFTER:
            net.max_pool(f"pool{number}", 3, 2, "valid")
    net.convolve("conv10", 1000)
    net.pool("pool10")
    return net.layers


def _fire(net: Tracer, name: str, squeezed: int) -> None:
    net.convolve(f"{name}_squeeze", squeezed)
    net.branches(
        lambda: net.convolve(f"{name}_expand1x1", 4 * squeezed),
        lambda: net.convolve(f"{name}_expand3x3", 4 * squeezed, 3),
    )
