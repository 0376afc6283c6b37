"""Counts of the other papers' networks: against Keras where it has them, against published figures elsewhere."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

from mnedge.models.cost import Cost
from mnedge.models.peers.compare import comparisons
from mnedge.models.peers.deeplab import deeplab_vgg16, deeplabv3_mobilenet, deeplabv3_resnet101
from mnedge.models.peers.published import BENCHMARKS
from mnedge.models.peers.resnet import resnet50
from mnedge.models.peers.squeezenet import squeezenet
from mnedge.models.peers.vgg import vgg16
from mnedge.models.variant import Variant

PEERS = {peer.name: peer for benchmark in BENCHMARKS for peer in benchmark.peers}

# Where the architecture does not have what is printed; everything else must agree.
PARAMETERS_DIFFER = {"GoogLeNet", "SSD300 VGG-16", "SSDLite V3-Small †"}
MACS_DIFFER = {
    "SqueezeNet",
    "SSD Inception V2",
    "SSDLite V3-Large",
    "SSDLite V3-Large †",
    "SSDLite V3-Small",
    "DeepLabv3 ResNet-101",
    "DeepLabv3 V1",
    "DeepLabv3 V2",
}


def _cost(name: str) -> Cost:
    return Cost(tuple(PEERS[name].layers()))


@pytest.mark.parametrize(("keras_name", "layers"), [("VGG16", vgg16), ("ResNet50", resnet50)])
def test_counts_are_those_of_keras(keras_name: str, layers: Any) -> None:
    import keras

    model = getattr(keras.applications, keras_name)(weights=None)
    counted = Cost(tuple(layers()))
    kernels = (keras.layers.Conv2D, keras.layers.Dense)
    macs = sum(
        math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if isinstance(layer, kernels)
    )
    assert counted.parameters == model.count_params()
    assert counted.macs == macs


@pytest.mark.parametrize("name", PEERS)
def test_counts_are_those_that_are_printed(name: str) -> None:
    peer, counted = PEERS[name], _cost(name)
    for printed, value, tolerance, differ in (
        (peer.parameters_millions, counted.parameters / 1e6, 0.025, PARAMETERS_DIFFER),
        (peer.macs_billions, counted.macs / 1e9, 0.03, MACS_DIFFER),
    ):
        if printed is not None:
            assert (abs(value / printed - 1) <= tolerance) == (name not in differ), (value, printed)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # https://github.com/albanie/convnet-burden counts a fused multiply-add as one: 727 MFLOPS, 233 MB of float32.
        ("AlexNet", 233 * 2**20 / 4, 727e6),
        # The same: 100 MB at 21 classes and 31 GFLOPS; 81 classes add 7.8 M parameters to the predictions.
        ("SSD300 VGG-16", 100 * 2**20 / 4 + 7.8e6, None),
        # Table 3 of Inception V2's successors and every port of it: 11.2 M.
        ("Inception V2", 11.2e6, None),
        # Every port of SqueezeNet 1.0 and of the table: 1,248,424.
        ("SqueezeNet", 1_248_424, None),
        # convnet-burden again, at 513 px: 144 MB, 202 GFLOPs.
        ("DeepLab-ASPP VGG-16", 144 * 2**20 / 4, 202e9),
    ],
)
def test_counts_are_those_that_others_count(name: str, parameters: float, macs: float | None) -> None:
    counted = _cost(name)
    assert counted.parameters == pytest.approx(parameters, rel=0.03)
    if macs:
        assert counted.macs == pytest.approx(macs, rel=0.03)


def test_every_layer_starts_with_the_sides_of_one_before_it() -> None:
    for name, peer in PEERS.items():
        sides = {(peer.resolution, peer.resolution), (1, 1)}
        for layer in peer.layers():
            assert layer.input_shape[:2] in sides, (name, layer)
            sides.add(layer.output_shape[:2])


def test_the_sides_are_those_of_the_papers() -> None:
    sides = {
        "SqueezeNet": [111, 55, 27, 13],
        "AlexNet": [55, 27, 13, 6],
        "SSD300 VGG-16": [38, 19, 10, 5, 3, 1],
        "DeepLab-LargeFOV VGG-16": [513, 257, 129, 65],
        "DeepLabv3 ResNet-101": [257, 129, 65, 33],
        "SSD V1": [19, 10, 5, 3, 2, 1],
    }
    for name, expected in sides.items():
        found = {layer.output_shape[0] for layer in PEERS[name].layers()}
        assert found >= set(expected), (name, found)


def test_an_output_stride_keeps_parameters_and_every_map_after_it_as_large() -> None:
    layers = deeplabv3_mobilenet("v2", pyramid=False)
    assert min(layer.output_shape[0] for layer in layers if layer.output_shape[0] > 1) == 33
    by_name = {layer.name: layer for layer in layers}
    assert by_name["block_13_depthwise"].output_shape == (33, 33, 576)


@pytest.mark.parametrize(
    ("layers", "printed"),
    [
        (partial(deeplabv3_mobilenet, "v1", pyramid=True), 14.25),
        (partial(deeplabv3_mobilenet, "v2", pyramid=True), 5.8),
    ],
)
def test_the_printed_figures_of_deeplabv3_count_padding(layers: Any, printed: float) -> None:
    # Rates of 6, 12 and 18 all pad 33 to 36, which SpaceToBatchND has to.
    macs = [layer.macs * ((36 / 33) ** 2 if layer.name in ("aspp_1", "aspp_2", "aspp_3") else 1) for layer in layers()]
    assert sum(macs) / 1e9 == pytest.approx(printed, rel=0.02)


def test_four_branches_are_four_times_one() -> None:
    def head(branches: int) -> int:
        return sum(layer.parameters for layer in deeplab_vgg16(branches) if layer.name.startswith("fc"))

    assert head(4) == 4 * head(1)
    assert Cost(tuple(deeplabv3_resnet101())).parameters > 5 * Cost(tuple(squeezenet())).parameters


def test_the_comparison_marks_what_was_asked_for() -> None:
    (_, networks), *_ = comparisons(Variant("v2", 0.35))
    (chosen,) = [network for network in networks if network.chosen]
    assert (chosen.name, chosen.accuracy, chosen.named) == ("MobileNet V2 0.35", 0.603, True)
    (_, networks), *_ = comparisons(Variant("v3-small", 0.4, 96, 3))
    (chosen,) = [network for network in networks if network.chosen]
    assert (chosen.name, chosen.accuracy) == ("MobileNet V3-Small 0.4, 96 px, 3 classes", None)
    assert not any(network.chosen for _, networks in comparisons() for network in networks)


def test_what_differs_is_said_and_every_figure_has_a_source() -> None:
    for benchmark, networks in comparisons():
        assert [network.cost.macs for network in networks] == sorted(
            (network.cost.macs for network in networks), reverse=True
        )
        for network in networks:
            assert network.source, network.name
            assert 0 < (network.accuracy or 0) < 1
            if benchmark.task != "classify" or not network.mobilenet:
                assert ("parameters printed" in network.remark) == (network.name in PARAMETERS_DIFFER)
                assert ("multiply-adds printed" in network.remark) == (network.name in MACS_DIFFER)


def test_comparing_loads_no_framework() -> None:
    code = (
        "import sys; from mnedge.models.peers.compare import comparisons; list(comparisons());"
        "print(sorted({'tensorflow', 'keras', 'h5py', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
