"""Graph to .tflite bytes: the same graph gives the same bytes, and equal vectors are stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.formats._tflite_int4 import pack_int4
from mnedge.formats.archive import zip_bytes
from mnedge.graph.ops import bias_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import ArrayLike

    from mnedge.graph.graph import Graph, Op, Quantization, Signature, Tensor

_SCHEMA_VERSION = 3
_ALIGNMENT = 16


def write_tflite(graph: Graph) -> bytes:
    """Serializes a graph; tensors, ops and buffers keep the graph's order.

    Custom ops are written under their own name, and associated files as a ZIP behind the model. No time, host or
    version enters the file.

    Raises:
        UnsupportedError: The graph keeps state between calls.
    """
    graph.check()
    if graph.states:
        raise UnsupportedError("a model that keeps state between calls is read and compiled, and cannot be written")
    model = _Writer(graph).model()
    return zip_bytes(graph.associated, behind=model) if graph.associated else model


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = flatbuffers.Builder(1 << 20)
        self.index = {name: number for number, name in enumerate(graph.tensors)}
        self.shared: dict[Hashable, int] = {}
        self.buffers: list[bytes] = [b""]
        self.buffer_index: dict[bytes, int] = {}
        self.codes: list[tuple[str, int]] = []

    def model(self) -> bytes:
        from mnedge.formats.tflite_schema import schema

        builder = self.builder
        subgraph = self._subgraph()
        metadata = [self._metadata(name, data) for name, data in sorted(self.graph.metadata.items())]
        signatures = [self._signature(signature) for signature in self.graph.signatures]
        codes = self._offsets([self._code(kind, version) for kind, version in self.codes])
        buffers = self._offsets([self._buffer(data) for data in self.buffers])
        subgraphs = self._offsets([subgraph])
        metadata_vector = self._offsets(metadata) if metadata else None
        signature_vector = self._offsets(signatures) if signatures else None
        description = builder.CreateString("mnedge")
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, _SCHEMA_VERSION)
        schema.ModelAddOperatorCodes(builder, codes)
        schema.ModelAddSubgraphs(builder, subgraphs)
        schema.ModelAddDescription(builder, description)
        schema.ModelAddBuffers(builder, buffers)
        if metadata_vector is not None:
            schema.ModelAddMetadata(builder, metadata_vector)
        if signature_vector is not None:
            schema.ModelAddSignatureDefs(builder, signature_vector)
        builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _once(self, key: Hashable, make: Callable[[], int]) -> int:
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def _vector(self, values: ArrayLike, dtype: str) -> int:
        array = np.asarray(values, dtype)
        return self._once((dtype, array.tobytes()), lambda: self.builder.CreateNumpyVector(array))

    def _offsets(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _buffer_of(self, data: bytes) -> int:
        if data not in self.buffer_index:
            self.buffer_index[data] = len(self.buffers)
            self.buffers.append(data)
        return self.buffer_index[data]

    def _buffer(self, data: bytes) -> int:
        from mnedge.formats.tflite_schema import schema

        vector = None
        if data:
            # CreateByteVector aligns to 4; kernels want 16.
            self.builder.StartVector(1, len(data), _ALIGNMENT)
            self.builder.head -= len(data)
            self.builder.Bytes[self.builder.Head() : self.builder.Head() + len(data)] = data
            self.builder.vectorNumElems = len(data)
            vector = self.builder.EndVector()
        schema.BufferStart(self.builder)
        if vector is not None:
            schema.BufferAddData(self.builder, vector)
        return int(schema.BufferEnd(self.builder))

    def _metadata(self, name: str, data: bytes) -> int:
        from mnedge.formats.tflite_schema import schema

        text = self.builder.CreateString(name)
        schema.MetadataStart(self.builder)
        schema.MetadataAddName(self.builder, text)
        schema.MetadataAddBuffer(self.builder, self._buffer_of(data))
        return int(schema.MetadataEnd(self.builder))

    def _signature(self, signature: Signature) -> int:
        from mnedge.formats.tflite_schema import schema

        inputs, outputs = (
            self._offsets([self._tensor_map(argument, tensor) for argument, tensor in side])
            for side in (signature.inputs, signature.outputs)
        )
        key = self.builder.CreateString(signature.key)
        schema.SignatureDefStart(self.builder)
        schema.SignatureDefAddInputs(self.builder, inputs)
        schema.SignatureDefAddOutputs(self.builder, outputs)
        schema.SignatureDefAddSignatureKey(self.builder, key)
        return int(schema.SignatureDefEnd(self.builder))

    def _tensor_map(self, argument: str, tensor: str) -> int:
        from mnedge.formats.tflite_schema import schema

        text = self.builder.CreateString(argument)
        schema.TensorMapStart(self.builder)
        schema.TensorMapAddName(self.builder, text)
        schema.TensorMapAddTensorIndex(self.builder, self.index[tensor])
        return int(schema.TensorMapEnd(self.builder))

    def _code(self, kind: str, version: int) -> int:
        from mnedge.formats.tflite_schema import OP_CODES, schema

        builtin = OP_CODES.get(kind, schema.BuiltinOperator.CUSTOM)
        custom = None if kind in OP_CODES else self.builder.CreateString(kind)
        schema.OperatorCodeStart(self.builder)
        # Readers older than the 32-bit field look at the 8-bit one.
        schema.OperatorCodeAddDeprecatedBuiltinCode(self.builder, min(builtin, 127))
        if custom is not None:
            schema.OperatorCodeAddCustomCode(self.builder, custom)
        schema.OperatorCodeAddVersion(self.builder, version)
        schema.OperatorCodeAddBuiltinCode(self.builder, builtin)
        return int(schema.OperatorCodeEnd(self.builder))

    def _subgraph(self) -> int:
        from mnedge.formats.tflite_schema import schema

        ops = self._offsets([self._op(op) for op in self.graph.ops])
        tensors = self._offsets([self._tensor(tensor) for tensor in self.graph.tensors.values()])
        inputs = self._vector([self.index[name] for name in self.graph.inputs], "int32")
        outputs = self._vector([self.index[name] for name in self.graph.outputs], "int32")
        name = self.builder.CreateString("main")
        schema.SubGraphStart(self.builder)
        schema.SubGraphAddTensors(self.builder, tensors)
        schema.SubGraphAddInputs(self.builder, inputs)
        schema.SubGraphAddOutputs(self.builder, outputs)
        schema.SubGraphAddOperators(self.builder, ops)
        schema.SubGraphAddName(self.builder, name)
        return int(schema.SubGraphEnd(self.builder))

    def _tensor(self, tensor: Tensor) -> int:
        from mnedge.formats.tflite_schema import DTYPE_CODES, INT4, schema

        shape = self._vector(tensor.shape, "int32")
        open_shape = self._vector(tensor.open_shape, "int32") if tensor.open_shape else None
        name = self.builder.CreateString(tensor.name)
        quantization = None if tensor.quantization is None else self._quantization(tensor.quantization)
        schema.TensorStart(self.builder)
        schema.TensorAddShape(self.builder, shape)
        schema.TensorAddType(self.builder, INT4 if tensor.is_int4 else DTYPE_CODES[tensor.dtype])
        if tensor.data is not None:
            data = np.ascontiguousarray(tensor.data).astype(np.dtype(tensor.dtype).newbyteorder("<"))
            stored = pack_int4(data) if tensor.is_int4 else data.tobytes()
            schema.TensorAddBuffer(self.builder, self._buffer_of(stored) if data.size else 0)
        schema.TensorAddName(self.builder, name)
        if quantization is not None:
            schema.TensorAddQuantization(self.builder, quantization)
        if open_shape is not None:
            schema.TensorAddShapeSignature(self.builder, open_shape)
        schema.TensorAddHasRank(self.builder, hasRank=True)
        return int(schema.TensorEnd(self.builder))

    def _quantization(self, quantization: Quantization) -> int:
        from mnedge.formats.tflite_schema import schema

        def make() -> int:
            scale = self._vector(quantization.scale, "float32")
            zero_point = self._vector(quantization.zero_point, "int64")
            schema.QuantizationParametersStart(self.builder)
            schema.QuantizationParametersAddScale(self.builder, scale)
            schema.QuantizationParametersAddZeroPoint(self.builder, zero_point)
            if quantization.axis is not None:
                schema.QuantizationParametersAddQuantizedDimension(self.builder, quantization.axis)
            return int(schema.QuantizationParametersEnd(self.builder))

        key = ("q", quantization.scale.tobytes(), quantization.zero_point.tobytes(), quantization.axis)
        return self._once(key, make)

    def _op(self, op: Op) -> int:
        from mnedge.formats.tflite_schema import OPTIONS, op_version, options_union_code, schema, table_from_options

        builtin = op.kind in OPTIONS
        second = self.graph.tensors[op.inputs[1]] if len(op.inputs) > 1 and op.inputs[1] else None
        weights = "" if second is None else second.stored_dtype
        data = self.graph.tensors[op.inputs[0] if op.kind == "DEQUANTIZE" else op.outputs[0]].dtype  # type: ignore[index]
        version = op_version(op.kind, data, weights, has_bias_type=bool(self._bias_type(op))) if builtin else 1
        code = (op.kind, max(version, op.version))
        if code not in self.codes:
            self.codes.append(code)
        inputs = self._vector([-1 if name is None else self.index[name] for name in op.inputs], "int32")
        outputs = self._vector([self.index[name] for name in op.outputs], "int32")
        options, custom = None, None
        if builtin and OPTIONS[op.kind]:
            given = {**op.options, **self._bias_type(op)}
            key = ("o", OPTIONS[op.kind], *sorted(given.items()))
            options = self._once(key, lambda: table_from_options(op.kind, given).Pack(self.builder))
        elif op.options.get("custom_options"):
            custom = self.builder.CreateByteVector(op.options["custom_options"])
        schema.OperatorStart(self.builder)
        schema.OperatorAddOpcodeIndex(self.builder, self.codes.index(code))
        schema.OperatorAddInputs(self.builder, inputs)
        schema.OperatorAddOutputs(self.builder, outputs)
        if options is not None:
            schema.OperatorAddBuiltinOptionsType(self.builder, options_union_code(op.kind))
            schema.OperatorAddBuiltinOptions(self.builder, options)
        if custom is not None:
            schema.OperatorAddCustomOptions(self.builder, custom)
        return int(schema.OperatorEnd(self.builder))

    def _bias_type(self, op: Op) -> dict[str, int]:
        """The option that tells 16x8 kernels of an int32 bias; {} where the bias has the dtype that they expect."""
        from mnedge.formats.tflite_schema import DTYPE_CODES

        bias = bias_of(op)
        is_wide = self.graph.tensors[op.outputs[0]].dtype == "int16"
        if bias is None or not is_wide or self.graph.tensors[bias].dtype != "int32":
            return {}
        return {"quantized_bias_type": DTYPE_CODES["int32"]}
