"""Counted figures against the published tables, row by row, and against Keras' own layers."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mnedge.models import families
from mnedge.models.build import _architecture
from mnedge.models.cost import (
    MACS_TOLERANCE,
    PARAMETERS_TOLERANCE,
    compare,
    cost,
    published_comparisons,
    standard_convolution,
)
from mnedge.models.variant import Variant, trace
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    import keras

# alpha, resolution: MACs in millions, parameters in millions, as printed.
V1 = {
    (1.0, 224): (569, 4.24), (1.0, 192): (418, 4.24), (1.0, 160): (291, 4.24), (1.0, 128): (186, 4.24),
    (0.75, 224): (317, 2.59), (0.75, 192): (233, 2.59), (0.75, 160): (162, 2.59), (0.75, 128): (104, 2.59),
    (0.5, 224): (150, 1.34), (0.5, 192): (110, 1.34), (0.5, 160): (77, 1.34), (0.5, 128): (49, 1.34),
    (0.25, 224): (41, 0.47), (0.25, 192): (34, 0.47), (0.25, 160): (21, 0.47), (0.25, 128): (14, 0.47),
}  # fmt: skip
V2 = {
    (1.4, 224): (582, 6.06), (1.3, 224): (509, 5.34),
    (1.0, 224): (300, 3.47), (1.0, 192): (221, 3.47), (1.0, 160): (154, 3.47), (1.0, 128): (99, 3.47),
    (1.0, 96): (56, 3.47),
    (0.75, 224): (209, 2.61), (0.75, 192): (153, 2.61), (0.75, 160): (107, 2.61), (0.75, 128): (69, 2.61),
    (0.75, 96): (39, 2.61),
    (0.5, 224): (97, 1.95), (0.5, 192): (71, 1.95), (0.5, 160): (50, 1.95), (0.5, 128): (32, 1.95),
    (0.5, 96): (18, 1.95),
    (0.35, 224): (59, 1.66), (0.35, 192): (43, 1.66), (0.35, 160): (30, 1.66), (0.35, 128): (20, 1.66),
    (0.35, 96): (11, 1.66),
}  # fmt: skip
V3 = {
    ("v3-large", 1.0, 224): (217, 5.4), ("v3-large", 0.75, 224): (155, 4.0), ("v3-small", 1.0, 224): (66, 2.9),
    ("v3-small", 0.75, 224): (44, 2.4), ("v3-large-minimalistic", 1.0, 224): (209, 3.9),
    ("v3-small-minimalistic", 1.0, 224): (65, 2.0),
}  # fmt: skip
# results/results-imagenet.csv and results/benchmark-infer-*.csv of timm: multiply-adds in billions, parameters in
# millions. timm counts the batch norms' multiply-adds as well, and of a batch norm's four values only the two trained.
V4_TIMM = {
    ("v4-conv-small", 0.35, 224): (0.05, 1.91), ("v4-conv-small", 0.35, 256): (0.06, 1.91),
    ("v4-conv-small", 0.5, 224): (0.07, 2.24), ("v4-conv-small", 0.5, 256): (0.09, 2.24),
    ("v4-conv-small", 1.0, 224): (0.19, 3.77), ("v4-conv-small", 1.0, 256): (0.25, 3.77),
    ("v4-conv-medium", 1.0, 224): (0.84, 9.72), ("v4-conv-medium", 1.0, 256): (1.1, 9.72),
    ("v4-conv-medium", 1.0, 320): (1.71, 9.72),
    ("v4-conv-large", 1.0, 256): (2.86, 32.59), ("v4-conv-large", 1.0, 320): (4.47, 32.59),
    ("v4-conv-large", 1.0, 384): (6.43, 32.59), ("v4-conv-large", 1.0, 448): (8.75, 32.59),
    ("v4-hybrid-medium", 0.75, 224): (0.66, 7.31), ("v4-hybrid-medium", 1.0, 224): (0.98, 11.07),
    ("v4-hybrid-medium", 1.0, 256): (1.29, 11.07), ("v4-hybrid-medium", 1.0, 320): (2.05, 11.07),
    ("v4-hybrid-medium", 1.0, 384): (3.01, 11.07), ("v4-hybrid-medium", 1.0, 448): (4.2, 11.07),
}  # fmt: skip
PRINTED = {("v1", *key): row for key, row in V1.items()} | {("v2", *key): row for key, row in V2.items()} | V3

# Printed whole or to one digit, and so coarse that the rounding alone exceeds the tolerance.
COARSE_MACS = {("v1", 0.25, 128), ("v2", 0.5, 96), ("v2", 0.35, 96)}
COARSE_PARAMETERS = {("v3-small-minimalistic", 1.0, 224)}
# Printed otherwise than the architecture is.
WRONG_MACS = {("v1", 0.25, 192), ("v3-small", 1.0, 224), ("v3-small-minimalistic", 1.0, 224)}
WRONG_PARAMETERS = {("v3-small", 1.0, 224), ("v3-small", 0.75, 224)}


def test_the_printed_rows_are_all_there() -> None:
    assert (len(V1), len(V2), len(V3)) == (16, 22, 6)
    tables = {
        (family.name, row.alpha, row.resolution): (row.macs_millions, row.parameters_millions)
        for family in families.by_name().values()
        for row in family.published
        if "slim" in row.source
    }
    assert tables == PRINTED


@pytest.mark.parametrize("row", PRINTED)
def test_a_network_costs_what_is_printed(row: tuple[str, float, int]) -> None:
    counted = cost(Variant(*row))
    macs, parameters = PRINTED[row]
    macs_fit = abs(counted.macs / 1e6 / macs - 1) <= MACS_TOLERANCE
    parameters_fit = abs(counted.parameters / 1e6 / parameters - 1) <= PARAMETERS_TOLERANCE
    assert macs_fit == (row not in WRONG_MACS | COARSE_MACS)
    assert parameters_fit == (row not in WRONG_PARAMETERS | COARSE_PARAMETERS)
    if row in COARSE_MACS:
        assert macs - 0.5 <= counted.macs / 1e6 < macs + 1
    if row in COARSE_PARAMETERS:
        assert parameters - 0.05 <= counted.parameters / 1e6 < parameters + 0.1


def test_a_figure_that_does_not_agree_is_said_so() -> None:
    said = {}
    for family in families.names():
        if family.startswith("v4"):
            continue
        for row in published_comparisons(family):
            key = (family, row.published.alpha, row.published.resolution)
            if row.macs != "agrees":
                said[("macs", *key)] = row.macs
                assert f"{row.published.macs_millions} M printed" in row.remark
            if row.parameters != "agrees":
                said[("parameters", *key)] = row.parameters
                assert f"{row.published.parameters_millions} M printed" in row.remark
    expected = {("macs", *row): "differs" for row in WRONG_MACS} | {("macs", *row): "rounded" for row in COARSE_MACS}
    expected |= {("parameters", *row): "differs" for row in WRONG_PARAMETERS}
    expected |= {("parameters", *row): "rounded" for row in COARSE_PARAMETERS}
    assert said == expected


def test_v4_has_the_printed_rows() -> None:
    rows = {
        (family.name, row.alpha, row.resolution): (row.macs_millions / 1000, row.parameters_millions)
        for family in families.by_name().values()
        for row in family.published
        if family.name.startswith("v4")
    }
    assert rows == V4_TIMM


@pytest.mark.parametrize("row", V4_TIMM)
def test_v4_costs_what_timm_prints(row: tuple[str, float, int]) -> None:
    layers, (billions, millions) = cost(Variant(*row)).layers, V4_TIMM[row]
    normed = [layer.output_shape for layer in layers if layer.batch_norm]
    trained = sum(layer.parameters for layer in layers) - 2 * sum(shape[2] for shape in normed)
    if "hybrid" in row[0]:
        # timm keeps a gain for each channel of a block apart from the projection before it.
        trained += sum(layer.output_shape[2] for layer in layers if layer.name.endswith("_project"))
    assert trained / 1e6 == pytest.approx(millions, abs=0.0051)
    # A batch norm multiplies and adds once for each value; timm's counter takes both for one each.
    counted = sum(layer.macs for layer in layers) + 2 * sum(math.prod(shape) for shape in normed)
    assert counted / 1e9 == pytest.approx(billions, abs=0.0051)


def test_v4_says_where_a_source_and_the_architecture_disagree() -> None:
    said: dict[tuple[str, float, int, str], tuple[str, str]] = {}
    for family in families.names():
        for row in published_comparisons(family) if family.startswith("v4") else ():
            key = (family, row.published.alpha, row.published.resolution, row.published.source[:5])
            said |= {key: (row.macs, row.parameters)} if (row.macs, row.parameters) != ("agrees", "agrees") else {}
            assert (row.published.difference in row.remark) == ("differs" in (row.macs, row.parameters))
    assert said == {
        ("v4-conv-small", 1.0, 256, "timm,"): ("differs", "agrees"),
        ("v4-conv-small", 0.5, 256, "timm,"): ("differs", "agrees"),
        ("v4-conv-small", 0.5, 224, "timm,"): ("differs", "agrees"),
        ("v4-conv-small", 0.35, 256, "timm,"): ("rounded", "agrees"),
        ("v4-conv-small", 0.35, 224, "timm,"): ("rounded", "agrees"),
    }


def test_two_sources_that_print_different_figures_both_stand_there() -> None:
    paper, later = compare(Variant("v1", 0.75, 224))
    assert (paper.published.macs_millions, later.published.macs_millions) == (325, 317)
    assert "317 M" in paper.remark
    assert "325 M" in later.remark
    assert round(paper.cost.macs / 1e6) == 325


def test_known_figures() -> None:
    assert round(cost(Variant("v3-small")).parameters / 1e6, 2) == 2.55
    assert round(cost(Variant("v3-small-minimalistic")).macs / 1e6) == 52
    assert compare(Variant("v1", 0.3)) == []


def test_the_full_convolution_mobilenet_of_the_paper() -> None:
    full = standard_convolution(Variant("v1"))
    assert full.macs / 1e6 == pytest.approx(4866, rel=0.001)
    assert full.parameters / 1e6 == pytest.approx(29.3, rel=0.001)


@pytest.mark.parametrize("family", families.names())
def test_standard_convolutions_take_the_place_of_every_depthwise_one(family: str) -> None:
    variant = Variant(family)
    separable, standard = cost(variant), standard_convolution(variant)
    depthwise = [layer for layer in separable.layers if layer.kind == "depthwise"]
    assert len(standard.layers) == len(separable.layers) - len(depthwise)
    assert not any(layer.kind == "depthwise" for layer in standard.layers)
    assert standard.layers[-1] == separable.layers[-1]
    assert standard.macs > 3 * separable.macs


@pytest.mark.parametrize(
    ("family", "alpha", "resolution", "classes"),
    rest_is_slow(
        [
            ("v1", 0.25, 33, 20),
            ("v2", 0.1, 47, 3),
            ("v3-small", 0.35, 32, 7),
            ("v3-large-minimalistic", 0.35, 33, 1001),
            ("v4-conv-small", 0.35, 47, 5),
            ("v1", 1.1, 224, 1000),
            ("v1", 1 / 32, 100, 2),
            ("v2", 1.4, 127, 1000),
            ("v3-small", 1.4, 47, 1000),
            ("v3-large", 0.75, 100, 59),
            ("v3-large", 1.1, 224, 10),
            ("v3-small-minimalistic", 0.5, 127, 5),
            ("v4-conv-medium", 1.1, 47, 7),
            ("v4-conv-large", 0.1, 33, 2),
            ("v4-hybrid-medium", 0.1, 47, 3),
        ],
        5,
        3,
    ),
)
def test_counts_are_those_of_the_keras_layers(family: str, alpha: float, resolution: int, classes: int) -> None:
    variant = Variant(family, alpha, resolution, classes)
    model = _architecture(variant)
    assert cost(variant).parameters == model.count_params()
    assert cost(variant).macs == _keras_macs(model)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    for layer in trace(variant):
        if layer.kind in ("conv", "depthwise", "pointwise", "squeeze_excite", "add"):
            assert shapes[layer.name] == layer.output_shape


def _keras_macs(model: keras.Model) -> int:
    """Multiply-adds from the real layers: kernel times the positions it is applied at, and attention's products."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            positions = math.prod(layer.output.shape[1:-1])
            total += math.prod(layer.kernel.shape) * positions
        elif isinstance(layer, keras.layers.Dot):
            total += math.prod(layer.output.shape) * layer.input[0].shape[layer.axes[0]]
    return total


def test_counting_loads_no_framework() -> None:
    code = (
        "import sys; from mnedge.models.cost import cost; from mnedge.models.variant import Variant;"
        "cost(Variant('v3-large')); print(sorted({'tensorflow', 'keras', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
