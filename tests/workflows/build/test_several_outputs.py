"""A build of a model whose classifier is not its first output, on pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.recipe import Recipe
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.validate import validate

if TYPE_CHECKING:
    from pathlib import Path


def probability_map_and_classes() -> Graph:
    """A probability, a map, and ten classes of a grey picture of 32 px."""
    rng = np.random.default_rng(4)
    values = {"w": rng.normal(0, 0.4, (8, 3, 3, 1)), "b": np.zeros(8), "w1": rng.normal(0, 1, (1, 8)),
              "b1": np.zeros(1), "w2": rng.normal(0, 4, (10, 8)), "b2": np.zeros(10)}  # fmt: skip
    shapes = {"x": (1, 32, 32, 1), "map": (1, 16, 16, 8), "m": (1, 8), "l1": (1, 1), "real": (1, 1), "l2": (1, 10),
              "digit": (1, 10)}  # fmt: skip
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, value.astype(np.float32)) for name, value in values.items()]
    tensors.append(constant("axes", np.array([1, 2], np.int32)))
    kernel = {"stride_h": 2, "stride_w": 2, "padding": "SAME", "dilation_h_factor": 1, "dilation_w_factor": 1}
    ops = (
        Op("CONV_2D", ("x", "w", "b"), ("map",), {**kernel, "activation": "RELU"}),
        Op("MEAN", ("map", "axes"), ("m",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("m", "w1", "b1"), ("l1",), {"activation": "NONE"}),
        Op("LOGISTIC", ("l1",), ("real",)),
        Op("FULLY_CONNECTED", ("m", "w2", "b2"), ("l2",), {"activation": "NONE"}),
        Op("SOFTMAX", ("l2",), ("digit",), {"beta": 1.0}),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("real", "map", "digit"))


def test_labels_go_to_the_classifier_and_every_output_has_its_row(tmp_path: Path) -> None:
    model = tmp_path / "three.tflite"
    model.write_bytes(write_tflite(probability_map_and_classes()))
    report = build(Recipe(model=str(model), int8=True, pixels="0..1 GREY"), tmp_path / "out")
    assert report.variant.classes == 10
    assert {row.metric("top1") is not None for row in report.accuracy} == {True}
    rows = {(row.artifact, row.output): row for row in report.outputs}
    kinds = {output: row.kind for (artifact, output), row in rows.items() if artifact == "three.fp32.tflite"}
    assert kinds == {"digit": "softmax", "real": "sigmoid", "map": "map"}
    int8 = {output: rows["three.int8.tflite", output] for output in kinds}
    assert int8["real"].agreement is not None
    assert int8["real"].agreement > 0.9
    assert int8["map"].agreement is None
    assert int8["map"].agreement_snr_db is not None
    assert int8["map"].agreement_snr_db > 25
    files = [tmp_path / "out" / f"three.{name}.tflite" for name in ("fp32", "int8")]
    found = validate(files, images=40)
    assert [row.output for row in found.outputs] == ["digit", "real", "map"] * 2
    assert [row.metric("top1") is not None for row in found.accuracy] == [True, True]
    with pytest.raises(InputError, match=r"classes apart in its output digit, and apps .* read the first one, real"):
        build(Recipe(model=str(model), int8=True, pixels="0..1 GREY", bundles=("android",)), tmp_path / "app")
