"""The first ops of a model file as a file of their own: which op ends a runtime shows by cutting before and after it.

Runs in a child process: what is cut is damaged, and may make the libraries that read it hang or take all memory.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from ai_edge_litert import schema_py_generated as schema


def count_ops(path: str) -> int:
    """Number of ops of a .tflite, of its first subgraph, or of nodes of an .onnx; 0 for a file of another kind."""
    if path.endswith(".tflite"):
        return len(_tflite(path).subgraphs[0].operators or ())
    return len(_onnx(path).graph.node) if path.endswith(".onnx") else 0


def write_prefix(path: str, count: int, out: str) -> str:
    """Writes the first `count` ops of a model, whose outputs are those of the last one of them.

    Returns:
        The last one's place, kind and first output, as messages name it: "op 3 (CONV_2D, makes features)".
    """
    return _write_tflite(path, count, out) if path.endswith(".tflite") else _write_onnx(path, count, out)


@lru_cache(maxsize=1)
def _tflite(path: str) -> schema.ModelT:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)


@lru_cache(maxsize=1)
def _onnx(path: str) -> onnx.ModelProto:
    import onnx

    return onnx.load_model_from_string(Path(path).read_bytes())


def _write_tflite(path: str, count: int, out: str) -> str:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = _tflite(path)
    graph = model.subgraphs[0]
    ops, outputs = graph.operators, graph.outputs
    last = ops[count - 1]
    graph.operators, graph.outputs = ops[:count], [int(index) for index in last.outputs]
    # Signatures name outputs of the whole.
    signatures, model.signatureDefs = model.signatureDefs, None
    try:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        Path(out).write_bytes(bytes(builder.Output()))
    finally:
        graph.operators, graph.outputs, model.signatureDefs = ops, outputs, signatures
    code = model.operatorCodes[last.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    kind = kinds.get(builtin, f"code {builtin}")
    if code.customCode:
        kind = _text(code.customCode)
    made = graph.tensors[last.outputs[0]].name if len(last.outputs) else b""
    return _called(count, kind, _text(made))


def _write_onnx(path: str, count: int, out: str) -> str:
    import onnx

    prefix = onnx.ModelProto()
    prefix.CopyFrom(_onnx(path))
    last = prefix.graph.node[count - 1]
    kind, made = last.op_type, [name for name in last.output if name]
    del prefix.graph.node[count:]
    del prefix.graph.output[:]
    prefix.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    Path(out).write_bytes(prefix.SerializeToString())
    return _called(count, kind, made[0] if made else "")


def _called(count: int, kind: str, made: str) -> str:
    return f"op {count - 1} ({kind}{f', makes {made[:80]}' if made else ''})"


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""
