""".tflite bytes to Graph; nothing in the file is trusted."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.foreign import MODEL_BYTES, read_file
from mnedge.formats.archive import read_associated
from mnedge.graph.check import check_graph
from mnedge.graph.graph import Graph, Op, Quantization, Signature, Tensor, fresh_name

# The custom op that Vela makes of all that an Ethos-U runs.
_VELA = "ethos-u"
_MAX_ELEMENTS = 1 << 31
_BROKEN = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError)


def read_tflite(path: Path) -> Graph:
    """Reads a float or quantized .tflite file of the supported ops.

    Raises:
        InputError: No such file, not a .tflite, or cut short or damaged.
        UnsupportedError: It holds an op or dtype outside the list.
    """
    return parse_tflite(read_file(Path(path), MODEL_BYTES), str(path))


def parse_tflite(data: bytes, source: str) -> Graph:
    """Reads the bytes of a .tflite file; `source` names it in errors.

    Raises:
        InputError: Not a .tflite, or cut short or damaged.
        UnsupportedError: It holds an op or dtype outside the list.
    """
    from mnedge.formats._tflite_schema import schema

    if len(data) < 8 or data[4:8] != b"TFL3":
        raise InputError(
            f"{source} is not a .tflite file: the identifier TFL3 is missing at byte 4; "
            "give a file that the TFLite converter or mnedge wrote"
        )
    try:
        model = schema.Model.GetRootAs(data, 0)
        if model.SubgraphsLength() != 1:
            raise UnsupportedError(
                f"{source} holds {model.SubgraphsLength()} subgraphs, as models with state (VAR_HANDLE, CALL_ONCE) or "
                "control flow (IF, WHILE) have; only models with one are read. Export the model without state, its "
                "state as inputs and outputs"
            )
        reader = _Reader(model, data, source)
        graph = reader.graph()
    except _BROKEN as exc:
        raise InputError(f"{source} is cut short or damaged ({exc}); copy or convert it again") from exc
    check_graph(graph, source, reader.open)
    return graph


class _Reader:
    """Reads the parts of one model; damage surfaces as one of `_BROKEN`."""

    def __init__(self, model: Any, data: bytes, source: str) -> None:  # noqa: ANN401 - a generated class
        self.model = model
        self.data = data
        self.source = source
        self.subgraph = model.Subgraphs(0)
        self.names: list[str] = []
        # Tensors with another open dimension than the batch, which stands as 1 in their shapes.
        self.open: set[str] = set()

    def graph(self) -> Graph:
        tensors: dict[str, Tensor] = {}
        for index in range(self._count(self.subgraph.TensorsLength())):
            tensor = self._tensor(index, tensors)
            tensors[tensor.name] = tensor
            self.names.append(tensor.name)
        ops = tuple(self._op(index) for index in range(self._count(self.subgraph.OperatorsLength())))
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
        ).replaced()

    def _count(self, count: int) -> int:
        if count > len(self.data):
            raise ValueError(f"a vector of {count} entries is longer than the file")
        return count

    @staticmethod
    def _indices(vector: Any) -> list[int]:  # noqa: ANN401 - an array, or 0 where the field is absent
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
        from mnedge.formats._tflite_schema import DTYPES

        entry = self.subgraph.Tensors(index)
        wish = self._text(entry.Name(), f"tensor {index}") or f"tensor_{index}"
        name = fresh_name(wish, taken)
        if entry.Type() not in DTYPES:
            raise UnsupportedError(
                f"{self.source}: tensor {name} has a dtype (code {entry.Type()}) outside "
                f"{', '.join(sorted(DTYPES.values()))}"
            )
        dtype = DTYPES[entry.Type()]
        shape = tuple(self._indices(entry.ShapeAsNumpy()))
        if any(extent < 0 for extent in shape) or np.prod(shape, dtype=float) > _MAX_ELEMENTS:
            raise ValueError(f"tensor {name} has the shape {shape}")
        if -1 in self._indices(entry.ShapeSignatureAsNumpy())[1:]:
            self.open.add(name)
        if entry.Sparsity() is not None:
            raise UnsupportedError(f"{self.source}: tensor {name} is sparse; convert the model without sparsity")
        values = self._values(entry, name, shape, dtype)
        return Tensor(
            name, shape, dtype, self._quantization(entry, name, shape), values, self._open_shape(entry, name, shape)
        )

    def _open_shape(self, entry: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:  # noqa: ANN401
        told = tuple(self._indices(entry.ShapeSignatureAsNumpy()))
        if all(extent >= 0 for extent in told):
            return ()
        if len(told) != len(shape) or any(extent not in (-1, now) for extent, now in zip(told, shape, strict=True)):
            raise ValueError(f"tensor {name} of shape {shape} has the shape signature {told}")
        return told

    def _values(self, entry: Any, name: str, shape: tuple[int, ...], dtype: str) -> Any:  # noqa: ANN401
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
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if raw.size != expected:
            raise ValueError(f"tensor {name} has {raw.size} bytes of data where {expected} are due")
        return np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)

    def _quantization(self, entry: Any, name: str, shape: tuple[int, ...]) -> Quantization | None:  # noqa: ANN401
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

    def _op(self, index: int) -> Op:
        from mnedge.formats._tflite_schema import OP_NAMES, OPTIONS, options_from_table, schema

        entry = self.subgraph.Operators(index)
        if not 0 <= entry.OpcodeIndex() < self.model.OperatorCodesLength():
            raise IndexError(f"operator code {entry.OpcodeIndex()} of {self.model.OperatorCodesLength()}")
        code = self.model.OperatorCodes(entry.OpcodeIndex())
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = OP_NAMES.get(builtin, f"code {builtin}")
        if kind not in OPTIONS:
            raise UnsupportedError(
                f"{self.source}: op {index} is {kind}{self._made_by(entry)}, which mnedge does not read. Export the "
                f"model without it; mnedge reads {', '.join(OPTIONS)}"
            )
        options: dict[str, Any] = {}
        if kind == "CUSTOM":
            kind = self._text(code.CustomCode(), f"the kind of op {index}")
            if kind == _VELA:
                raise UnsupportedError(
                    f"{self.source} was compiled for Arm's Ethos-U already: op {index} is {kind}"
                    f"{self._made_by(entry)}. Give the .tflite that Vela was given"
                )
            raw = entry.CustomOptionsAsNumpy()
            options["custom_options"] = b"" if isinstance(raw, int) else raw.tobytes()
        elif OPTIONS[kind]:
            table = entry.BuiltinOptions()
            options_type = getattr(schema, f"{OPTIONS[kind]}T")
            options = options_from_table(options_type.InitFromBuf(table.Bytes, table.Pos) if table else options_type())
        return Op(
            kind,
            tuple(None if item == -1 else self._name(item) for item in self._indices(entry.InputsAsNumpy())),
            tuple(self._name(item) for item in self._indices(entry.OutputsAsNumpy())),
            options,
            code.Version(),
        )

    def _made_by(self, entry: Any) -> str:  # noqa: ANN401 - a generated class
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

    def _tensor_maps(self, entries: list[Any]) -> tuple[tuple[str, str], ...]:
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
