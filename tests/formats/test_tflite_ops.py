"""Ops that only others use: what TensorFlow's converter writes of them is read, written and computes the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite


def _elementwise(tf: Any, x: Any) -> list[Any]:
    positive = tf.abs(x) + 0.1
    return [
        tf.math.ceil(x), tf.cos(x), tf.nn.elu(x), tf.floor(x), tf.math.floordiv(x, positive),
        tf.math.floormod(x, positive), tf.nn.gelu(x), tf.nn.leaky_relu(x, 0.3), tf.math.log(positive),
        tf.nn.log_softmax(x), -x, tf.pow(positive, x), tf.round(x), tf.sin(x), tf.sqrt(positive), tf.square(x),
        tf.tanh(x), tf.zeros_like(x) + x, tf.nn.relu(tf.clip_by_value(x, -1.0, 1.0)), tf.add_n([x, positive, x]),
    ]  # fmt: skip


def _logical(tf: Any, x: Any) -> list[Any]:
    above, below = x > 0.2, x <= 0.5
    both = tf.logical_and(above, tf.logical_or(below, tf.logical_not(above)))
    pairs = [tf.equal(x, x), tf.not_equal(x, 0.0), tf.greater_equal(x, 0.1), tf.less(x, 0.4)]
    return [tf.where(both, x, -x), *(tf.cast(pair, tf.float32) for pair in pairs)]


def _shapes(tf: Any, x: Any) -> list[Any]:
    halves = tf.split(x, 2, axis=2)
    parts = tf.split(x, [1, 3, 4], axis=2)
    rows = tf.unstack(x, axis=1)
    return [
        *halves, parts[1], rows[2], tf.gather(x, [3, 0], axis=2), tf.gather_nd(x, [[0, 1, 2], [0, 3, 1]]),
        tf.reverse(x, [1]), tf.expand_dims(x, 1), tf.broadcast_to(x[:, :1], tf.shape(x)),
        tf.nn.space_to_depth(x[..., tf.newaxis], 2), tf.nn.depth_to_space(tf.reshape(x, (1, 2, 2, 8)), 2),
        tf.space_to_batch_nd(x[..., tf.newaxis], [2, 2], [[0, 0], [0, 0]]),
        tf.batch_to_space(tf.reshape(x, (4, 2, 4, 1)), [2, 2], [[0, 0], [0, 0]]),
        tf.pad(x, [[0, 0], [1, 1], [2, 0]], constant_values=3.0), tf.pad(x, [[0, 0], [1, 1], [2, 2]], "REFLECT"),
    ]  # fmt: skip


def _reduced(tf: Any, x: Any) -> list[Any]:
    values, places = tf.math.top_k(x, 3)
    boxes = tf.reshape(x[:, :, :4], (4, 4))
    kept = tf.image.non_max_suppression_with_scores(boxes, tf.reshape(x[:, :, 4], (4,)), 3, 0.5)
    return [
        tf.reduce_max(x, 2), tf.reduce_min(x, 1, keepdims=True), tf.reduce_prod(x, 2), tf.cumsum(x, 1, exclusive=True),
        values, places, tf.argmin(x, 2), tf.one_hot(tf.cast(tf.argmax(x, 2), tf.int32), 8), kept[1],
        tf.matmul(x, x, transpose_b=True), tf.range(0.0, tf.reduce_max(x) * 0 + 3.0), tf.fill((2, 3), x[0, 0, 0]),
    ]  # fmt: skip


def _run(data: bytes, image: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]).copy() for output in interpreter.get_output_details()]


@pytest.mark.parametrize("make", [_elementwise, _logical, _shapes, _reduced])
def test_what_the_converter_writes_comes_back(make: Any) -> None:
    import tensorflow as tf

    function = tf.function(
        lambda x: {f"out_{place}": value for place, value in enumerate(make(tf, x))},
        input_signature=[tf.TensorSpec((1, 4, 8), tf.float32)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    data = converter.convert()
    graph = parse_tflite(data, "theirs")
    again = write_tflite(graph)
    assert Counter(op.kind for op in parse_tflite(again, "ours").ops) == Counter(op.kind for op in graph.ops)
    image = np.random.default_rng(3).normal(size=(1, 4, 8)).astype(np.float32)
    for theirs, ours in zip(_run(data, image), _run(again, image), strict=True):
        np.testing.assert_array_equal(theirs, ours)
