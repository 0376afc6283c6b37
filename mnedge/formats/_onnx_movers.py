"""TFLite ops that move elements and compute nothing, as ONNX nodes: quantized values go through them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_layout import NCHW_TO_NHWC, NHWC_TO_NCHW, Writer, axes, static, tensor_of
from mnedge.graph.ops import CONVOLUTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.graph.graph import Op


def flat(writer: Writer, value: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Reshapes a value to a shape that is not of rank 4, elements in the tensor's own order."""
    if len(shape) == 4 and 1 not in (shape[3], shape[1] * shape[2]):
        value = writer.node("Transpose", (value,), f"{value}/nhwc", perm=list(NCHW_TO_NHWC))
    stored = tuple(shape[axis] for axis in NHWC_TO_NCHW) if len(shape) == 4 else shape
    if stored == wanted:
        return value
    return writer.node("Reshape", (value, writer.values(np.array(wanted, np.int64), "shape")), f"{value}/flat")


def folded(writer: Writer, value: str, shape: tuple[int, ...], hint: str) -> str:
    """Reshapes a value that is in the tensor's own order to `shape`, NCHW where that is of rank 4."""
    if len(shape) != 4 or 1 in (shape[3], shape[1] * shape[2]):
        stored = tuple(shape[axis] for axis in NHWC_TO_NCHW) if len(shape) == 4 else shape
        return writer.node("Reshape", (value, writer.values(np.array(stored, np.int64), "shape")), hint)
    value = writer.node("Reshape", (value, writer.values(np.array(shape, np.int64), "shape")), f"{hint}/nhwc")
    return writer.node("Transpose", (value,), hint, perm=list(NHWC_TO_NCHW))


def reshape(writer: Writer, op: Op, value: str) -> str:
    """RESHAPE and SQUEEZE of a value, whatever its dtype."""
    source, result = tensor_of(writer, op.inputs[0]).shape, tensor_of(writer, op.outputs[0]).shape
    if len(source) == len(result) == 4 and source == result:
        return writer.node("Identity", (value,), op.outputs[0])
    if len(result) != 4:
        value = flat(writer, value, source, result)
        return writer.node("Identity", (value,), op.outputs[0]) if len(source) == len(result) == 4 else value
    return folded(writer, flat(writer, value, source, (-1,)), result, op.outputs[0])


def transpose(writer: Writer, op: Op, value: str) -> str:
    """TRANSPOSE of a value, whatever its dtype."""
    order = [int(axis) for axis in static(writer, op.inputs[1], op)]
    if len(order) == 4:
        order = [NCHW_TO_NHWC[order[NHWC_TO_NCHW[axis]]] for axis in range(4)]
    return writer.node("Transpose", (value,), op.outputs[0], perm=order)


def tile(writer: Writer, op: Op, value: str) -> str:
    """TILE of a value, whatever its dtype."""
    repeats = static(writer, op.inputs[1], op)
    repeats = repeats[list(NHWC_TO_NCHW)] if len(repeats) == 4 else repeats
    return writer.node("Tile", (value, writer.values(repeats.astype(np.int64), "repeats")), op.outputs[0])


def pad(writer: Writer, op: Op, value: str) -> str:
    """PAD of a value, whatever its dtype; convolutions without padding of their own take it over.

    ONNX's convolutions pad each side by any number, where TFLite's know only SAME and VALID.
    """
    widths = static(writer, op.inputs[1], op)
    result = tensor_of(writer, op.outputs[0])
    readers = writer.graph.consumers()[result.name]
    takes_over = bool(readers) and result.name not in writer.graph.outputs
    takes_over = takes_over and all(
        reader.kind in CONVOLUTIONS and reader.options["padding"] == "VALID" for reader in readers
    )
    if takes_over and len(widths) == 4 and not widths[[0, 3]].any():
        (top, bottom), (left, right) = widths[1:3].tolist()
        writer.pads[result.name] = ((top, bottom), (left, right))
        return value
    if len(widths) == 4:
        widths = widths[list(NHWC_TO_NCHW)]
    pads = writer.values(widths.T.ravel().astype(np.int64), "pads")
    return writer.node("Pad", (value, pads, *writer.zero(result)), result.name)


def natural(writer: Writer, value: str, rank: int) -> str:
    """A value of a tensor in the tensor's own order of dimensions."""
    return writer.node("Transpose", (value,), f"{value}/nhwc", perm=list(NCHW_TO_NHWC)) if rank == 4 else value


def stored(writer: Writer, value: str, rank: int, hint: str) -> str:
    """A value in the tensor's own order of dimensions as values of that rank are held: NCHW for 4 dimensions."""
    return writer.node("Transpose", (value,), hint, perm=list(NHWC_TO_NCHW)) if rank == 4 else value


def gather(writer: Writer, op: Op, value: str) -> str:
    """GATHER of a value by constant places, whatever its dtype."""
    rank, made = len(tensor_of(writer, op.inputs[0]).shape), len(tensor_of(writer, op.outputs[0]).shape)
    places, axis = static(writer, op.inputs[1], op), int(op.options.get("axis", 0)) % rank
    name = writer.values(places.astype(np.int64), "places")
    if rank == made:
        return writer.node("Gather", (value, name), op.outputs[0], axis=axes([axis], rank)[0])
    value = writer.node("Gather", (natural(writer, value, rank), name), f"{op.outputs[0]}/gathered", axis=axis)
    return stored(writer, value, made, op.outputs[0])


def split(writer: Writer, op: Op, value: str) -> tuple[str, ...]:
    """SPLIT and SPLIT_V of a value, whatever its dtype."""
    place = 0 if op.kind == "SPLIT" else 2
    shapes = [tensor_of(writer, name).shape for name in op.outputs]
    axis = int(np.ravel(static(writer, op.inputs[place], op))[0]) % len(shapes[0])
    sizes = writer.values(np.array([shape[axis] for shape in shapes], np.int64), "sizes")
    return writer.node_of_several("Split", (value, sizes), op.outputs, axis=axes([axis], len(shapes[0]))[0])


def unpack(writer: Writer, op: Op, value: str) -> tuple[str, ...]:
    """UNPACK of a value, whatever its dtype."""
    shape, made = tensor_of(writer, op.inputs[0]).shape, tensor_of(writer, op.outputs[0]).shape
    axis = int(op.options.get("axis", 0)) % len(shape)
    sizes = writer.values(np.ones(len(op.outputs), np.int64), "sizes")
    hints = [f"{name}/kept" for name in op.outputs]
    parts = writer.node_of_several("Split", (natural(writer, value, len(shape)), sizes), hints, axis=axis)
    dropped = writer.values(np.array([axis], np.int64), "axis")
    values = [writer.node("Squeeze", (part, dropped), f"{part}/dropped") for part in parts]
    return tuple(stored(writer, part, len(made), name) for part, name in zip(values, op.outputs, strict=True))


# By kind, from a value to another one.
MOVERS: dict[str, Callable[[Writer, Op, str], str]] = {
    "EXPAND_DIMS": reshape,
    "GATHER": gather,
    "PAD": pad,
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "TILE": tile,
    "TRANSPOSE": transpose,
}
# By kind, from a value to those of all outputs.
SPLITTERS: dict[str, Callable[[Writer, Op, str], Sequence[str]]] = {
    "SPLIT": split,
    "SPLIT_V": split,
    "UNPACK": unpack,
}
