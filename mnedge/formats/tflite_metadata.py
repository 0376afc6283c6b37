"""TFLite Metadata, read: what a file says of its pictures, values and labels.

A FlatBuffer of its own (metadata_schema.fbs, identifier M001) in the model's metadata buffer TFLITE_METADATA; the files
that it names stand in the ZIP behind the model. `bundles/_metadata.py` writes the same tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from mnedge.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Tensor

BUFFER = "TFLITE_METADATA"
TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS = 2, 3
IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 2, 1
RGB, GREY = 1, 2

_MOST_ENTRIES = 1 << 16
_BROKEN = (struct.error, IndexError, ValueError, TypeError, OverflowError, UnicodeDecodeError)
# Fields of the tables by number, in the order of the schema.
_SUBGRAPHS, _INPUTS, _OUTPUTS = 3, 2, 3
_NAME, _CONTENT, _UNITS, _STATS, _FILES = 0, 3, 4, 5, 6
_FILE_NAME, _FILE_TYPE, _FILE_LOCALE = 0, 2, 3
_MAX, _MIN = 0, 1
_UINT8_MAX = 255


@dataclass(frozen=True)
class TensorMetadata:
    """Metadata of an input or output.

    Attributes:
        name: Name by its author; "" without one.
        is_picture: Whether it is a picture.
        color_space: RGB, GREY, or 0 where it is not said.
        mean: Mean of NormalizationOptions: real = (pixel - mean) / std; one value, or one a channel; () for none.
        std: Likewise.
        low: Smallest values, in the tensor's own dtype; () where there are none.
        high: Largest values.
        files: (name, type, locale) of its associated files.
    """

    name: str
    is_picture: bool = False
    color_space: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    files: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True)
class Metadata:
    """Metadata of a model: one entry per input and output, in the graph's order."""

    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()


def metadata_of(graph: Graph) -> Metadata:
    """Reads the TFLite Metadata of a graph; empty where it has none.

    Raises:
        InputError: The metadata are damaged.
    """
    data = graph.metadata.get(BUFFER)
    if not data:
        return Metadata()
    try:
        inputs, outputs = (tuple(_tensor(entry) for entry in side) for side in _ends(data))
    except _BROKEN as exc:
        raise InputError(f"the model's {BUFFER} is damaged ({exc}); take the metadata out or write them again") from exc
    return Metadata(inputs, outputs)


def labels_of(graph: Graph) -> tuple[tuple[str, ...], int]:
    """Class names that a file carries, and the place of the output that they belong to; ((), 0) where it has none.

    The metadata name the file (TENSOR_AXIS_LABELS or TENSOR_VALUE_LABELS; without locale first). Without metadata, the
    only associated text file with "label" in its name is taken, for the first output.

    Raises:
        InputError: The metadata are damaged, or the labels are not UTF-8.
    """
    for place, output in enumerate(metadata_of(graph).outputs):
        for name, kind, _ in sorted(output.files, key=lambda file: file[2]):
            if kind in (TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS) and name in graph.associated:
                return _lines(graph.associated[name], name), place
    texts = [name for name in graph.associated if "label" in name.lower() and name.lower().endswith(".txt")]
    return (_lines(graph.associated[texts[0]], texts[0]), 0) if len(texts) == 1 else ((), 0)


def refitted(before: Graph, after: Graph) -> Graph:
    """The graph `after` with metadata that fit its ends, where these have another dtype than those of `before`.

    Smallest and largest values are in the tensor's own dtype, so they become steps. Values are replaced at their place
    in the FlatBuffer; all else stays byte for byte. A picture that its consumer feeds as 8-bit pixels must be that:
    where a uint8 input's step is not the pixel that NormalizationOptions describe, the result is an error.

    Args:
        before: The float graph.
        after: The rewritten model: the same ends in the same order.

    Raises:
        InputError: The metadata are damaged.
        UnsupportedError: The metadata cannot say what is right for the new ends.
    """
    told = after.metadata.get(BUFFER)
    if not told:
        return after
    data = bytearray(told)
    described = metadata_of(after)
    sides = ((before.inputs, after.inputs, described.inputs), (before.outputs, after.outputs, described.outputs))
    written: dict[int, bytes] = {}
    for (old, new, entries), tables in zip(sides, _ends(told), strict=True):
        for was, now, entry, table in zip(old, new, entries, tables, strict=False):
            source, tensor = before.tensors[was], after.tensors[now]
            if source.dtype == tensor.dtype or tensor.quantization is None:
                continue
            _check_pixels(tensor, entry)
            for field, values in ((_MIN, entry.low), (_MAX, entry.high)):
                if not values:
                    continue
                steps = tensor.quantization.quantize(np.array(values, np.float32), tensor.dtype)
                place = _place_of_values(table, field)
                raw = steps.astype("<f4").tobytes()
                if written.setdefault(place, raw) != raw:
                    raise UnsupportedError(
                        f"the metadata of {now} share their value ranges with another tensor, whose scale differs; "
                        "write the metadata again after quantization"
                    )
                data[place : place + len(raw)] = raw
    return replace(after, metadata={**after.metadata, BUFFER: bytes(data)})


def _check_pixels(tensor: Tensor, entry: TensorMetadata) -> None:
    if tensor.dtype != "uint8" or tensor.quantization is None or not entry.mean or len(entry.mean) != len(entry.std):
        return
    pixels = np.arange(_UINT8_MAX + 1, dtype=np.float64)[:, None]
    real = (pixels - np.array(entry.mean)) / np.array(entry.std)
    steps = tensor.quantization.quantize(real, tensor.dtype).astype(np.float64)
    if np.abs(steps - pixels).max() > 1:
        raise UnsupportedError(
            f"the metadata of {tensor.name} say (pixel - {entry.mean}) / {entry.std}, but its uint8 steps are not the "
            "pixels; keep float32 ends (--io float32), or quantize with the pixels that the metadata state"
        )


def _lines(data: bytes, name: str) -> tuple[str, ...]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"the associated file {name} is not UTF-8; write the labels again, one a line") from exc
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def _ends(data: bytes) -> tuple[list[Table], list[Table]]:
    """The tables of the first subgraph's inputs and outputs."""
    root = Table(bytearray(data), struct.unpack_from("<I", data, 0)[0])
    graphs = _tables(root, _SUBGRAPHS)
    return (_tables(graphs[0], _INPUTS), _tables(graphs[0], _OUTPUTS)) if graphs else ([], [])


def _tensor(table: Table) -> TensorMetadata:
    content = _table(table, _CONTENT)
    is_picture = content is not None and _byte(content, 0) == IMAGE_PROPERTIES
    properties = _table(content, 1) if content is not None and is_picture else None
    found = TensorMetadata(
        _text(table, _NAME),
        is_picture,
        0 if properties is None else _byte(properties, 0),
        files=tuple(
            (_text(file, _FILE_NAME), _byte(file, _FILE_TYPE), _text(file, _FILE_LOCALE))
            for file in _tables(table, _FILES)
        ),
    )
    for unit in _tables(table, _UNITS):
        options = _table(unit, 1)
        if options is not None and _byte(unit, 0) == NORMALIZATION_OPTIONS:
            found = replace(found, mean=_floats(options, 0), std=_floats(options, 1))
    stats = _table(table, _STATS)
    return found if stats is None else replace(found, low=_floats(stats, _MIN), high=_floats(stats, _MAX))


def _field(table: Table, field: int) -> int:
    """Returns the absolute place of a field; 0 for a field that is left out."""
    offset = int(table.Offset(4 + 2 * field))
    return int(table.Pos) + offset if offset else 0


def _byte(table: Table, field: int) -> int:
    place = _field(table, field)
    return int(table.Bytes[place]) if place else 0


def _text(table: Table, field: int) -> str:
    place = _field(table, field)
    return bytes(table.String(place)).decode() if place else ""


def _table(table: Table, field: int) -> Table | None:
    place = _field(table, field)
    return Table(table.Bytes, table.Indirect(place)) if place else None


def _vector(table: Table, field: int) -> tuple[int, int]:
    """Returns the place of a vector's first entry, and the number of its entries."""
    place = _field(table, field)
    if not place:
        return 0, 0
    offset = place - table.Pos
    count = int(table.VectorLen(offset))
    if count > _MOST_ENTRIES:
        raise ValueError(f"a vector of {count} entries")
    return int(table.Vector(offset)), count


def _tables(table: Table, field: int) -> list[Table]:
    begin, count = _vector(table, field)
    return [Table(table.Bytes, table.Indirect(begin + 4 * place)) for place in range(count)]


def _floats(table: Table, field: int) -> tuple[float, ...]:
    begin, count = _vector(table, field)
    return tuple(float(table.Get(number_types.Float32Flags, begin + 4 * place)) for place in range(count))


def _place_of_values(table: Table, field: int) -> int:
    stats = _table(table, _STATS)
    assert stats is not None, "values are read from the same table"
    return _vector(stats, field)[0]
