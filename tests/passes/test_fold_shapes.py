from typing import Any

import numpy as np
import pytest

from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.passes import fold_shapes
from mnedge.passes._pass import run_passes
from mnedge.targets.cpu import TARGET


@pytest.fixture(scope="module")
def exported() -> bytes:
    """What Keras' own export makes of a small model: int8, the batch left free."""
    import keras
    import tensorflow as tf

    image = keras.Input((16, 16, 3))
    value = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(image)
    value = keras.layers.Conv2D(4, 1)(keras.layers.GlobalAveragePooling2D(keepdims=True)(value))
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.Flatten()(value)))
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 16, 16, 3), tf.float32, name="image"))
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(concrete)])
    return bytes(converter.convert())


def test_keras_export_loses_its_shape_computation(exported: bytes, same: Any) -> None:
    graph = parse_tflite(exported, "the exported model")
    kinds = [op.kind for op in graph.ops]
    assert {"SHAPE", "STRIDED_SLICE", "PACK"} <= set(kinds)
    folded = fold_shapes.apply(graph)
    left = [op.kind for op in folded.ops]
    assert left == [kind for kind in kinds if kind not in ("SHAPE", "STRIDED_SLICE", "PACK")]
    same(graph, folded)
    # The reader and the writer take such files as they are, too.
    assert [op.kind for op in parse_tflite(write_tflite(graph), "the copy").ops] == kinds
    same(graph, run_passes(graph, TARGET.passes))


def test_shapes_that_the_caller_gets_stay(sketch: Any) -> None:
    sketch.value("x", 1, 4, 4, 2)
    sketch.value("y", 1, 4, 4, 2)
    sketch.tensors["s"] = sketch.tensors["x"].__class__("s", (4,), "int32")
    sketch.op("SHAPE", ("x",), "s", out_type=2)
    sketch.op("RELU", ("x",), "y")
    graph = sketch.graph("x", "y", "s")
    assert fold_shapes.apply(graph) is graph


def test_known_slices_are_computed_as_numpy_does(sketch: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 6, 4, 2)
    table = sketch.tensors["x"].__class__
    for name, shape in (("s", (4,)), ("t", (2,)), ("u", ()), ("p", (2,))):
        sketch.tensors[name] = table(name, shape, "int32")
    sketch.value("y", 48, 1)
    for name, value in {"b": [1], "e": [-1], "st": [1], "zero": [0], "one": [1], "all": 48}.items():
        sketch.constant(name, np.array(value, np.int32))
    sketch.op("SHAPE", ("x",), "s", out_type=2)
    sketch.op("STRIDED_SLICE", ("s", "b", "e", "st"), "t", begin_mask=0, end_mask=0, shrink_axis_mask=0)
    sketch.op("STRIDED_SLICE", ("s", "zero", "one", "st"), "u", begin_mask=0, end_mask=0, shrink_axis_mask=1)
    sketch.op("PACK", ("all", "u"), "p", values_count=2, axis=0)
    sketch.op("RESHAPE", ("x", "p"), "y")
    graph = sketch.graph("x", "y")
    folded = fold_shapes.apply(graph)
    assert [op.kind for op in folded.ops] == ["RESHAPE"]
    packed = folded.tensors["p"].data
    assert packed is not None
    assert packed.tolist() == [48, 1]
    assert np.array_equal(execute(graph, feed(graph))[0], execute(folded, feed(graph))[0])


def test_products_of_gathered_extents_are_computed(sketch: Any) -> None:
    """A Dense layer over a picture computes so how many rows it has."""
    sketch.value("x", 1, 6, 4, 2)
    table = sketch.tensors["x"].__class__
    for name, shape in (("s", (4,)), ("g", (3,)), ("n", ()), ("last", (1,)), ("p", (2,))):
        sketch.tensors[name] = table(name, shape, "int32")
    sketch.value("y", 24, 2)
    for name, value in {"front": [0, 1, 2], "back": [3], "zero": [0], "two": 2}.items():
        sketch.constant(name, np.array(value, np.int32))
    sketch.op("SHAPE", ("x",), "s", out_type=2)
    sketch.op("GATHER", ("s", "front"), "g", axis=0, batch_dims=0)
    sketch.op("REDUCE_PROD", ("g", "zero"), "n", keep_dims=False)
    sketch.op("PACK", ("n", "two"), "p", values_count=2, axis=0)
    sketch.op("RESHAPE", ("x", "p"), "y")
    folded = fold_shapes.apply(sketch.graph("x", "y"))
    assert [op.kind for op in folded.ops] == ["RESHAPE"]
    packed = folded.tensors["p"].data
    assert packed is not None
    assert packed.tolist() == [24, 2]
