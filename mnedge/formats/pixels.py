"""Pixels of a picture at a file's input: from mnedge's own metadata, the input's steps, or TFLite Metadata."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError
from mnedge.foreign import MODEL_BYTES, is_folder, read_file
from mnedge.formats._onnx_metadata import pixels_told
from mnedge.formats.carried import metadata_buffers
from mnedge.graph.graph import Quantization
from mnedge.pixels import CHANNELS, METADATA, RANGES, SYMMETRIC, Pixels
from mnedge.results.compilation import read_compiled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

    from mnedge.pixels import Order

# Where MediaPipe, ML Kit and others keep what they know of a model: a FlatBuffer with the identifier M001.
_TFLITE_METADATA = "TFLITE_METADATA"
_ENDS = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))
# Share of a step. At -1..1 each end lies half a step beside the range of 8 bits with a whole zero point.
_NEAR = 0.6
_NORMALIZATION_OPTIONS = 1
_PICTURE = ("batch", "height", "width", "channels")
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, UnicodeDecodeError, AttributeError, KeyError)


def known_pixels(path: Path, told: Pixels | None = None) -> Pixels:
    """Returns the pixels at a file's input: as the user states them, or as the file shows them.

    Raises:
        InputError: The user told nothing and the file does not show it, or what was told has other channels.
    """
    pixels = told or pixels_of(path)
    if pixels is None:
        raise InputError(unknown_pixels(path))
    return pixels


def unknown_pixels(path: Path) -> str:
    """The message for a file that does not say what a picture is to it, with the choices."""
    return (
        f"{path} does not say which range its pixels have, and nothing is assumed; state it with --pixels: "
        f"{', '.join(RANGES)}, LOW..HIGH, or MEAN,STD in 8-bit pixels, as the code that trained the model prepares "
        "its pictures"
    )


def pixels_of(path: Path) -> Pixels | None:
    """Reads what a file or a folder of C says of its pixels; None where nothing in it says so.

    In this order: the metadata that mnedge writes; the steps of an 8-bit input (see `pixels_of_steps`); the
    NormalizationOptions of TFLite Metadata, real = (pixel - mean) / std.

    Raises:
        InputError: The file cannot be read, or the metadata is damaged.
    """
    if is_folder(path):
        return _of_folder(path)
    if path.suffix == ".tflite":
        return _of_tflite(path)
    if path.suffix in (".onnx", ".ort"):
        return _of_onnx(path)
    return None


def pixels_of_steps(quantization: Quantization, dtype: str, channels: int) -> Pixels | None:
    """Returns the pixels of an 8-bit input if its steps prove them; None otherwise.

    An input can only hold the reals between its lowest and highest step. Where both lie within 0.6 steps of -1 and 1,
    0 and 1, or 0 and 255, pixels have that range. Where the step is exactly 1/128 and the lowest stands for -1, as in
    Google's files, the step is the pixel itself, real = pixel / 128 - 1. All else comes from calibration that saw
    other pictures than those of today, and proves nothing.

    Args:
        quantization: Quantization of the input, per tensor.
        dtype: dtype of the input.
        channels: Channels of the input: 1, 3 or 4.
    """
    order = order_of(channels)
    if dtype not in ("int8", "uint8") or quantization.scale.size != 1 or order is None:
        return None
    limits = np.iinfo(dtype)
    step, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    low, high = ((end - zero_point) * step for end in (limits.min, limits.max))
    if step == 1 / 128 and low == -1:
        return Pixels((step,), (low,), order)
    for first, last in _ENDS:
        if abs(low - first) < _NEAR * step and abs(high - last) < _NEAR * step:
            return Pixels(SYMMETRIC.scale, SYMMETRIC.offset, order) if first < 0 else Pixels.between(first, last, order)
    return None


def order_of(channels: int) -> Order | None:
    """The order of so many channels where nothing else is said: grey, RGB, RGBA; None for all other numbers."""
    return next((order for order, count in CHANNELS.items() if count == channels), None)


def _of_folder(path: Path) -> Pixels | None:
    from mnedge.runtimes.compiled_c import read_header

    told = read_compiled(path).metadata if (path / "manifest.json").exists() else {}
    if METADATA in told:
        return Pixels.from_bytes(told[METADATA].encode())
    spec = read_header(path).input
    return None if spec.quantization is None else pixels_of_steps(spec.quantization, spec.dtype, spec.shape[-1])


def _of_onnx(path: Path) -> Pixels | None:
    from mnedge.runtimes.onnxruntime import metadata_of

    told = metadata_of(path)
    if METADATA in told:
        return Pixels.from_bytes(told[METADATA].encode())
    if path.suffix != ".onnx":
        return None
    import onnx

    body = onnx.load(path, load_external_data=False).graph
    constants = {item.name for item in body.initializer}
    first = next((item for item in body.input if item.name not in constants), None)
    dims = [] if first is None else [dim.dim_value for dim in first.type.tensor_type.shape.dim]
    if first is None or len(dims) != len(_PICTURE):
        return None
    is_nchw = order_of(dims[1]) is not None and order_of(dims[3]) is None
    order = order_of(dims[1 if is_nchw else 3])
    return None if order is None else pixels_told(told, order) or _of_first_steps(body, first.name, CHANNELS[order])


def _of_first_steps(body: onnx.GraphProto, name: str, channels: int) -> Pixels | None:
    """Returns the pixels that the QuantizeLinear behind an input proves."""
    from onnx import numpy_helper

    values = {item.name: item for item in body.initializer}
    readers = [node for node in body.node if name in node.input]
    if len(readers) == 1 and readers[0].op_type == "Sub" and readers[0].input[1] in values:
        # A quarter of a step, by which `write_onnx` moves pixels off the middle between two.
        readers = [node for node in body.node if readers[0].output[0] in node.input]
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or len(readers[0].input) != 3:
        return None
    if not all(name in values for name in readers[0].input[1:]):
        return None
    scale, zero_point = (numpy_helper.to_array(values[name]).reshape(-1) for name in readers[0].input[1:])
    return pixels_of_steps(Quantization(scale, zero_point.astype(np.int64)), str(zero_point.dtype), channels)


def _of_tflite(path: Path) -> Pixels | None:
    from mnedge.formats._tflite_schema import DTYPES, schema

    data = read_file(path, MODEL_BYTES)
    try:
        model = schema.Model.GetRootAs(data, 0)
        told = metadata_buffers(model)
        body = model.Subgraphs(0)
        entry = body.Tensors(body.Inputs(0))
        dtype, shape = DTYPES.get(entry.Type(), ""), [int(extent) for extent in entry.ShapeAsNumpy()]
        steps = entry.Quantization()
        quantization = None
        if steps is not None and steps.ScaleLength() == steps.ZeroPointLength() == 1:
            quantization = Quantization.per_tensor(float(steps.Scale(0)), int(steps.ZeroPoint(0)))
    except _DAMAGE as exc:
        raise InputError(f"{path} is cut short or damaged ({exc}); copy or convert it again") from exc
    if METADATA in told:
        return Pixels.from_bytes(told[METADATA])
    shown = None if quantization is None else pixels_of_steps(quantization, dtype, shape[-1])
    if shown is not None or _TFLITE_METADATA not in told:
        return shown
    try:
        return _of_normalization(told[_TFLITE_METADATA], shape[-1], dtype, quantization)
    except _DAMAGE as exc:
        raise InputError(f"{path}: its TFLite Metadata is damaged ({exc!r}); state the range with --pixels") from exc


def _of_normalization(content: bytes, channels: int, dtype: str, quantization: Quantization | None) -> Pixels | None:
    """NormalizationOptions of the first input; of an 8-bit input, mean 0 and deviation 1 mean that it takes steps."""
    root = _Table.root(content)
    inputs = [tensor for body in root.tables(3)[:1] for tensor in body.tables(2)[:1]]
    units = [unit for tensor in inputs for unit in tensor.tables(4) if unit.byte(0) == _NORMALIZATION_OPTIONS]
    order = order_of(channels)
    for options in (options for unit in units for options in unit.table(1)):
        mean, std = options.reals(0), options.reals(1)
        if order is None or not mean or len(mean) != len(std):
            continue
        if quantization is not None and set(mean) == {0.0} and set(std) == {1.0}:
            step, lowest = float(quantization.scale[0]), int(np.iinfo(dtype).min)
            return Pixels((step,), (step * (lowest - int(quantization.zero_point[0])),), order)
        return Pixels.normalized(mean, std, order)
    return None


class _Table:
    """A table of a FlatBuffer, read by the numbers of its fields."""

    def __init__(self, content: bytes, place: int) -> None:
        from flatbuffers.table import Table

        self._content, self._table = content, Table(content, place)

    @classmethod
    def root(cls, content: bytes) -> _Table:
        return cls(content, struct.unpack_from("<I", content)[0])

    def table(self, slot: int) -> list[_Table]:
        """The table in a field, or nothing."""
        offset = self._offset(slot)
        return [_Table(self._content, self._table.Indirect(self._table.Pos + offset))] if offset else []

    def tables(self, slot: int) -> list[_Table]:
        """The tables of a vector."""
        start, count = self._vector(slot)
        return [_Table(self._content, self._table.Indirect(start + 4 * number)) for number in range(count)]

    def reals(self, slot: int) -> tuple[float, ...]:
        """The float32 values of a vector."""
        start, count = self._vector(slot)
        return struct.unpack_from(f"<{count}f", self._content, start)

    def byte(self, slot: int) -> int:
        """A field of one byte; 0 where it is absent."""
        offset = self._offset(slot)
        return self._content[self._table.Pos + offset] if offset else 0

    def _offset(self, slot: int) -> int:
        return int(self._table.Offset(4 + 2 * slot))

    def _vector(self, slot: int) -> tuple[int, int]:
        offset = self._offset(slot)
        if not offset:
            return 0, 0
        start, count = int(self._table.Vector(offset)), int(self._table.VectorLen(offset))
        if not 0 <= start + 4 * count <= len(self._content):
            raise ValueError(f"a vector of {count} entries is longer than the metadata")
        return start, count


def with_pixels(metadata: Mapping[str, bytes], pixels: Pixels) -> dict[str, bytes]:
    """The metadata of a graph with what a picture is to it."""
    return {**metadata, METADATA: pixels.to_bytes()}
