"""Kernels of ops that only move values: they reshape, join, split, pick and pad, never across pictures of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorflow.types.experimental import TensorLike

    from mnedge.graph.graph import Graph, Op


Kernel: TypeAlias = "Callable[[Op, list[TensorLike], Graph], TensorLike]"


def beside_batch(op: Op, axis: int, rank: int) -> int:
    """An axis along which an op works, counted from the front; never that of the batch."""
    if axis % rank == 0 and rank > 1:
        raise UnsupportedError(f"{op.kind} of {op.outputs[0]} works along the batch; it cannot be executed for a batch")
    return axis % rank


def _for_each_picture(values: list[TensorLike]) -> list[TensorLike]:
    """Values that are to be joined, constants repeated for every picture of the batch."""
    import tensorflow as tf

    batch = next(tf.shape(value)[0] for value in values if not isinstance(value, np.ndarray))
    return [tf.repeat(value, batch, 0) if isinstance(value, np.ndarray) else value for value in values]


def _pad(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    return tf.pad(inputs[0], inputs[1])


def _mirror_pad(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    # MirrorPadMode of the schema: REFLECT is 0, SYMMETRIC 1.
    return tf.pad(inputs[0], inputs[1], "SYMMETRIC" if op.options.get("mode", 0) else "REFLECT")


def _blocks(function: str) -> Kernel:
    def kernel(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
        import tensorflow as tf

        return getattr(tf.nn, function)(inputs[0], op.options["block_size"])

    return kernel


def shaped(value: TensorLike, op: Op, graph: Graph) -> TensorLike:
    """Reshapes to the op's output for each picture of the batch."""
    import tensorflow as tf

    before, after = graph.tensors[str(op.inputs[0])].shape, graph.tensors[op.outputs[0]].shape
    if not after or not before or before[0] != after[0]:
        raise UnsupportedError(f"{op.kind} turns {before} into {after}: the pictures of a batch would be mixed")
    return tf.reshape(value, (-1, *after[1:]))


def _reshape(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    return shaped(inputs[0], op, graph)


def _concatenation(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    axis = beside_batch(op, op.options["axis"], len(graph.tensors[op.outputs[0]].shape))
    return tf.concat(_for_each_picture(inputs), axis)


def _pack(op: Op, inputs: list[TensorLike], graph: Graph) -> TensorLike:
    import tensorflow as tf

    axis = beside_batch(op, op.options.get("axis", 0), len(graph.tensors[op.outputs[0]].shape))
    return tf.stack(_for_each_picture(inputs), axis)


def _unpack(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = beside_batch(op, op.options.get("axis", 0), len(inputs[0].shape))
    return tf.unstack(inputs[0], len(op.outputs), axis)


def _split(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = beside_batch(op, int(np.ravel(inputs[0])[0]), len(inputs[1].shape))
    return tf.split(inputs[1], len(op.outputs), axis)


def _split_v(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    axis = beside_batch(op, int(np.ravel(inputs[2])[0]), len(inputs[0].shape))
    sizes = [int(size) for size in inputs[1]]
    if -1 in sizes:
        sizes[sizes.index(-1)] = inputs[0].shape[axis] - sum(size for size in sizes if size >= 0)
    return tf.split(inputs[0], sizes, axis)


def _gather(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    table, places = inputs
    # Rows of a constant table are looked up sample by sample, as an embedding's are.
    looks_up = isinstance(table, np.ndarray) and op.options.get("axis", 0) == 0 and not isinstance(places, np.ndarray)
    if looks_up and not op.options.get("batch_dims", 0):
        return tf.gather(table, places)
    if not isinstance(places, np.ndarray) or op.options.get("batch_dims", 0):
        raise UnsupportedError(
            f"GATHER of {op.outputs[0]} by computed places cannot be executed; constant places, or rows of a constant "
            "table, can"
        )
    return tf.gather(inputs[0], inputs[1], axis=beside_batch(op, op.options.get("axis", 0), len(inputs[0].shape)))


def _slice(_: Op, inputs: list[TensorLike], __: Graph) -> TensorLike:
    import tensorflow as tf

    begin, size = np.array(inputs[1]), np.array(inputs[2])
    begin[0], size[0] = 0, -1
    return tf.slice(inputs[0], begin, size)


def _strided_slice(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    masks = {name: op.options.get(name, 0) for name in ("begin_mask", "end_mask", "shrink_axis_mask", "ellipsis_mask")}
    if masks["shrink_axis_mask"] & 1 or masks["ellipsis_mask"] or op.options.get("new_axis_mask", 0):
        raise UnsupportedError(f"STRIDED_SLICE of {op.outputs[0]} changes the batch dimension")
    return tf.strided_slice(
        inputs[0],
        inputs[1],
        inputs[2],
        inputs[3],
        begin_mask=masks["begin_mask"] | 1,
        end_mask=masks["end_mask"] | 1,
        shrink_axis_mask=masks["shrink_axis_mask"],
    )


def _tile(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    if int(np.ravel(inputs[1])[0]) != 1:
        raise UnsupportedError(f"TILE of {op.outputs[0]} repeats the batch dimension")
    return tf.tile(inputs[0], inputs[1])


def _transpose(op: Op, inputs: list[TensorLike], _: Graph) -> TensorLike:
    import tensorflow as tf

    order = [int(axis) for axis in np.ravel(inputs[1])]
    if order[0] != 0:
        raise UnsupportedError(f"TRANSPOSE of {op.outputs[0]} moves the batch dimension: {order}")
    return tf.transpose(inputs[0], order)


# The ops that move values, by kind.
MOVING: Mapping[str, Kernel] = {
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _blocks("depth_to_space"),
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _blocks("space_to_depth"),
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
