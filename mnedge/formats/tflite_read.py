""".tflite bytes to Graph; nothing in the file is trusted."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.foreign import MODEL_BYTES, read_file
from mnedge.formats._tflite_int4 import unpack_int4
from mnedge.formats._tflite_variables import RESOURCE, VARIABLE_OPS, Variables
from mnedge.formats.archive import read_associated
from mnedge.graph.check import check_graph
from mnedge.graph.graph import Graph, Op, Quantization, Signature, Tensor, fresh_name

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

# The custom op that Vela makes of all that an Ethos-U runs.
VELA = "ethos-u"
# A GiB of float32; what is larger has no place on an edge device, and a damaged shape would take all memory here.
_MAX_ELEMENTS = 1 << 28
_LSTM_INTERMEDIATES = 5
BROKEN = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError)


def read_tflite(path: Path) -> Graph:
    """Reads a float or quantized .tflite file of the supported ops.

    Raises:
        InputError: No such file, not a .tflite, or cut short or damaged.
        UnsupportedError: It holds an op or dtype outside the list.
    """
    return parse_tflite(read_file(Path(path), MODEL_BYTES), str(path))


def parse_tflite(data: bytes, source: str, *, stateful: bool = False) -> Graph:
    """Reads the bytes of a .tflite file.

    Args:
        data: The bytes.
        source: Name of the file in errors.
        stateful: Take models that keep state between calls; their graph has `states`.

    Raises:
        InputError: Not a .tflite, or cut short or damaged.
        UnsupportedError: It holds an op or dtype outside the list.
    """
    from mnedge.formats.tflite_schema import schema

    check_identifier(data, source)
    try:
        model = schema.Model.GetRootAs(data, 0)
        if model.SubgraphsLength() != 1 and not stateful:
            raise UnsupportedError(
                f"{source} holds {model.SubgraphsLength()} subgraphs, as models with state (VAR_HANDLE, CALL_ONCE) or "
                "control flow (IF, WHILE) have; only models with one are read. `mnedge compile` takes state; for "
                "anything else export the model without it, its state as inputs and outputs"
            )
        reader = _Reader(model, data, source, stateful=stateful)
        graph = reader.graph()
    except BROKEN as exc:
        raise InputError(f"{source} is cut short or damaged ({exc}); copy or convert it again") from exc
    return check_graph(graph, source, reader.open)


def check_identifier(data: bytes, source: str) -> None:
    """Checks that bytes are those of a .tflite file.

    Raises:
        InputError: They are not.
    """
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise InputError(
            f"{source} is not a .tflite file: the identifier TFL3 is missing at byte 4; "
            "give a file that the TFLite converter or mnedge wrote"
        )


class _Reader:
    """Reads the parts of one model; damage surfaces as one of `BROKEN`."""

    def __init__(
        self,
        model: schema.Model,
        data: bytes,
        source: str,
        subgraph: int = 0,
        *,
        stateful: bool = False,
    ) -> None:
        self.model = model
        self.data = data
        self.source = source
        self.subgraph = model.Subgraphs(subgraph)
        self.is_first = subgraph == 0
        self.names: list[str] = []
        self.variables = Variables(source) if stateful else None
        # Tensors with another open dimension than the batch, which stands as 1 in their shapes.
        self.open: set[str] = set()

    def graph(self) -> Graph:
        tensors = self.tensors()
        ops = tuple(op for index in range(self._count(self.subgraph.OperatorsLength())) if (op := self._op(index)))
        inputs = self._indices(self.subgraph.InputsAsNumpy())
        outputs = self._indices(self.subgraph.OutputsAsNumpy())
        return Graph(
            tensors,
            ops,
            tuple(self._name(index) for index in inputs),
            tuple(self._name(index) for index in outputs),
            self._metadata(),
            self._signatures(),
            read_associated(self.data, self.source),
            () if self.variables is None else self.variables.states(tensors),
        ).replaced()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the subgraph by name."""
        tensors: dict[str, Tensor] = {}
        for index in range(self._count(self.subgraph.TensorsLength())):
            tensor = self._tensor(index, tensors)
            tensors[tensor.name] = tensor
            self.names.append(tensor.name)
        return tensors

    def _count(self, count: int) -> int:
        if count > len(self.data):
            raise ValueError(f"a vector of {count} entries is longer than the file")
        return count

    @staticmethod
    def _indices(vector: NDArray[np.int32] | int) -> list[int]:
        return [] if isinstance(vector, int) else [int(item) for item in vector]

    def _text(self, data: bytes | None, what: str) -> str:
        """A name; LiteRT's Python interface refuses the same ones."""
        try:
            return (data or b"").decode()
        except UnicodeDecodeError:
            raise InputError(
                f"{self.source} is damaged: the name of {what} is not UTF-8 text ({data!r:.80}); "
                "copy or convert it again"
            ) from None

    def _name(self, index: int) -> str:
        if not 0 <= index < len(self.names):
            raise IndexError(f"tensor {index} of {len(self.names)}")
        return self.names[index]

    def _tensor(self, index: int, taken: dict[str, Tensor]) -> Tensor:
        from mnedge.formats.tflite_schema import DTYPES, INT4

        entry = self.subgraph.Tensors(index)
        wish = self._text(entry.Name(), f"tensor {index}") or f"tensor_{index}"
        name = fresh_name(wish, taken)
        if self.variables is not None and entry.Type() == RESOURCE:
            return Tensor(name, (), "resource")
        if self.variables is not None and entry.IsVariable():
            self.variables.owned.append(name)
        is_int4 = entry.Type() == INT4
        if entry.Type() not in DTYPES and not is_int4:
            raise UnsupportedError(
                f"{self.source}: tensor {name} has a dtype (code {entry.Type()}) outside "
                f"{', '.join(sorted(DTYPES.values()))}"
            )
        dtype = "int8" if is_int4 else DTYPES[entry.Type()]
        shape = tuple(self._indices(entry.ShapeAsNumpy()))
        if any(extent < 0 for extent in shape) or np.prod(shape, dtype=float) > _MAX_ELEMENTS:
            raise ValueError(f"tensor {name} has the shape {shape}")
        if -1 in self._indices(entry.ShapeSignatureAsNumpy())[1:]:
            self.open.add(name)
        if entry.Sparsity() is not None:
            raise UnsupportedError(f"{self.source}: tensor {name} is sparse; convert the model without sparsity")
        values = self._values(entry, name, shape, dtype)
        if is_int4 and values is None:
            raise UnsupportedError(f"{self.source}: {name} is an activation in int4, for which no runtime has kernels")
        return Tensor(
            name,
            shape,
            dtype,
            self._quantization(entry, name, shape),
            values,
            self._open_shape(entry, name, shape),
            is_int4,
        )

    def _open_shape(self, entry: schema.Tensor, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        told = tuple(self._indices(entry.ShapeSignatureAsNumpy()))
        if all(extent >= 0 for extent in told):
            return ()
        if len(told) != len(shape) or any(extent not in (-1, now) for extent, now in zip(told, shape, strict=True)):
            raise ValueError(f"tensor {name} of shape {shape} has the shape signature {told}")
        return told

    def _values(self, entry: schema.Tensor, name: str, shape: tuple[int, ...], dtype: str) -> AnyArray | None:
        from mnedge.formats.tflite_schema import INT4

        if entry.IsVariable() or entry.Buffer() == 0:
            return None
        if not 0 < entry.Buffer() < self.model.BuffersLength():
            raise IndexError(f"buffer {entry.Buffer()} of {self.model.BuffersLength()}")
        buffer = self.model.Buffers(entry.Buffer())
        if buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            if end > len(self.data):
                raise ValueError(f"the values of {name} end at byte {end} of {len(self.data)}")
            raw = np.frombuffer(self.data[buffer.Offset() : end], np.uint8)
        elif buffer.DataLength() == 0:
            return None if np.prod(shape) else np.zeros(shape, dtype)
        else:
            raw = buffer.DataAsNumpy()
        if entry.Type() == INT4:
            return unpack_int4(raw.tobytes(), int(np.prod(shape))).reshape(shape)
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if raw.size != expected:
            raise ValueError(f"tensor {name} has {raw.size} bytes of data, and its shape needs {expected}")
        return np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)

    def _quantization(self, entry: schema.Tensor, name: str, shape: tuple[int, ...]) -> Quantization | None:
        table = entry.Quantization()
        if table is None or table.ScaleLength() == 0:
            return None
        scale = np.array(table.ScaleAsNumpy(), np.float32)
        zero_point = np.zeros(scale.shape, np.int64)
        if table.ZeroPointLength() == scale.size:
            zero_point = np.array(table.ZeroPointAsNumpy(), np.int64)
        elif table.ZeroPointLength() == 1:
            zero_point[:] = table.ZeroPoint(0)
        elif table.ZeroPointLength() != 0:
            raise ValueError(f"tensor {name} has {table.ZeroPointLength()} zero points for {scale.size} scales")
        if not np.all(np.isfinite(scale)) or np.any(scale < 0):
            raise ValueError(f"tensor {name} has a scale that is not a positive number")
        if scale.size == 1:
            return Quantization(scale, zero_point)
        axis = table.QuantizedDimension()
        # Old files give a bias (one dimension) the axis of its weights.
        axis = 0 if len(shape) == 1 else axis
        if not 0 <= axis < len(shape) or shape[axis] != scale.size:
            raise ValueError(f"tensor {name} of shape {shape} has {scale.size} scales along axis {axis}")
        return Quantization(scale, zero_point, axis)

    def _op(self, index: int) -> Op | None:
        """The op at a place; None for what reads and writes variables, which become states."""
        from mnedge.formats.tflite_schema import OP_NAMES, OPTIONS, STATE_OPTIONS, options_from_table, schema

        entry = self.subgraph.Operators(index)
        if not 0 <= entry.OpcodeIndex() < self.model.OperatorCodesLength():
            raise IndexError(f"operator code {entry.OpcodeIndex()} of {self.model.OperatorCodesLength()}")
        code = self.model.OperatorCodes(entry.OpcodeIndex())
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = OP_NAMES.get(builtin, f"code {builtin}")
        if self.variables is not None and kind in VARIABLE_OPS:
            if kind == "CALL_ONCE":
                self._call_once(entry, self.variables)
            else:
                self._take_variable(kind, entry, self.variables)
            return None
        known = OPTIONS if self.variables is None else {**OPTIONS, **STATE_OPTIONS}
        if kind not in known:
            raise UnsupportedError(
                f"{self.source}: op {index} is {kind}{self._made_by(entry)}, which mnedge does not read. Export the "
                f"model without it; mnedge reads {', '.join(known)}"
            )
        options: dict[str, object] = {}
        if kind == "CUSTOM":
            kind = self._text(code.CustomCode(), f"the kind of op {index}")
            if kind == VELA:
                raise UnsupportedError(
                    f"{self.source} was compiled for Arm's Ethos-U already: op {index} is {kind}"
                    f"{self._made_by(entry)}. Give the .tflite that Vela was given"
                )
            raw = entry.CustomOptionsAsNumpy()
            options["custom_options"] = b"" if isinstance(raw, int) else raw.tobytes()
        elif known[kind]:
            table = entry.BuiltinOptions()
            options_type = getattr(schema, f"{known[kind]}T")
            options = options_from_table(options_type.InitFromBuf(table.Bytes, table.Pos) if table else options_type())
        if kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            options |= self._hidden(entry)
        inputs = tuple(None if item == -1 else self._name(item) for item in self._indices(entry.InputsAsNumpy()))
        renamed = {} if self.variables is None else self.variables.renamed
        return Op(
            kind,
            tuple(name and renamed.get(name, name) for name in inputs),
            tuple(self._name(item) for item in self._indices(entry.OutputsAsNumpy())),
            options,
            code.Version(),
        )

    def _take_variable(self, kind: str, entry: schema.Operator, variables: Variables) -> None:
        names = (self._indices(places) for places in (entry.InputsAsNumpy(), entry.OutputsAsNumpy()))
        inputs, outputs = ([self._name(place) for place in places] for places in names)
        variables.take(kind, entry, inputs, outputs)

    def _call_once(self, entry: schema.Operator, variables: Variables) -> None:
        """Takes the values that another subgraph gives variables before the first call.

        Raises:
            UnsupportedError: It does more than to assign constants.
        """
        from mnedge.formats.tflite_schema import OP_NAMES, schema

        table = entry.BuiltinOptions()
        index = int(schema.CallOnceOptionsT.InitFromBuf(table.Bytes, table.Pos).initSubgraphIndex)
        if not 0 < index < self.model.SubgraphsLength():
            raise IndexError(f"subgraph {index} of {self.model.SubgraphsLength()}")
        other = _Reader(self.model, self.data, self.source, index, stateful=True)
        tensors, assigned = other.tensors(), other.variables
        assert assigned is not None
        for place in range(self._count(other.subgraph.OperatorsLength())):
            op = other.subgraph.Operators(place)
            code = self.model.OperatorCodes(op.OpcodeIndex())
            kind = OP_NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "")
            if kind not in ("ASSIGN_VARIABLE", "VAR_HANDLE"):
                raise UnsupportedError(
                    f"{self.source}: the subgraph that CALL_ONCE calls has the op {kind}; one that assigns constants "
                    "to variables is read"
                )
            other._take_variable(kind, op, assigned)
        variables.start_from(assigned, tensors)

    def _hidden(self, entry: schema.Operator) -> dict[str, object]:
        """The quantization of the hidden state that an LSTM has before its projection: its fifth intermediate."""
        places = self._indices(entry.IntermediatesAsNumpy())
        if len(places) != _LSTM_INTERMEDIATES:
            return {}
        tensor = self.subgraph.Tensors(places[-1])
        found = self._quantization(tensor, self._name(places[-1]), tuple(self._indices(tensor.ShapeAsNumpy())))
        if found is None or found.scale.size != 1:
            return {}
        return {"hidden_scale": float(found.scale[0]), "hidden_zero_point": int(found.zero_point[0])}

    def _made_by(self, entry: schema.SignatureDef) -> str:
        outputs = self._indices(entry.OutputsAsNumpy())
        return f" (makes {self._name(outputs[0])[:80]})" if outputs else ""

    def _signatures(self) -> tuple[Signature, ...]:
        found = []
        for index in range(self._count(self.model.SignatureDefsLength())):
            entry = self.model.SignatureDefs(index)
            inputs = [entry.Inputs(place) for place in range(self._count(entry.InputsLength()))]
            outputs = [entry.Outputs(place) for place in range(self._count(entry.OutputsLength()))]
            key = self._text(entry.SignatureKey(), f"signature {index}")
            found.append(Signature(key, self._tensor_maps(inputs), self._tensor_maps(outputs)))
        return tuple(found)

    def _tensor_maps(self, entries: list[schema.TensorMap]) -> tuple[tuple[str, str], ...]:
        return tuple(
            (self._text(entry.Name(), "a signature's tensor"), self._name(entry.TensorIndex())) for entry in entries
        )

    def _metadata(self) -> dict[str, bytes]:
        metadata = {}
        for index in range(self._count(self.model.MetadataLength())):
            entry = self.model.Metadata(index)
            if not 0 <= entry.Buffer() < self.model.BuffersLength():
                raise IndexError(f"buffer {entry.Buffer()} of {self.model.BuffersLength()}")
            raw = self.model.Buffers(entry.Buffer()).DataAsNumpy()
            metadata[self._text(entry.Name(), f"metadata {index}")] = b"" if isinstance(raw, int) else raw.tobytes()
        return metadata
