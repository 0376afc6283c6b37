"""Published figures of the MobileNets and of the networks that their papers compare with, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from mnedge.models.peers.alexnet import alexnet
from mnedge.models.peers.deeplab import deeplab_vgg16, deeplabv3_mobilenet, deeplabv3_resnet101
from mnedge.models.peers.googlenet import googlenet, inception_v2
from mnedge.models.peers.resnet import resnet50
from mnedge.models.peers.squeezenet import squeezenet
from mnedge.models.peers.ssd import ssd300, ssd_inception_v2, ssd_mobilenet_v1, ssdlite
from mnedge.models.peers.vgg import vgg16

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.models.network import Layer

Metric = Literal["top1", "map", "mean_iou"]

_V1 = "arXiv:1704.04861, table"
_V2 = "arXiv:1801.04381, table"
_V3 = "arXiv:1905.02244, table"
_SENET = "arXiv:1709.01507, table 2"
_DEEPLAB = "arXiv:1606.00915, tables 1 and 3"
_MINIVAL = "on minival, not test-dev"
_NO_CRF = "before the CRF, which is not counted"
_PADDED = "which counts the padding of dilated convolutions to multiples of the dilation"


@dataclass(frozen=True)
class Peer:
    """A network of a published table.

    Attributes:
        name: Name in the papers.
        resolution: Side of the input in pixels.
        layers: Writes its layers down.
        accuracy: Printed accuracy, 0..1.
        source: Source of the figures.
        parameters_millions: Printed parameters; None if none are printed.
        macs_billions: Printed multiply-adds; None if none are printed.
        note: Remarks on the figures.
        mobilenet: Whether its backbone is a MobileNet.
    """

    name: str
    resolution: int
    layers: Callable[[], Sequence[Layer]]
    accuracy: float
    source: str
    parameters_millions: float | None = None
    macs_billions: float | None = None
    note: str = ""
    mobilenet: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Networks that were judged by the same measure.

    Attributes:
        task: classify, detect or segment.
        title: Name for people.
        dataset: Data set of the accuracy.
        metric: Metric of the accuracy.
        peers: The rows.
        takes_families: Whether the rows of the families, which print their own accuracy, stand among them.
    """

    task: str
    title: str
    dataset: str
    metric: Metric
    peers: tuple[Peer, ...]
    takes_families: bool = False


def _lite(
    name: str,
    family: str,
    accuracy: float,
    source: str,
    parameters: float,
    macs: float,
    *,
    alpha: float = 1.0,
    halved: bool = False,
) -> Peer:
    layers = partial(ssdlite, family, alpha, halved=halved)
    note = "channels between the two tapped maps halved" if halved else ""
    return Peer(f"SSDLite {name}", 320, layers, accuracy, source, parameters, macs, note, mobilenet=True)


_CLASSIFY = (
    Peer("AlexNet", 227, alexnet, 0.572, f"{_V1} 9", 60, 0.72),
    Peer("SqueezeNet", 227, squeezenet, 0.575, f"{_V1} 9", 1.25, 1.7, "which counts additions and multiplications"),
    Peer("GoogLeNet", 224, googlenet, 0.698, f"{_V1} 8", 6.8, 1.55),
    Peer("VGG-16", 224, vgg16, 0.715, f"{_V1} 8", 138, 15.3),
    Peer("Inception V2", 224, inception_v2, 0.748, _SENET, None, 2.03),
    Peer("ResNet-50", 224, resnet50, 0.753, _SENET, None, 3.86),
)

_DETECT = (
    Peer("SSD300 VGG-16", 300, ssd300, 0.232, f"{_V2} 6", 36.1, 35.2, f"{_V1} 13 prints 33.1 M and 34.9 G"),
    Peer("SSD Inception V2", 300, ssd_inception_v2, 0.220, f"{_V1} 13", 13.7, 3.8, _MINIVAL),
    Peer("SSD V1", 300, ssd_mobilenet_v1, 0.193, f"{_V1} 13", 6.8, 1.2, _MINIVAL, mobilenet=True),
    _lite("V1", "v1", 0.222, f"{_V2} 6", 5.1, 1.3),
    _lite("V2", "v2", 0.221, f"{_V2} 6", 4.3, 0.8),
    _lite("V2 0.5", "v2", 0.166, f"{_V3} 6", 1.54, 0.27, alpha=0.5),
    _lite("V2 0.35", "v2", 0.137, f"{_V3} 6", 0.93, 0.16, alpha=0.35),
    _lite("V3-Large", "v3-large", 0.220, f"{_V3} 6", 4.97, 0.62),
    _lite("V3-Large †", "v3-large", 0.220, f"{_V3} 6", 3.22, 0.51, halved=True),
    _lite("V3-Small", "v3-small", 0.160, f"{_V3} 6", 2.49, 0.21),
    _lite("V3-Small †", "v3-small", 0.161, f"{_V3} 6", 1.77, 0.16, halved=True),
)

_SEGMENT = (
    Peer("DeepLab-LargeFOV VGG-16", 513, deeplab_vgg16, 0.6576, _DEEPLAB, 20.5, None, _NO_CRF),
    Peer("DeepLab-ASPP VGG-16", 513, partial(deeplab_vgg16, 4), 0.6896, _DEEPLAB, None, None, _NO_CRF),
    Peer(
        "DeepLabv3 ResNet-101",
        513,
        deeplabv3_resnet101,
        0.8049,
        f"{_V2} 7",
        58.16,
        81.0,
        f"{_PADDED}, and three 3 x 3 convolutions at the start",
    ),
    Peer(
        "DeepLabv3 V1",
        513,
        partial(deeplabv3_mobilenet, "v1", pyramid=True),
        0.7529,
        f"{_V2} 7",
        11.15,
        14.25,
        _PADDED,
        mobilenet=True,
    ),
    Peer(
        "DeepLabv3 V2",
        513,
        partial(deeplabv3_mobilenet, "v2", pyramid=True),
        0.7570,
        f"{_V2} 7",
        4.52,
        5.8,
        _PADDED,
        mobilenet=True,
    ),
    Peer(
        "DeepLabv3 V2, no ASPP",
        513,
        partial(deeplabv3_mobilenet, "v2", pyramid=False),
        0.7532,
        f"{_V2} 7",
        2.11,
        2.75,
        mobilenet=True,
    ),
)

BENCHMARKS = (
    Benchmark("classify", "Classification", "ImageNet, one centre crop", "top1", _CLASSIFY, takes_families=True),
    Benchmark("detect", "Detection", "COCO test-dev, 0.5:0.95", "map", _DETECT),
    Benchmark("segment", "Segmentation", "PASCAL VOC 2012 val, one scale", "mean_iou", _SEGMENT),
)
