"""What an output of a file is, from the op that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.graph.heads import head_of, head_of_shape

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Quantization
    from mnedge.graph.heads import Head

# ONNX's names for the ops that decide, and those that leave values as they are.
_KINDS = {"Softmax": "SOFTMAX", "Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU", "Clip": "RELU6"}
_SAME_VALUES = ("DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose", "Flatten")
# Of LOGISTIC and SOFTMAX by TFLite's int8 specification; no other output has it by chance.
_PROBABILITY_STEP = 1 / 256


def head_of_file(path: Path, shape: tuple[int, ...], quantization: Quantization | None, output: str = "") -> Head:
    """What an output of a .tflite, an .onnx or a folder of C is.

    Args:
        path: The file; its ops decide where they can be read.
        shape: Of the output, as the runtime gives it.
        quantization: Of the output; one column in steps of 1/256 is a probability.
        output: Its name; "" for the first one.
    """
    kinds: set[str] = set()
    if path.suffix == ".tflite":
        from mnedge.formats.tflite_read import read_tflite

        try:
            graph = read_tflite(path)
            return head_of(graph, output if output in graph.outputs else graph.outputs[0])
        except UnsupportedError:
            pass  # An op that no Graph holds says nothing; shape and steps remain.
    elif path.suffix == ".onnx":
        kinds = _onnx_kinds(path, output)
    if quantization is not None and quantization.scale.size == 1 and quantization.scale[0] == _PROBABILITY_STEP:
        kinds = kinds | ({"LOGISTIC"} if shape[-1:] == (1,) else {"SOFTMAX"})
    return head_of_shape(shape, kinds)


def _onnx_kinds(path: Path, output: str) -> set[str]:
    import onnx

    body = onnx.load(path, load_external_data=False).graph
    makers = {output: node for node in body.node for output in node.output}
    node = makers.get(output or body.output[0].name)
    while node is not None and node.op_type in _SAME_VALUES:
        node = makers.get(node.input[0])
    return set() if node is None else {_KINDS.get(node.op_type, node.op_type)}
