"""MobileNet V3: squeeze-and-excite and hard-swish (https://arxiv.org/abs/1905.02244, tables 1 and 2).

The minimalistic networks have neither, and only 3 x 3 kernels.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mnedge.models.families._family import Family, Imagenet, Published
from mnedge.models.families._keras_application import build, imagenet
from mnedge.models.families._pytorch import Names, PyTorch, blocks_of, timm
from mnedge.models.network import round_to_eight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnedge.models.network import Layer, Network

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


def _imagenet_file(alpha: float, _resolution: int, has_classifier: bool, *, kind: str) -> str:
    return f"weights_mobilenet_v3_{kind}_224_{alpha}_float{'' if has_classifier else '_no_top_v2'}.h5"


def _torchvision(layers: Sequence[Layer]) -> Iterator[Names]:
    (stem,), *blocks, (last,), (hidden,), (classifier,) = blocks_of(layers)
    yield Names(stem, "features.0.0", "features.0.1")
    for number, block in enumerate(blocks, start=1):
        place = 0
        for layer in block:
            prefix = f"features.{number}.block.{place}"
            if layer.kind != "squeeze_excite":
                yield Names(layer, f"{prefix}.0", f"{prefix}.1")
            elif layer.output_shape[2] < layer.input_shape[2]:
                yield Names(layer, f"{prefix}.fc1")
                continue
            else:
                yield Names(layer, f"{prefix}.fc2")
            place += 1
    yield Names(last, f"features.{len(blocks) + 1}.0", f"features.{len(blocks) + 1}.1")
    yield Names(hidden, "classifier.0")
    yield Names(classifier, "classifier.3")


def _family(
    size: str,
    published: tuple[Published, ...],
    *,
    minimalistic: bool,
    demos: Mapping[tuple[float, int], str] = MappingProxyType({}),
) -> Family:
    suffix = "-minimalistic" if minimalistic else ""
    blocks, features = (_SMALL, 1024) if size == "small" else (_LARGE, 1280)
    kind, builder = f"{size}{suffix}".replace("-", "_"), f"MobileNetV3{size.capitalize()}"
    # The input is p / 127.5 - 1 for every family, so none carries its own rescaling.
    arguments = {"include_preprocessing": False, "minimalistic": minimalistic}
    stages = (1, 2, 3, 2, 3) if size == "small" else (1, 2, 3, 4, 2, 3)
    last = f"blocks.{len(stages)}.0."
    tail = ((f"{last}conv", f"{last}bn1"), ("conv_head", ""), ("classifier", ""))
    return Family(
        name=f"v3-{size}{suffix}",
        title=f"MobileNet V3-{size.capitalize()}{suffix.replace('-', ' ')}",
        slug=f"mobilenet_v3_{kind}",
        published=published,
        trace=partial(_trace, blocks=blocks, features=features, minimalistic=minimalistic),
        build=partial(build, builder, **arguments),
        imagenet=Imagenet(partial(_imagenet_file, kind=kind), partial(imagenet, builder, **arguments)),
        demos=demos,
        # torchvision's V3 has the epsilon of the paper's code; it has no minimalistic networks.
        pytorch=(PyTorch("timm", timm(stages, tail)), PyTorch("torchvision", _torchvision, epsilon=1e-3)),
    )


FAMILIES = (
    _family(
        "small",
        (Published(1.0, 224, 66, 2.9, 0.675, _SLIM), Published(0.75, 224, 44, 2.4, 0.654, _SLIM)),
        minimalistic=False,
        demos={(1.0, 96): "demo_v3_small_1.0_96.h5"},
    ),
    _family(
        "large",
        (Published(1.0, 224, 217, 5.4, 0.752, _SLIM), Published(0.75, 224, 155, 4.0, 0.733, _SLIM)),
        minimalistic=False,
    ),
    _family("small", (Published(1.0, 224, 65, 2.0, 0.619, _SLIM),), minimalistic=True),
    _family("large", (Published(1.0, 224, 209, 3.9, 0.723, _SLIM),), minimalistic=True),
)
