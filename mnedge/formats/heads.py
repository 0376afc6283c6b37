"""Kind of a file's output, from the op that makes it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.foreign import MODEL_BYTES, read_file
from mnedge.graph.heads import head_of, head_of_shape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.graph.graph import Quantization
    from mnedge.graph.heads import Head

# ONNX's names for the ops that decide, those of ONNX Runtime's own int8 ones too, and those that leave values as they
# are.
_KINDS = {
    "Softmax": "SOFTMAX", "QLinearSoftmax": "SOFTMAX", "Sigmoid": "LOGISTIC", "QLinearSigmoid": "LOGISTIC",
    "Tanh": "TANH", "Relu": "RELU", "Clip": "RELU6",
}  # fmt: skip
_SAME_VALUES = ("DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Transpose", "Flatten")
# Scale of LOGISTIC and SOFTMAX by TFLite's int8 specification; no other output has it by chance.
_PROBABILITY_STEP = 1 / 256


def head_of_file(path: Path, shape: tuple[int, ...], quantization: Quantization | None, output: str = "") -> Head:
    """Returns the kind of an output of a .tflite, an .onnx, an .ort or a folder of C.

    Args:
        path: The file; its ops decide where they can be read.
        shape: Shape of the output, as the runtime gives it.
        quantization: Quantization of the output; one column in steps of 1/256 is a probability.
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
    elif path.suffix == ".ort":
        kinds = _ort_kinds(path, output)
    if quantization is not None and quantization.scale.size == 1 and quantization.scale[0] == _PROBABILITY_STEP:
        kinds = kinds | ({"LOGISTIC"} if shape[-1:] == (1,) else {"SOFTMAX"})
    return head_of_shape(shape, kinds)


def _onnx_kinds(path: Path, output: str) -> set[str]:
    import onnx

    body = onnx.load(path, load_external_data=False).graph
    makers = {made: (node.op_type, node.input[0] if node.input else "") for node in body.node for made in node.output}
    return _deciding(makers, output or body.output[0].name)


def _ort_kinds(path: Path, output: str) -> set[str]:
    """Likewise of an .ort, whose nodes ONNX Runtime has fused already; nothing of a layout that is not known."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    try:
        model = InferenceSession.GetRootAs(read_file(path, MODEL_BYTES), 0).Model()
        body = None if model is None else model.Graph()
        if body is None:
            return set()
        makers: dict[str, tuple[str, str]] = {}
        for place in range(body.NodesLength()):
            node = body.Nodes(place)
            source = node.Inputs(0).decode() if node.InputsLength() else ""
            makers |= {
                node.Outputs(at).decode(): (node.OpType().decode(), source) for at in range(node.OutputsLength())
            }
        return _deciding(makers, output or body.Outputs(0).decode())
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError):
        return set()


def _deciding(makers: Mapping[str, tuple[str, str]], output: str) -> set[str]:
    """Kind of the op that makes an output's values.

    Args:
        makers: By the name of a value, the type and the first input of the node that makes it.
        output: Its name.
    """
    kind, source = makers.get(output, ("", ""))
    while kind in _SAME_VALUES:
        kind, source = makers.get(source, ("", ""))
    return {_KINDS.get(kind, kind)} if kind else set()
