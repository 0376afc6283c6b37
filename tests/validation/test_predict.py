"""Artifacts over a data set on this machine: every picture once, in order, as real values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge import devices
from mnedge.data import open_dataset
from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict as reference
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import SYMMETRIC, Pixels
from mnedge.quantization.io import with_io
from mnedge.validation.accuracy import accuracy_figures
from mnedge.validation.predict import Predictions, predict
from mnedge.workflows.validate import measure

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.results.accuracy import Figures


@pytest.fixture(scope="module")
def dataset() -> Any:
    return open_dataset("demo")


def said(path: Path, dataset: Any, count: int = 30, **options: Any) -> Any:
    return predict(path, dataset, dataset.split("eval", count), device=devices.get("local"), **options)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_outputs_are_those_of_the_graph_picture_by_picture(
    digits_fp32: Graph, dataset: Any, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(write_tflite(digits_fp32) if suffix == "tflite" else write_onnx(digits_fp32))
    shares: list[float] = []
    found = said(path, dataset, progress=shares.append)
    numbers = dataset.split("eval", 30)
    pixels, labels = dataset.pixels(numbers, 16)
    assert np.array_equal(found.numbers, numbers)
    assert np.array_equal(found.labels, labels)
    np.testing.assert_allclose(found.outputs, reference(digits_fp32, SYMMETRIC.real(pixels)), atol=1e-5)
    assert (found.step_size, found.device) == (0.0, "local")
    assert shares == pytest.approx(np.arange(1, 31) / 30)


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_ends_of_every_dtype_say_the_same(small_int8: Graph, dataset: Any, tmp_path: Path, io: Any) -> None:
    (tmp_path / "plain.tflite").write_bytes(write_tflite(small_int8))
    (tmp_path / "m.tflite").write_bytes(write_tflite(with_io(small_int8, io)))
    plain, found = (said(tmp_path / name, dataset, 12) for name in ("plain.tflite", "m.tflite"))
    assert found.outputs.dtype == np.float32
    assert found.step_size == (0.0 if io == "float32" else 1 / 256)
    # A float pixel lies halfway between two steps, and QUANTIZE may take the other one.
    assert np.abs(found.outputs - plain.outputs).max() <= (3.01 / 256 if io == "float32" else 0)


def _figures(predictions: Predictions, _dataset: Any) -> Figures:
    return accuracy_figures(predictions)


def test_a_file_that_does_not_exist_is_named(dataset: Any, tmp_path: Path) -> None:
    numbers = dataset.split("eval", 3)
    with pytest.raises(InputError, match=r"gone\.tflite does not exist"):
        measure([tmp_path / "gone.tflite"], dataset, numbers, ("local",), lambda *_: None, figures=_figures)


def test_each_artifact_is_held_against_the_first(digits_fp32: Graph, dataset: Any, tmp_path: Path) -> None:
    weights = digits_fp32.tensors["head"]
    assert weights.data is not None
    other = digits_fp32.replaced(tensors=[replace(weights, data=-weights.data)])
    for name, graph in (("a", digits_fp32), ("b", digits_fp32), ("c", other)):
        (tmp_path / f"{name}.tflite").write_bytes(write_tflite(graph))
    told: dict[str, float] = {}
    paths = [tmp_path / f"{name}.tflite" for name in "abc"]
    result = measure(paths, dataset, dataset.split("eval", 40), ("local",), told.__setitem__, figures=_figures)
    agreements = {row.artifact: row.top1_agreement for row in result.parity}
    assert {row.reference for row in result.parity} == {"a.tflite"}
    assert agreements["b.tflite"] == 1.0
    assert (agreements["c.tflite"] or 0.0) < 0.5
    assert result.failed == ()
    assert set(told.values()) == {1.0}


def test_grey_pictures_of_another_shape_go_in(dataset: Any, tmp_path: Path) -> None:
    image, made = Tensor("image", (1, 12, 20, 1), "float32"), Tensor("made", (1, 240), "float32")
    shape = constant("shape", np.array([1, 240], np.int32))
    graph = Graph(
        {tensor.name: tensor for tensor in (image, made, shape)},
        (Op("RESHAPE", ("image", "shape"), ("made",)),),
        ("image",),
        ("made",),
    )
    (tmp_path / "m.tflite").write_bytes(write_tflite(graph))
    with pytest.raises(InputError, match="does not say which range"):
        said(tmp_path / "m.tflite", dataset, 3)
    with pytest.raises(InputError, match=r"RGB has 3 channels, the input 1; .*GREY"):
        said(tmp_path / "m.tflite", dataset, 3, pixels=Pixels.parse("0..255"))
    grey = Pixels.parse("0..255 GREY")
    found = said(tmp_path / "m.tflite", dataset, 3, pixels=grey)
    pictures, _ = dataset.pixels(dataset.split("eval", 3), (12, 20))
    assert np.array_equal(found.outputs.reshape(3, 12, 20, 1), grey.arranged(pictures))
