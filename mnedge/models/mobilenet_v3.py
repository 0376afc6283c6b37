"""MobileNet V3: squeeze-and-excite and hard-swish (https://arxiv.org/abs/1905.02244, tables 1 and 2).

The minimalistic networks have neither, and only 3 x 3 kernels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from mnedge.models._family import Family, Published
from mnedge.models._network import round_to_eight

if TYPE_CHECKING:
    from mnedge.models._network import Network

_SLIM = "tensorflow/models, slim/nets/mobilenet/README.md"


class _Block(NamedTuple):
    expansion: float
    channels: int
    kernel: int
    stride: int
    squeeze_excite: bool


_SMALL = (
    _Block(1, 16, 3, 2, squeeze_excite=True),
    _Block(72 / 16, 24, 3, 2, squeeze_excite=False),
    _Block(88 / 24, 24, 3, 1, squeeze_excite=False),
    _Block(4, 40, 5, 2, squeeze_excite=True),
    _Block(6, 40, 5, 1, squeeze_excite=True),
    _Block(6, 40, 5, 1, squeeze_excite=True),
    _Block(3, 48, 5, 1, squeeze_excite=True),
    _Block(3, 48, 5, 1, squeeze_excite=True),
    _Block(6, 96, 5, 2, squeeze_excite=True),
    _Block(6, 96, 5, 1, squeeze_excite=True),
    _Block(6, 96, 5, 1, squeeze_excite=True),
)

_LARGE = (
    _Block(1, 16, 3, 1, squeeze_excite=False),
    _Block(4, 24, 3, 2, squeeze_excite=False),
    _Block(3, 24, 3, 1, squeeze_excite=False),
    _Block(3, 40, 5, 2, squeeze_excite=True),
    _Block(3, 40, 5, 1, squeeze_excite=True),
    _Block(3, 40, 5, 1, squeeze_excite=True),
    _Block(6, 80, 3, 2, squeeze_excite=False),
    _Block(2.5, 80, 3, 1, squeeze_excite=False),
    _Block(2.3, 80, 3, 1, squeeze_excite=False),
    _Block(2.3, 80, 3, 1, squeeze_excite=False),
    _Block(6, 112, 3, 1, squeeze_excite=True),
    _Block(6, 112, 3, 1, squeeze_excite=True),
    _Block(6, 160, 5, 2, squeeze_excite=True),
    _Block(6, 160, 5, 1, squeeze_excite=True),
    _Block(6, 160, 5, 1, squeeze_excite=True),
)


def _trace(
    network: Network,
    alpha: float,
    classes: int,
    *,
    blocks: tuple[_Block, ...],
    features: int,
    minimalistic: bool,
) -> None:
    network.conv("conv", 16, kernel=3, stride=2)
    for number, block in enumerate(blocks):
        prefix = f"expanded_conv_{number}_" if number else "expanded_conv_"
        channels_in, channels = network.shape[2], round_to_eight(block.channels * alpha)
        if number:
            network.pointwise(f"{prefix}expand", round_to_eight(channels_in * block.expansion))
        network.depthwise(f"{prefix}depthwise", 3 if minimalistic else block.kernel, block.stride)
        if block.squeeze_excite and not minimalistic:
            network.squeeze_excite(f"{prefix}squeeze_excite_", round_to_eight(network.shape[2] * 0.25))
        network.pointwise(f"{prefix}project", channels)
        if block.stride == 1 and channels == channels_in:
            network.add(f"{prefix}add")
    network.pointwise("conv_1", round_to_eight(network.shape[2] * 6))
    network.pool("global_average_pooling2d")
    network.pointwise(
        "conv_2", round_to_eight(features * alpha) if alpha > 1 else features, bias=True, batch_norm=False
    )
    network.pointwise("logits", classes, bias=True, batch_norm=False)


def _imagenet_file(alpha: float, _resolution: int, *, kind: str) -> str:
    return f"weights_mobilenet_v3_{kind}_224_{alpha}_float.h5"


def _family(size: str, published: tuple[Published, ...], *, minimalistic: bool) -> Family:
    suffix = "-minimalistic" if minimalistic else ""
    blocks, features = (_SMALL, 1024) if size == "small" else (_LARGE, 1280)
    kind = f"{size}{suffix}".replace("-", "_")
    return Family(
        name=f"v3-{size}{suffix}",
        slug=f"mobilenet_v3_{kind}",
        trace=partial(_trace, blocks=blocks, features=features, minimalistic=minimalistic),
        published=published,
        keras_name=f"MobileNetV3{size.capitalize()}",
        # The input is p / 127.5 - 1 for every family, so none carries its own rescaling.
        keras_arguments={"include_preprocessing": False, "minimalistic": minimalistic},
        imagenet_file=partial(_imagenet_file, kind=kind),
    )


V3_SMALL = _family(
    "small",
    (Published(1.0, 224, 66, 2.9, 0.675, _SLIM), Published(0.75, 224, 44, 2.4, 0.654, _SLIM)),
    minimalistic=False,
)
V3_LARGE = _family(
    "large",
    (Published(1.0, 224, 217, 5.4, 0.752, _SLIM), Published(0.75, 224, 155, 4.0, 0.733, _SLIM)),
    minimalistic=False,
)
V3_SMALL_MINIMALISTIC = _family("small", (Published(1.0, 224, 65, 2.0, 0.619, _SLIM),), minimalistic=True)
V3_LARGE_MINIMALISTIC = _family("large", (Published(1.0, 224, 209, 3.9, 0.723, _SLIM),), minimalistic=True)
