"""int8 means int8: the ops of a file, and those that compute in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENDS = ("QUANTIZE", "DEQUANTIZE")
_ONNX_ENDS = ("QuantizeLinear", "DequantizeLinear")


def int8_ops(path: Path) -> tuple[int, list[str]]:
    """Counts the ops of a .tflite, or of an .onnx as ONNX Runtime runs it, and names the float ones.

    Returns:
        How many ops there are, and "KIND tensor" of each that reads or makes float values; the conversions at
        the ends, which the I/O dtype asks for, do not count.
    """
    return _tflite_ops(path) if path.suffix == ".tflite" else _onnx_ops(path)


def _tflite_ops(path: Path) -> tuple[int, list[str]]:
    from mnedge.formats.tflite_read import read_tflite

    graph = read_tflite(path)
    named = []
    for op in graph.ops:
        tensors = [graph.tensors[name] for name in (*op.inputs, *op.outputs) if name is not None]
        is_end = op.kind in _ENDS and any(tensor.name in (*graph.inputs, *graph.outputs) for tensor in tensors)
        if not is_end and any(tensor.dtype == "float32" for tensor in tensors):
            named.append(f"{op.kind} {op.outputs[0]}")
    return len(graph.ops), named


def _onnx_ops(path: Path) -> tuple[int, list[str]]:
    from mnedge.runtimes.onnxruntime import optimized_nodes

    nodes = optimized_nodes(path)
    # The writer's own step before the first QuantizeLinear belongs to the conversion of the input.
    inner = [node for node in nodes if node[0] not in _ONNX_ENDS and not node[1].endswith("/off_ties")]
    return len(nodes), [f"{kind} {name}" for kind, name, is_float in inner if is_float]
