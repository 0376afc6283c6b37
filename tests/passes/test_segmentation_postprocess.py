"""The class of each pixel, made in the file: the same as outside, in float, int8 and ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.passes.segmentation_postprocess import apply


def _graph(dtype: str) -> Graph:
    quantization = Quantization.per_tensor(0.05, 3) if dtype == "int8" else None
    tensors = [
        Tensor("image", (1, 4, 4, 5), dtype, quantization),
        constant("size", np.array([16, 16], np.int32)),
        Tensor("logits", (1, 16, 16, 5), dtype, quantization),
    ]
    resize = Op("RESIZE_BILINEAR", ("image", "size"), ("logits",), {"half_pixel_centers": True, "align_corners": False})
    return Graph({tensor.name: tensor for tensor in tensors}, (resize,), ("image",), ("logits",))


def _image(dtype: str) -> np.ndarray:
    random = np.random.default_rng(0).normal(0, 30, (1, 4, 4, 5))
    return random.astype(dtype)


def _run(graph: Graph, image: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_file_gives_the_class_of_each_pixel(dtype: str) -> None:
    import onnxruntime

    graph, image = _graph(dtype), _image(dtype)
    expected = _run(graph, image).argmax(-1)
    inside = apply(graph)
    inside.check()
    found = _run(inside, image)
    assert (found.shape, found.dtype) == ((1, 16, 16), np.int32)
    assert (found == expected).all()
    session = onnxruntime.InferenceSession(write_onnx(inside))
    quantization = graph.tensors["image"].quantization
    real = image if quantization is None else quantization.dequantize(image)
    said = session.run(None, {session.get_inputs()[0].name: real.astype(np.float32)})[0]
    # Float and int8 resizing round differently where two classes are as good as equal.
    assert np.mean(np.asarray(said).reshape(expected.shape) == expected) > 0.97


def test_other_graphs_are_left_alone(small_int8: Graph) -> None:
    assert apply(small_int8) is small_int8
    assert apply(apply(_graph("int8"))).outputs == ("classes",)
