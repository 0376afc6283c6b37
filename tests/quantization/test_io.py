"""The ends of an int8 graph as int8, uint8 or float32: the same results, in LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.precision import float_ops
from mnedge.quantization.io import with_io


def run(graph: Graph, image: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=write_tflite(graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.fixture
def steps() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)


def test_int8_stays_as_it_is(small_int8: Graph) -> None:
    assert with_io(small_int8, "int8") is small_int8


def test_uint8_is_int8_plus_128(small_int8: Graph, steps: np.ndarray) -> None:
    graph = with_io(small_int8, "uint8")
    graph.check()
    made = run(graph, (steps.astype(np.int16) + 128).astype(np.uint8))
    assert made.dtype == np.uint8
    assert np.array_equal(made.astype(np.int16) - 128, run(small_int8, steps))
    assert (graph.inputs, graph.outputs) == (small_int8.inputs, small_int8.outputs)


def test_float_ends_give_the_real_values(small_int8: Graph, steps: np.ndarray) -> None:
    graph = with_io(small_int8, "float32")
    graph.check()
    image, scores = (small_int8.tensors[name].quantization for name in ("image", "scores"))
    assert image is not None
    assert scores is not None
    made = run(graph, image.dequantize(steps))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, scores.dequantize(run(small_int8, steps)))
    assert float_ops(graph) == []
    assert [graph.tensors[name].quantization for name in (*graph.inputs, *graph.outputs)] == [None, None]


def test_a_class_index_stays_an_integer(small_int8: Graph, steps: np.ndarray) -> None:
    axis, best = constant("axis", np.array(1, np.int32)), Tensor("class", (1,), "int64")
    op = Op("ARG_MAX", ("scores", "axis"), ("class",), {"output_type": 4})
    classifier = small_int8.replaced(tensors=[axis, best], ops=[*small_int8.ops, op], outputs=["class"])
    graph = with_io(classifier, "uint8")
    assert graph.ops[0].kind == "QUANTIZE"
    assert graph.tensors["class"].dtype == "int64"
    made = run(graph, (steps.astype(np.int16) + 128).astype(np.uint8))
    assert made == run(small_int8, steps).argmax()


def test_an_unknown_type_names_the_known(small_int8: Graph) -> None:
    wrong: Any = "int16"
    with pytest.raises(InputError, match="unknown I/O type 'int16'"):
        with_io(small_int8, wrong)
