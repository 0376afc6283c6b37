"""The canonical order of an .ort: ONNX Runtime writes one of its tables in the order of a hash map.

ORT's flatbuffer (onnxruntime/core/flatbuffers/schema/ort.fbs) ends with the table KernelTypeStrResolver, which says for
each op which of its arguments stand for which type. It is kept in hash maps whose seed differs from process to process,
so the same model gives other bytes each time, in this table only. It is the last that is written, and a flatbuffer is
written back to front: the table lies at the start of the file, and what lies behind it never points into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import flatbuffers
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    # Op, its types by name, and the arguments of each: whether input or output, and which.
    Resolver = Sequence[tuple[bytes, Sequence[tuple[bytes, Sequence[tuple[int, int]]]]]]

# The largest alignment of a scalar or vector in a flatbuffer that ONNX Runtime writes (raw data of tensors: 16).
_ALIGNMENT = 16
_IDENTIFIER = b"ORTM"
# Fields of the root table InferenceSession; the third is no longer written.
_VERSION, _MODEL, _OLD, _RESOLVER, _FIELDS = range(5)


def in_order(data: bytes) -> bytes:
    """Writes the resolver of an .ort sorted by name; all else stays as it is, byte for byte.

    Raises:
        ToolError: The file is laid out in another way than this version of ONNX Runtime is known to do.
    """
    from flatbuffers import number_types
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    session = InferenceSession.GetRootAs(data, 0)
    model = session.Model()
    table = session._tab  # noqa: SLF001 - the generated reader has no other way to a position
    if model is None or table.Offset(4 + 2 * _OLD) or table.Offset(4 + 2 * _FIELDS):
        raise ToolError(f"ONNX Runtime wrote an .ort of another layout than is known here; {_ADVICE}")
    at = model._tab.Pos  # noqa: SLF001
    # The model's list of fields lies before it where no earlier table had the same.
    start = min(at, at - table.Get(number_types.SOffsetTFlags, at))
    resolver = _resolver(session)
    head, place = _head(session.OrtVersion() or b"", resolver)
    # The following values keep their alignment.
    padded = head + bytes((start - len(head)) % _ALIGNMENT)
    written = bytearray(padded + data[start:])
    offset = len(padded) + at - start - place
    written[place : place + 4] = offset.to_bytes(4, "little")
    found = InferenceSession.GetRootAs(bytes(written), 0)
    same_model = found.Model()
    if same_model is None or same_model._tab.Pos != len(padded) + at - start or _resolver(found) != resolver:  # noqa: SLF001
        raise ToolError(f"an .ort could not be brought into its canonical order; {_ADVICE}")
    return bytes(written)


_ADVICE = "install the version of onnxruntime that mnedge's requirements name"


def _resolver(session: InferenceSession) -> Resolver:
    """Answers of the resolver, sorted."""
    resolver = session.KernelTypeStrResolver()
    if resolver is None:
        raise ToolError(f"ONNX Runtime wrote an .ort without KernelTypeStrResolver; {_ADVICE}")
    found = []
    for place in range(resolver.OpKernelTypeStrArgsLength()):
        op = resolver.OpKernelTypeStrArgs(place)
        types = []
        for number in range(op.KernelTypeStrArgsLength()):
            entry = op.KernelTypeStrArgs(number)
            arguments = [entry.Args(position) for position in range(entry.ArgsLength())]
            # Their order is that of the op's schema and means something: the first that is there tells the type.
            types.append((entry.KernelTypeStr(), [(argument.ArgType(), argument.Index()) for argument in arguments]))
        found.append((op.OpId(), sorted(types)))
    return sorted(found)


def _head(version: bytes, resolver: Resolver) -> tuple[bytes, int]:
    """The start of the file: root table and resolver, and where the offset of the model has to go."""
    import flatbuffers
    from flatbuffers import number_types
    from flatbuffers.table import Table

    builder = flatbuffers.Builder(1024)
    builder.ForceDefaults(True)  # noqa: FBT003 - its only parameter
    operators = []
    for name, types in resolver:
        entries = []
        for type_name, arguments in types:
            rows = []
            for kind, index in arguments:
                builder.StartObject(2)
                builder.PrependInt8Slot(0, kind, 0)
                builder.PrependUint32Slot(1, index, 0)
                rows.append(builder.EndObject())
            entries.append(_pair(builder, type_name, rows))
        operators.append(_pair(builder, name, entries))
    listed = _vector(builder, operators)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, listed, 0)
    table = builder.EndObject()
    said = builder.CreateString(version)
    builder.StartObject(_FIELDS)
    builder.PrependUOffsetTRelativeSlot(_VERSION, said, 0)
    # Room for the offset of the model, which is no part of this buffer.
    builder.PrependUint32Slot(_MODEL, 1, 0)
    builder.PrependUOffsetTRelativeSlot(_RESOLVER, table, 0)
    root = builder.EndObject()
    builder.Finish(root, file_identifier=_IDENTIFIER)
    head = bytes(builder.Output())
    begin = Table(head, 0).Get(number_types.UOffsetTFlags, 0)
    return head, begin + Table(head, begin).Offset(4 + 2 * _MODEL)


def _pair(builder: flatbuffers.Builder, name: bytes, rows: Sequence[int]) -> int:
    """A table of a name and a vector of tables."""
    said, listed = builder.CreateString(name), _vector(builder, rows)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, said, 0)
    builder.PrependUOffsetTRelativeSlot(1, listed, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
