"""Graphs in LiteRT, many pictures at once, against the TensorFlow executor."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled, predict, simulate
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.interpret import all_outputs, first_output, input_steps, interpret
from mnedge.quantization.ptq import PostTraining, quantize_ptq


def test_float_activations_are_those_of_the_executor(separable: Any, images: Any) -> None:
    graph, names = separable().graph(), ["stem", "sum", "mean"]
    made = interpret(graph.replaced(outputs=names), images(7), lambda _, outputs: [made.copy() for made in outputs])
    for number, expected in enumerate(compiled(graph, names)(images(7))):
        np.testing.assert_allclose(np.concatenate([outputs[number] for outputs in made]), expected, atol=1e-4)


@pytest.mark.parametrize("cores", [1, 3])
def test_every_picture_is_told_once_whatever_the_cores(
    separable: Any, images: Any, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    graph = separable().graph()
    told = interpret(graph, images(10), lambda number, outputs: (number, outputs[0].copy()))
    assert [number for number, _ in told] == list(range(10))
    np.testing.assert_allclose(np.concatenate([made for _, made in told]), predict(graph, images(10)), atol=1e-5)


def test_int8_takes_real_pictures_and_gives_real_scores(separable: Any, images: Any) -> None:
    int8 = quantize_ptq(separable().graph(), images(32), PostTraining(effort="fast")).graph
    made = first_output(int8, images(20, 5))
    assert made.dtype == np.float32
    expected = predict(int8, images(20, 5), on_tensor=simulate(int8))
    # A step of a softmax is 1/256; a kernel may round the other way where the executor finds a tie.
    assert np.abs(made - expected).mean() < 1.5 / 256
    assert np.abs(made - expected).max() < 12 / 256


@pytest.mark.parametrize("shape", [(10,), (5, 2), (1, 10)])
def test_outputs_without_an_axis_of_the_batch_get_one(digits_fp32: Graph, shape: tuple[int, ...]) -> None:
    made = [constant("shape", np.array(shape, np.int32)), Tensor("last", shape, "float32")]
    ops = (*digits_fp32.ops, Op("RESHAPE", ("scores", "shape"), ("last",)))
    graph = digits_fp32.replaced(tensors=made, ops=ops, outputs=("last", "scores"))
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    found = all_outputs(graph, pictures)
    assert found["last"].shape == ((3, 10) if shape == (1, 10) else (3, *shape))
    np.testing.assert_array_equal(found["last"].reshape(3, 10), found["scores"])
    np.testing.assert_array_equal(first_output(graph, pictures), found["last"])


def test_every_pixel_keeps_its_step(separable: Any, images: Any) -> None:
    int8 = quantize_ptq(separable().graph(), images(8), PostTraining(pixels=SYMMETRIC, effort="fast")).graph
    pixels = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    real = (pixels / np.float32(127.5) - 1).astype(np.float32)
    assert np.array_equal(input_steps(int8, real)["x"], (pixels.astype(np.int16) - 128).astype(np.int8))


def test_an_error_in_a_thread_is_not_lost(separable: Any, images: Any) -> None:
    def told(number: int, _: Any) -> None:
        if number == 3:
            raise ArithmeticError(number)

    with pytest.raises(ArithmeticError):
        interpret(separable().graph(), images(6), told)
