"""Ops of a .tflite by name, of any kind and in every subgraph: what a resolver must register, and what Vela left."""

from __future__ import annotations

from dataclasses import dataclass

from mnedge.errors import InputError
from mnedge.formats.tflite_read import BROKEN, check_identifier


@dataclass(frozen=True)
class FileOp:
    """An op of a file.

    Attributes:
        kind: Builtin name of the op, or the name of a custom one.
        is_custom: Whether it is a custom one.
        output: Name of the first tensor that it makes; "" where it makes none.
    """

    kind: str
    is_custom: bool
    output: str


def ops_of(data: bytes, source: str) -> tuple[FileOp, ...]:
    """The ops of all subgraphs in their order, without reading what they work on.

    Args:
        data: The bytes of the file.
        source: Name of the file in errors.

    Raises:
        InputError: Not a .tflite, or cut short or damaged.
    """
    from mnedge.formats.tflite_schema import OP_NAMES, schema

    check_identifier(data, source)
    found = []
    try:
        model = schema.Model.GetRootAs(data, 0)
        for number in range(model.SubgraphsLength()):
            subgraph = model.Subgraphs(number)
            if subgraph.OperatorsLength() > len(data):
                raise ValueError(f"subgraph {number} claims {subgraph.OperatorsLength()} ops")
            for index in range(subgraph.OperatorsLength()):
                entry = subgraph.Operators(index)
                if not 0 <= entry.OpcodeIndex() < model.OperatorCodesLength():
                    raise IndexError(f"operator code {entry.OpcodeIndex()} of {model.OperatorCodesLength()}")
                code = model.OperatorCodes(entry.OpcodeIndex())
                builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
                kind = OP_NAMES.get(builtin, f"code {builtin}")
                is_custom = kind == "CUSTOM"
                if is_custom:
                    kind = (code.CustomCode() or b"").decode(errors="replace")
                output = ""
                if entry.OutputsLength() and 0 <= entry.Outputs(0) < subgraph.TensorsLength():
                    output = (subgraph.Tensors(entry.Outputs(0)).Name() or b"").decode(errors="replace")
                found.append(FileOp(kind, is_custom, output))
    except BROKEN as exc:
        raise InputError(f"{source} is cut short or damaged ({exc}); copy or convert it again") from exc
    return tuple(found)
