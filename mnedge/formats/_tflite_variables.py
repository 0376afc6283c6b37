"""Variables of a .tflite file: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and CALL_ONCE become states of a Graph.

Within a call each variable holds what was assigned last, so that a READ_VARIABLE is another name for that; only the
first one reads what the call before left, or, in the first call, what the subgraph of CALL_ONCE assigned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.graph.graph import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Tensor

VARIABLE_OPS = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")
# TensorType of the schema.
RESOURCE = 13
_Key = tuple[str, str]


class Reader(Protocol):
    """What reads a subgraph: the part of it that variables need.

    Attributes:
        model: The file's model, a generated class.
        data: The file.
        source: Name of the file in errors.
        subgraph: The subgraph, a generated class.
        variables: The variables of the subgraph.
    """

    model: Any
    data: bytes
    source: str
    subgraph: Any
    variables: Variables | None

    def name(self, index: int) -> str:
        """Name of a tensor."""

    def indices(self, vector: Any) -> list[int]:  # noqa: ANN401 - an array, or 0 where the field is absent
        """Numbers of a vector."""

    def count(self, count: int) -> int:
        """A count, once it is checked against the file's size."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the subgraph by name."""

    def other(self, subgraph: int) -> Reader:
        """A reader of another subgraph of the same file."""


@dataclass
class Variables:
    """The variables of a subgraph under reading.

    Attributes:
        reader: Reads the subgraph.
        owned: Tensors that an op keeps and changes itself, as an LSTM its cells.
        renamed: What READ_VARIABLE made, to the tensor that it is another name for.
    """

    reader: Reader
    owned: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    _handles: dict[str, _Key] = field(default_factory=dict)
    _now: dict[_Key, str] = field(default_factory=dict)
    _read: dict[_Key, str] = field(default_factory=dict)
    _initial: dict[_Key, NDArray[Any]] = field(default_factory=dict)

    def take(self, kind: str, entry: Any) -> None:  # noqa: ANN401 - a generated class
        """Takes one of the ops that deal with variables."""
        from mnedge.formats._tflite_schema import schema

        table = entry.BuiltinOptions()
        inputs, outputs = (
            [self.reader.name(place) for place in self.reader.indices(places)]
            for places in (entry.InputsAsNumpy(), entry.OutputsAsNumpy())
        )
        if kind == "VAR_HANDLE":
            options = schema.VarHandleOptionsT.InitFromBuf(table.Bytes, table.Pos)
            (name,) = outputs
            self._handles[name] = (_text(options.container), _text(options.sharedName))
        elif kind == "READ_VARIABLE":
            key, (name,) = self._handles[inputs[0]], outputs
            if key in self._now:
                self.renamed[name] = self._now[key]
            else:
                self._now[key] = self._read[key] = name
        elif kind == "ASSIGN_VARIABLE":
            handle, name = inputs
            self._now[self._handles[handle]] = self.renamed.get(name, name)
        else:
            options = schema.CallOnceOptionsT.InitFromBuf(table.Bytes, table.Pos)
            self._initialize(int(options.initSubgraphIndex))

    def states(self, tensors: Mapping[str, Tensor]) -> tuple[State, ...]:
        """The states: variables that are read, and what ops keep themselves.

        Raises:
            UnsupportedError: A variable has no value before the first call.
        """
        found = []
        for key, name in self._read.items():
            if key not in self._initial:
                raise UnsupportedError(
                    f"{self.reader.source}: the variable {key[1]} has no value before the first call; export the model "
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

    def _initialize(self, index: int) -> None:
        """Takes the values that the ops of another subgraph assign.

        Raises:
            UnsupportedError: It does more than to assign constants.
        """
        from mnedge.formats._tflite_schema import OP_NAMES

        reader = self.reader
        if not 0 < index < reader.model.SubgraphsLength():
            raise IndexError(f"subgraph {index} of {reader.model.SubgraphsLength()}")
        other = reader.other(index)
        tensors, assigned = other.tensors(), other.variables
        assert assigned is not None
        for place in range(other.count(other.subgraph.OperatorsLength())):
            entry = other.subgraph.Operators(place)
            code = reader.model.OperatorCodes(entry.OpcodeIndex())
            kind = OP_NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "")
            if kind not in ("ASSIGN_VARIABLE", "VAR_HANDLE"):
                raise UnsupportedError(
                    f"{reader.source}: the subgraph that CALL_ONCE calls has the op {kind}; one that assigns constants "
                    "to variables is read"
                )
            assigned.take(kind, entry)
        for key, name in assigned._now.items():  # noqa: SLF001
            data = tensors[name].data
            if data is None:
                raise UnsupportedError(
                    f"{reader.source}: the variable {key[1]} starts from {name}, which is computed; constants are read"
                )
            self._initial[key] = data


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
