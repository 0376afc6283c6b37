"""Keras' UnitNormalization becomes L2_NORMALIZATION, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.formats.keras import keras_to_graph
from mnedge.formats.tflite_write import write_tflite
from mnedge.passes.fuse_l2_normalization import apply

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


@pytest.fixture(scope="module")
def converted() -> Graph:
    import keras

    image = keras.Input(batch_shape=(1, 4, 4, 3), name="image")
    flat = keras.layers.Flatten()(keras.layers.Conv2D(5, 3, name="conv")(image))
    return keras_to_graph(keras.Model(image, keras.layers.UnitNormalization(name="embedding")(flat)))


def _run(graph: Graph, image: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def test_it_computes_the_same_with_one_op(converted: Graph) -> None:
    fused = apply(converted)
    fused.check()
    assert [op.kind for op in fused.ops][-1] == "L2_NORMALIZATION"
    assert not {"SQUARE", "RSQRT", "MINIMUM"} & {op.kind for op in fused.ops}
    assert fused.outputs == converted.outputs
    for scale in (1e-2, 1.0, 100.0):
        image = (scale * np.random.default_rng(0).normal(size=(1, 4, 4, 3))).astype(np.float32)
        np.testing.assert_allclose(_run(fused, image), _run(converted, image), atol=1e-6)


def test_a_graph_without_it_or_that_shows_its_parts_is_left_alone(converted: Graph, small_int8: Graph) -> None:
    assert apply(small_int8) is small_int8
    root = next(op for op in converted.ops if op.kind == "RSQRT").outputs[0]
    seen = converted.replaced(outputs=[*converted.outputs, root])
    assert apply(seen) is seen
