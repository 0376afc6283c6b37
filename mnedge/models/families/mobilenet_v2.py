"""MobileNet V2: inverted residuals with linear bottlenecks (https://arxiv.org/abs/1801.04381, table 2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnedge.models.families._family import Family, Imagenet, Published
from mnedge.models.families._keras_application import build, imagenet
from mnedge.models.families._pytorch import Names, PyTorch, blocks_of, timm
from mnedge.models.network import round_to_eight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnedge.models.network import Layer, Network

_SLIM = "tensorflow/models, slim/nets/mobilenet/README.md"

# Channels and stride of the blocks, in order; the first one does not expand, the others expand six times.
_BLOCKS = (
    (16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1),
    (160, 2), (160, 1), (160, 1), (320, 1),
)  # fmt: skip

_PUBLISHED = (
    #  alpha resolution MACs/M parameters/M top-1
    Published(1.4, 224, 582, 6.06, 0.750, _SLIM),
    Published(1.3, 224, 509, 5.34, 0.744, _SLIM),
    Published(1.0, 224, 300, 3.47, 0.718, _SLIM),
    Published(1.0, 192, 221, 3.47, 0.707, _SLIM),
    Published(1.0, 160, 154, 3.47, 0.688, _SLIM),
    Published(1.0, 128, 99, 3.47, 0.653, _SLIM),
    Published(1.0, 96, 56, 3.47, 0.603, _SLIM),
    Published(0.75, 224, 209, 2.61, 0.698, _SLIM),
    Published(0.75, 192, 153, 2.61, 0.687, _SLIM),
    Published(0.75, 160, 107, 2.61, 0.664, _SLIM),
    Published(0.75, 128, 69, 2.61, 0.632, _SLIM),
    Published(0.75, 96, 39, 2.61, 0.588, _SLIM),
    Published(0.5, 224, 97, 1.95, 0.654, _SLIM),
    Published(0.5, 192, 71, 1.95, 0.639, _SLIM),
    Published(0.5, 160, 50, 1.95, 0.610, _SLIM),
    Published(0.5, 128, 32, 1.95, 0.577, _SLIM),
    Published(0.5, 96, 18, 1.95, 0.512, _SLIM),
    Published(0.35, 224, 59, 1.66, 0.603, _SLIM),
    Published(0.35, 192, 43, 1.66, 0.582, _SLIM),
    Published(0.35, 160, 30, 1.66, 0.557, _SLIM),
    Published(0.35, 128, 20, 1.66, 0.508, _SLIM),
    Published(0.35, 96, 11, 1.66, 0.455, _SLIM),
)


def _trace(network: Network, alpha: float, classes: int) -> None:
    network.conv("Conv1", round_to_eight(32 * alpha), kernel=3, stride=2)
    for number, (width, stride) in enumerate(_BLOCKS):
        # The reference code cuts the width to a whole number before it rounds to eight.
        channels = round_to_eight(int(width * alpha))
        prefix = f"block_{number}_" if number else "expanded_conv_"
        channels_in = network.shape[2]
        if number:
            network.pointwise(f"{prefix}expand", 6 * channels_in)
        network.depthwise(f"{prefix}depthwise", kernel=3, stride=stride)
        network.pointwise(f"{prefix}project", channels)
        if stride == 1 and channels == channels_in:
            network.add(f"{prefix}add")
    network.pointwise("Conv_1", round_to_eight(1280 * max(alpha, 1.0)))
    network.pool("global_average_pooling2d")
    network.fully_connected("predictions", classes)


def _imagenet_file(alpha: float, resolution: int, has_classifier: bool) -> str:
    ending = "" if has_classifier else "_no_top"
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{resolution}{ending}.h5"


def _torchvision(layers: Sequence[Layer]) -> Iterator[Names]:
    (stem,), *blocks, (last,), (classifier,) = blocks_of(layers)
    yield Names(stem, "features.0.0", "features.0.1")
    for number, block in enumerate(blocks, start=1):
        prefix = f"features.{number}.conv."
        # Each layer with an activation is a module of its own; the projection's two parts stand behind them.
        for place, layer in enumerate(block[:-1]):
            yield Names(layer, f"{prefix}{place}.0", f"{prefix}{place}.1")
        yield Names(block[-1], f"{prefix}{len(block) - 1}", f"{prefix}{len(block)}")
    yield Names(last, f"features.{len(blocks) + 1}.0", f"features.{len(blocks) + 1}.1")
    yield Names(classifier, "classifier.1")


FAMILIES = (
    Family(
        name="v2",
        title="MobileNet V2",
        slug="mobilenet_v2",
        published=_PUBLISHED,
        trace=_trace,
        build=partial(build, "MobileNetV2"),
        imagenet=Imagenet(_imagenet_file, partial(imagenet, "MobileNetV2")),
        pytorch=(
            PyTorch("timm", timm((1, 2, 3, 4, 3, 3, 1), (("conv_head", "bn2"), ("classifier", "")))),
            PyTorch("torchvision", _torchvision),
        ),
    ),
)
