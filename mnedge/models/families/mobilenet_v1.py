"""MobileNet V1: depthwise separable convolutions in a straight line (https://arxiv.org/abs/1704.04861, table 1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnedge.models.families._family import Family, Imagenet, Published
from mnedge.models.families._keras_application import build, imagenet
from mnedge.models.families._pytorch import PyTorch, timm

if TYPE_CHECKING:
    from mnedge.models.network import Network

_PAPER = "arXiv:1704.04861, tables 6 and 7"
_SLIM = "tensorflow/models, slim/nets/mobilenet_v1.md"

# Channels and stride of the blocks, in order.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip

_PUBLISHED = (
    #  alpha resolution MACs/M parameters/M top-1
    Published(1.0, 224, 569, 4.24, 0.709, _SLIM),
    Published(1.0, 192, 418, 4.24, 0.700, _SLIM),
    Published(1.0, 160, 291, 4.24, 0.680, _SLIM),
    Published(1.0, 128, 186, 4.24, 0.652, _SLIM),
    Published(0.75, 224, 325, 2.6, 0.684, _PAPER),
    Published(0.75, 224, 317, 2.59, 0.684, _SLIM),
    Published(0.75, 192, 233, 2.59, 0.672, _SLIM),
    Published(0.75, 160, 162, 2.59, 0.653, _SLIM),
    Published(0.75, 128, 104, 2.59, 0.621, _SLIM),
    Published(0.5, 224, 150, 1.34, 0.633, _SLIM),
    Published(0.5, 192, 110, 1.34, 0.617, _SLIM),
    Published(0.5, 160, 77, 1.34, 0.591, _SLIM),
    Published(0.5, 128, 49, 1.34, 0.563, _SLIM),
    Published(0.25, 224, 41, 0.47, 0.498, _SLIM),
    Published(0.25, 192, 34, 0.47, 0.477, _SLIM),
    Published(0.25, 160, 21, 0.47, 0.455, _SLIM),
    Published(0.25, 128, 14, 0.47, 0.415, _SLIM),
)


def _trace(network: Network, alpha: float, classes: int) -> None:
    network.conv("conv1", int(32 * alpha), kernel=3, stride=2)
    for number, (channels, stride) in enumerate(_BLOCKS, start=1):
        network.depthwise(f"conv_dw_{number}", kernel=3, stride=stride, round_up=False)
        network.pointwise(f"conv_pw_{number}", int(channels * alpha))
    network.pool("global_average_pooling2d")
    network.pointwise("conv_preds", classes, bias=True, batch_norm=False)


def _imagenet_file(alpha: float, resolution: int, has_classifier: bool) -> str:
    width = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}[alpha]
    return f"mobilenet_{width}_{resolution}_tf{'' if has_classifier else '_no_top'}.h5"


FAMILIES = (
    Family(
        name="v1",
        title="MobileNet V1",
        slug="mobilenet_v1",
        published=_PUBLISHED,
        trace=_trace,
        build=partial(build, "MobileNet"),
        imagenet=Imagenet(_imagenet_file, partial(imagenet, "MobileNet")),
        pytorch=(PyTorch("timm", timm((1, 2, 2, 6, 2), (("classifier", ""),))),),
        # The first layer has 32 channels at full width, and widths are rounded down.
        least_alpha=1 / 32,
    ),
)
