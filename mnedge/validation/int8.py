"""int8 means int8: the ops of a file, and those that compute in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.graph.precision import float_ops

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    return len(graph.ops), [f"{op.kind} {op.outputs[0]}" for op in float_ops(graph)]


def _onnx_ops(path: Path) -> tuple[int, list[str]]:
    from mnedge.runtimes.onnxruntime import optimized_nodes

    nodes = optimized_nodes(path)
    return len(nodes), float_nodes(nodes)


def float_nodes(nodes: Sequence[tuple[str, str, bool]]) -> list[str]:
    """Names, as "KIND name", the nodes of `optimized_nodes` that compute in float; see `int8_ops`."""
    # The writer's own step before the first QuantizeLinear belongs to the conversion of the input.
    inner = [node for node in nodes if node[0] not in _ONNX_ENDS and not node[1].endswith("/off_ties")]
    return [f"{kind} {name}" for kind, name, is_float in inner if is_float]
