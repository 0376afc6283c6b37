"""Preprocessing in the graph, folded: the same outputs in LiteRT, borders included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.executor import predict
from mnedge.graph.heads import snr_db
from mnedge.passes.fold_preprocessing import apply, pixel_input, shared_steps
from mnedge.pixels import SYMMETRIC, Pixels
from mnedge.quantization.interpret import first_output
from mnedge.quantization.ptq import PostTraining, quantize_ptq

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

_RAW = Pixels.parse("0..255")


def pictures(count: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def prepared(sketch: Any, steps: list[tuple[str, Any]], padding: str, **options: Any) -> Graph:
    """A picture, some elementwise ops, a convolution of 3 x 3."""
    name = sketch.value("image", 1, 8, 8, 3)
    for number, (kind, values) in enumerate(steps):
        made = sketch.value(f"step{number}", 1, 8, 8, 3)
        sketch.op(kind, (name, sketch.constant(f"c{number}", np.asarray(values, np.float32))), made)
        name = made
    side = 6 if padding == "VALID" else 8
    depthwise = bool(options.get("depthwise"))
    sketch.conv(name, sketch.value("out", 1, side, side, 3), (1, 3, 3, 3) if depthwise else (3, 3, 3, 3),
                padding=padding, **options)  # fmt: skip
    return sketch.graph("image", "out")


def same(graph: Graph, folded: Graph, images: np.ndarray, others: np.ndarray) -> None:
    exact = first_output(graph, images)
    np.testing.assert_allclose(first_output(folded, others), exact, atol=2e-5 * np.abs(exact).max())


_RESCALING = [("MUL", 1 / 127.5), ("ADD", -1.0)]
_NORMALIZATION = [("SUB", [[[[123.0, 116.0, 103.0]]]]), ("MUL", [[[[1 / 58, 1 / 57, 1 / 56]]]])]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("steps", [_RESCALING, _NORMALIZATION, [("SUB", 127.5), ("DIV", 127.5)]])
def test_without_padding_the_convolution_takes_all(sketch: Any, steps: Any, depthwise: bool) -> None:
    graph = prepared(sketch, steps, "VALID", depthwise=depthwise)
    folded = apply(graph)
    assert len(folded.ops) == 1
    images = pictures().astype(np.float32)
    same(graph, folded, images, images)


def test_with_padding_it_takes_a_factor(sketch: Any) -> None:
    graph = prepared(sketch, [("DIV", 255.0), ("MUL", [1.0, 2.0, 3.0])], "SAME")
    folded = apply(graph)
    assert len(folded.ops) == 1
    images = pictures().astype(np.float32)
    same(graph, folded, images, images)


def test_with_padding_a_shift_stays(sketch: Any) -> None:
    graph = prepared(sketch, _RESCALING, "SAME")
    assert apply(graph) is graph


@pytest.mark.parametrize("steps", [[("SUB", 1.0), ("ADD", np.ones((1, 8, 8, 3)))], [("MUL", -1.0)]])
def test_what_is_no_map_of_channels_or_turns_them_over_stays(sketch: Any, steps: Any) -> None:
    graph = prepared(sketch, steps, "SAME")
    left, pixels = pixel_input(graph, _RAW)
    assert [op.kind for op in left.ops][-2] == steps[-1][0]
    images = pictures()
    same(graph, left, _RAW.real(images), pixels.real(images))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_input_takes_what_the_ops_made(sketch: Any, padding: str) -> None:
    graph = prepared(sketch, _RESCALING, padding)
    left, pixels = pixel_input(graph, _RAW)
    assert str(pixels) == "-1..1"
    assert [op.kind for op in left.ops] == ["CONV_2D"]
    same(graph, left, _RAW.real(pictures()), pixels.real(pictures()))


def test_pixels_that_are_known_go_through_the_ops(sketch: Any) -> None:
    graph = prepared(sketch, [("ADD", 1.0), ("MUL", 127.5), ("SUB", [[[[103.0, 116.0, 123.0]]]])], "SAME")
    left, pixels = pixel_input(graph, SYMMETRIC)
    assert pixels.offset == pytest.approx((-103, -116, -123))
    same(graph, left, SYMMETRIC.real(pictures()), pixels.real(pictures()))


@pytest.mark.parametrize(
    ("padding", "words", "ops", "shown"),
    [
        ("VALID", "imagenet", ["CONV_2D"], "0..255"),
        ("SAME", "imagenet", ["DEPTHWISE_CONV_2D", "CONV_2D"], "0..255"),
        ("SAME", "100,100,100,50,60,70", ["CONV_2D"], "-100..155"),
        ("SAME", "0..1", ["CONV_2D"], "0..1"),
    ],
)
def test_one_range_serves_all_channels_and_borders_stay_right(
    sketch: Any, padding: str, words: str, ops: list[str], shown: str
) -> None:
    graph, before = prepared(sketch, [], padding), Pixels.parse(words)
    left, pixels = shared_steps(graph, before)
    assert [op.kind for op in left.ops] == ops
    assert (str(pixels), pixels.is_per_tensor) == (shown, True)
    same(graph, left, before.real(pictures()), pixels.real(pictures()))


def test_int8_then_takes_the_pixel_and_loses_little(sketch: Any) -> None:
    before = Pixels.parse("imagenet")
    graph = prepared(sketch, [], "SAME")
    left, pixels = shared_steps(graph, before)
    many = pictures(40)
    int8 = quantize_ptq(left, pixels.real(many), PostTraining(pixels=pixels, effort="fast")).graph
    steps = int8.tensors["image"].quantization
    assert steps is not None
    assert (steps.scale[0], steps.zero_point[0]) == (1.0, -128)
    noise = snr_db(predict(graph, before.real(many)), first_output(int8, pixels.real(many)))
    assert noise is not None
    assert noise > 30
