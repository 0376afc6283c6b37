"""Variables of a .tflite file: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and CALL_ONCE become states of a Graph.

Within a call each variable holds what was assigned last, so that a READ_VARIABLE is another name for that; only the
first one reads what the call before left, or, in the first call, what the subgraph of CALL_ONCE assigned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.graph.graph import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats.tflite_schema import schema
    from mnedge.graph.graph import Tensor
    from mnedge.untyped import AnyArray

VARIABLE_OPS = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")
# TensorType of the schema.
RESOURCE = 13
_Key = tuple[str, str]


@dataclass
class Variables:
    """The variables of a subgraph under reading.

    Attributes:
        source: Name of the file in messages.
        owned: Tensors that an op keeps and changes itself, as an LSTM its cells.
        renamed: The tensor that each output of READ_VARIABLE is another name for.
    """

    source: str
    owned: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    _handles: dict[str, _Key] = field(default_factory=dict)
    _now: dict[_Key, str] = field(default_factory=dict)
    _read: dict[_Key, str] = field(default_factory=dict)
    _initial: dict[_Key, AnyArray] = field(default_factory=dict)

    def take(self, kind: str, entry: schema.Operator, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Takes VAR_HANDLE, READ_VARIABLE or ASSIGN_VARIABLE, with the names of its tensors."""
        from mnedge.formats.tflite_schema import schema

        if kind == "VAR_HANDLE":
            table = entry.BuiltinOptions()
            options = schema.VarHandleOptionsT.InitFromBuf(table.Bytes, table.Pos)
            (name,) = outputs
            self._handles[name] = (_text(options.container), _text(options.sharedName))
        elif kind == "READ_VARIABLE":
            key, (name,) = self._handles[inputs[0]], outputs
            if key in self._now:
                self.renamed[name] = self._now[key]
            else:
                self._now[key] = self._read[key] = name
        else:
            handle, name = inputs
            self._now[self._handles[handle]] = self.renamed.get(name, name)

    def states(self, tensors: Mapping[str, Tensor]) -> tuple[State, ...]:
        """The states: variables that are read, and what ops keep themselves.

        Raises:
            UnsupportedError: A variable has no value before the first call.
        """
        found = []
        for key, name in self._read.items():
            if key not in self._initial:
                raise UnsupportedError(
                    f"{self.source}: the variable {key[1]} has no value before the first call; export the model "
                    "with CALL_ONCE, as the TFLite converter writes it"
                )
            written = self._now[key]
            found.append(State(name, self._initial[key], None if written == name else written))
        for name in self.owned:
            tensor = tensors[name]
            start = (
                0 if tensor.quantization is None or tensor.dtype != "int8" else int(tensor.quantization.zero_point[0])
            )
            found.append(State(name, np.full(tensor.shape, start, tensor.dtype)))
        return tuple(found)

    def start_from(self, assigned: Variables, tensors: Mapping[str, Tensor]) -> None:
        """Takes the values that the ops of another subgraph assign, which CALL_ONCE runs before the first call.

        Raises:
            UnsupportedError: A value is computed.
        """
        for key, name in assigned._now.items():
            data = tensors[name].data
            if data is None:
                raise UnsupportedError(
                    f"{self.source}: the variable {key[1]} starts from {name}, which is computed; constants are read"
                )
            self._initial[key] = data


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
