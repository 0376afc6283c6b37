"""Graphs of several inputs: pictures, numbers and indices side by side, each with steps of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.batch import Batch
from mnedge.errors import UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.heads import snr_db
from mnedge.pixels import Pixels
from mnedge.quantization.honesty import check_int8
from mnedge.quantization.interpret import first_output
from mnedge.quantization.io import with_io
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.quantization.qat import quantize_qat
from mnedge.runtimes.onnxruntime import OnnxRuntimeSession

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = [PostTraining(effort="fast", ranges="min-max"), PostTraining(effort="fast"), PostTraining()]


def fused(*, words: bool = False) -> Graph:
    """Four numbers, a picture of 8 x 8, and with `words` a number of a word: joined, and three numbers made of them."""
    rng = np.random.default_rng(5)
    kernel = {"stride_h": 2, "stride_w": 2, "padding": "SAME", "dilation_h_factor": 1, "dilation_w_factor": 1}
    joined = ["numbers", "mean", *(["vector"] if words else [])]
    width = 4 + 6 + 3 * words
    constants = {
        "w1": rng.normal(0, 0.3, (6, 3, 3, 3)), "b1": rng.normal(0, 0.2, 6), "w2": rng.normal(0, 0.5, (3, width)),
        "b2": np.zeros(3), "table": rng.normal(0, 1, (5, 3)),
    }  # fmt: skip
    shapes = {"numbers": (1, 4), "image": (1, 8, 8, 3), "conv": (1, 4, 4, 6), "mean": (1, 6), "vector": (1, 3),
              "joined": (1, width), "out": (1, 3)}  # fmt: skip
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, value.astype(np.float32)) for name, value in constants.items()]
    tensors += [constant("axes", np.array([1, 2], np.int32)), Tensor("word", (1,), "int32")]
    ops = [
        Op("CONV_2D", ("image", "w1", "b1"), ("conv",), {**kernel, "activation": "RELU"}),
        Op("MEAN", ("conv", "axes"), ("mean",), {"keep_dims": False}),
        *([Op("GATHER", ("table", "word"), ("vector",), {"axis": 0, "batch_dims": 0})] if words else []),
        Op("CONCATENATION", tuple(joined), ("joined",), {"axis": 1, "activation": "NONE"}),
        Op("FULLY_CONNECTED", ("joined", "w2", "b2"), ("out",), {"activation": "NONE"}),
    ]
    inputs = ("numbers", "image", *(["word"] if words else []))
    graph = Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), inputs, ("out",))
    return graph.replaced()


def samples(count: int, *, words: bool = False) -> Batch:
    rng = np.random.default_rng(count)
    arrays: dict[str, Any] = {
        "numbers": rng.uniform(-6, 6, (count, 4)).astype(np.float32),
        "image": (rng.integers(0, 256, (count, 8, 8, 3)) / np.float32(255)).astype(np.float32),
    }
    if words:
        arrays["word"] = rng.integers(0, 5, (count,)).astype(np.int32)
    return Batch(arrays)


@pytest.mark.parametrize("chosen", _SETTINGS, ids=lambda chosen: f"{chosen.effort}-{chosen.ranges}")
def test_int8_of_two_inputs_is_close_to_float(chosen: PostTraining) -> None:
    graph, given = fused(), samples(100)
    int8 = quantize_ptq(graph, given, chosen).graph
    assert check_int8(int8) == []
    assert int8.inputs == ("numbers", "image")
    steps = {name: int8.tensors[name].quantization for name in int8.inputs}
    assert all(found is not None for found in steps.values())
    assert float(steps["image"].scale[0]) == pytest.approx(1 / 255, rel=1e-3)  # type: ignore[union-attr]
    assert float(steps["numbers"].scale[0]) > 10 / 255  # type: ignore[union-attr]
    noise = snr_db(predict(graph, given), first_output(int8, given))
    assert noise is not None
    assert noise > 30


def test_pixels_are_of_the_picture_among_the_inputs() -> None:
    chosen = PostTraining(effort="fast", pixels=Pixels((1 / 255,), (0.0,)))
    int8 = quantize_ptq(fused(), samples(40), chosen).graph
    image, numbers = (int8.tensors[name].quantization for name in ("image", "numbers"))
    assert image is not None
    assert numbers is not None
    assert (float(image.scale[0]), int(image.zero_point[0])) == (np.float32(1 / 255), -128)
    assert int(numbers.zero_point[0]) != -128


def test_an_input_of_indices_stays_one() -> None:
    graph, given = fused(words=True), samples(100, words=True)
    int8 = quantize_ptq(graph, given).graph
    assert check_int8(int8) == []
    assert (int8.tensors["word"].dtype, int8.tensors["word"].quantization) == ("int32", None)
    noise = snr_db(predict(graph, given), first_output(int8, given))
    assert noise is not None
    assert noise > 30


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_every_end_has_the_dtype_that_is_asked_for(io: Any) -> None:
    int8 = with_io(quantize_ptq(fused(), samples(40), _SETTINGS[0]).graph, io)
    assert {int8.tensors[name].dtype for name in (*int8.inputs, *int8.outputs)} == {io}
    assert write_tflite(int8)


def test_onnx_of_two_inputs_says_the_same(tmp_path: Path) -> None:
    int8, fresh = quantize_ptq(fused(), samples(60)).graph, samples(30)
    for name, graph, least in (("fp32", fused(), 100), ("int8", int8, 35)):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(write_onnx(graph))
        session = OnnxRuntimeSession(path, 1)
        assert [spec.name for spec in session.inputs] == ["numbers", "image"]
        rows = [tuple(values[place : place + 1] for values in fresh.arrays.values()) for place in range(30)]
        made = np.concatenate([session.run(*row)[0] for row in rows])
        noise = snr_db(first_output(graph, fresh), made)
        assert noise is None or noise > least


def test_the_bits_do_not_depend_on_the_order_of_the_arrays() -> None:
    given = samples(40)
    turned = Batch({name: given.arrays[name] for name in ("image", "numbers")})
    one, other = (write_tflite(quantize_ptq(fused(), batch).graph) for batch in (given, turned))
    assert one == other


def test_training_with_fake_quantization_refuses_a_second_input(tmp_path: Path) -> None:
    pictures = samples(8).arrays["image"]
    with pytest.raises(UnsupportedError, match=r"2 inputs \(numbers, image\); training .* takes one, .*--method ptq"):
        quantize_qat(fused(), pictures, checkpoint_dir=tmp_path)
