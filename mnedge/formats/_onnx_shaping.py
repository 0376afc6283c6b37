"""ONNX's ops that give values another shape or place; where they lie already as TFLite wants them, nothing is moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import NHWC, NO_ACTIVATION, Held, Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Order, Reading, Shape, Value

_FAR = 1 << 30


def reshape(reading: Reading, node: Node, value: Held, shape: Shape) -> Held:
    """The value in another shape, without moving anything where its axes are split, joined or dropped as they lie."""
    if math.prod(value.shape) != math.prod(shape):
        node.damaged(f"{value.shape} cannot become {shape}")
    if value.shape == shape:
        return value
    if value.mixed:
        channels, height, width = value.mixed
        if shape == (value.shape[0], *value.mixed):
            return reading.hold(reading.reshaped(node, value.name, (shape[0], height, width, channels)), NHWC)
        value = reading.unmixed(node, value)
    blocks = _blocks(value.shape, shape)
    if all(_lies_in_order(value, axes) for axes, _ in blocks):
        order = _moved_order(value, blocks, shape)
        lying = tuple(shape[axis] for axis in order)
        short = _without_kept(reading, node, value, lying)
        return Held(short or reading.reshaped(node, value.name, lying), shape, order)
    if value.rank == 4 and value.order == NHWC and shape == (value.shape[0], math.prod(value.shape[1:])):
        return Held(reading.reshaped(node, value.name, shape), shape, (0, 1), mixed=value.shape[1:])
    name = reading.reshaped(node, reading.plain(node, value), shape)
    return Held(name, shape, tuple(range(len(shape))))


def _without_kept(reading: Reading, node: Node, value: Held, lying: Shape) -> str | None:
    """The reduction that a tensor comes from, made once more without the dimensions of 1 that a RESHAPE would drop."""
    op = next((op for op in reversed(reading.ops) if value.name in op.outputs), None)
    if op is None or not op.options.get("keep_dims") or op.kind == "FULLY_CONNECTED":
        return None
    axes = reading.tensors[str(op.inputs[1])].data
    before = reading.tensors[value.name].shape
    if axes is None or tuple(extent for axis, extent in enumerate(before) if axis not in axes) != lying:
        return None
    return reading.emit(node, op.kind, op.inputs, node.outputs[0], {"keep_dims": False})[0]


def _blocks(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes in the smallest groups that hold equally many values."""
    blocks: list[tuple[list[int], list[int]]] = []
    first = second = 0
    while first < len(before) or second < len(after):
        axes, made = [], []
        size = other = 1
        if first < len(before):
            axes, size, first = [first], before[first], first + 1
        if second < len(after):
            made, other, second = [second], after[second], second + 1
        while size != other:
            if size < other:
                axes, size, first = [*axes, first], size * before[first], first + 1
            else:
                made, other, second = [*made, second], other * after[second], second + 1
        blocks.append((axes, made))
    return blocks


def _lies_in_order(value: Held, axes: Sequence[int]) -> bool:
    """Returns whether axes lie side by side, in their order, as far as they are longer than 1."""
    long = [axis for axis in value.order if value.shape[axis] > 1]
    own = [axis for axis in axes if value.shape[axis] > 1]
    return not own or long[long.index(own[0]) : long.index(own[0]) + len(own)] == own


def _moved_order(value: Held, blocks: Sequence[tuple[list[int], list[int]]], shape: Shape) -> Order:
    """Returns the order of the axes of a new shape when nothing is moved; extents of 1 stay as in a picture."""
    placed = []
    for number, (axes, made) in enumerate(blocks):
        own = [value.order.index(axis) for axis in axes if value.shape[axis] > 1]
        # A block of extents of 1 goes anywhere: to the place of its own axis.
        placed.append((own[0] if own else min((value.order.index(axis) for axis in axes), default=_FAR), number, made))
    order = tuple(axis for _, _, made in sorted(placed) for axis in made)
    long = [axis for axis in order if shape[axis] > 1]
    if len(shape) == 4 and long == [axis for axis in NHWC if shape[axis] > 1]:
        return NHWC
    return order


def _reshape(reading: Reading, node: Node) -> Sequence[Value]:
    value, told = reading.held(node, 0), reading.ints(node, 1)
    if told is None:
        node.damaged("its shape is left out")
    keeps = not node.whole("allowzero", 0)
    shape = [value.shape[place] if extent == 0 and keeps and place < value.rank else extent
             for place, extent in enumerate(told)]  # fmt: skip
    if shape.count(-1) > 1 or min(shape, default=1) < -1:
        node.damaged(f"the shape {list(told)} leaves more than one extent open")
    if -1 in shape:
        rest = -math.prod(shape)
        if rest == 0 or math.prod(value.shape) % rest:
            node.damaged(f"{value.shape} cannot become {list(told)}")
        shape[shape.index(-1)] = math.prod(value.shape) // rest
    return [reshape(reading, node, value, tuple(shape))]


def _flatten(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    axis = node.whole("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    return [reshape(reading, node, value, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))]


def axes_of(reading: Reading, node: Node, rank: int, since: int, place: int = 1) -> tuple[int, ...] | None:
    """Axes that stand in an attribute before an opset, and in an input from then on; None where they are left out."""
    told = node.wholes("axes") if reading.opset < since else reading.ints(node, place)
    if told is None:
        return None
    if any(not -rank <= axis < rank for axis in told):
        node.damaged(f"the axes {list(told)} are outside of {rank} dimensions")
    return tuple(sorted({axis % rank for axis in told}))


def axis_of(node: Node, rank: int, default: int | None = None) -> int:
    """The axis that stands in an attribute, counted from the front."""
    axis = node.whole("axis", 0 if default is None else default)
    if "axis" not in node.attributes and default is None:
        node.damaged("its axis is left out")
    if not -rank <= axis < rank:
        node.damaged(f"axis {axis} is outside of {rank} dimensions")
    return axis % rank


def _squeeze(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    axes = axes_of(reading, node, value.rank, 13)
    gone = [axis for axis, extent in enumerate(value.shape) if extent == 1] if axes is None else list(axes)
    if any(value.shape[axis] != 1 for axis in gone):
        node.damaged(f"axes {gone} of {value.shape} are not all 1")
    return [reshape(reading, node, value, tuple(e for axis, e in enumerate(value.shape) if axis not in gone))]


def _unsqueeze(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    told = node.wholes("axes") if reading.opset < 13 else reading.ints(node, 1)
    if told is None:
        node.damaged("its axes are left out")
    rank = value.rank + len(told)
    axes = axes_of(reading, node, rank, 13) or ()
    if len(axes) != len(told):
        node.damaged(f"the axes {list(told)} name one twice")
    extents = iter(value.shape)
    return [reshape(reading, node, value, tuple(1 if axis in axes else next(extents) for axis in range(rank)))]


def _transpose(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.unmixed(node, reading.held(node, 0))
    order = node.wholes("perm", tuple(reversed(range(value.rank)))) or ()
    if sorted(order) != list(range(value.rank)):
        node.damaged(f"{list(order)} is no order of {value.rank} dimensions")
    # Nothing moves: only what ONNX calls the axes changes.
    shape = tuple(value.shape[axis] for axis in order)
    return [Held(value.name, shape, tuple(order.index(axis) for axis in value.order))]


def _concat(reading: Reading, node: Node) -> Sequence[Value]:
    values = [reading.value(node, place) for place in range(len(node.inputs))]
    held = [reading.unmixed(node, value) for value in values if isinstance(value, Held)]
    axis = axis_of(node, held[0].rank)
    if any(len(value.shape) != held[0].rank for value in values):
        node.damaged(f"the shapes {', '.join(str(value.shape) for value in values)} cannot be joined")
    order = max(held, key=lambda value: math.prod(value.shape)).order
    turned = iter(held)
    names = []
    for place, value in enumerate(values):
        if isinstance(value, Held):
            names.append(reading.ordered(node, next(turned), order))
        else:
            names.append(reading.operand(value, order, f"{node.outputs[0]}/{place}", whole=True))
    return [reading.make(node, "CONCATENATION", names, order, {"axis": order.index(axis), **NO_ACTIVATION})]


def _split(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.unmixed(node, reading.held(node, 0))
    axis = axis_of(node, value.rank, 0)
    told = node.wholes("split") if reading.opset < 13 else reading.ints(node, 1)
    count, extent = len(node.outputs), value.shape[axis]
    if told is None:
        each = -(-extent // count)
        told = (each,) * (count - 1) + (extent - each * (count - 1),)
    if len(told) != count or min(told) < 1 or sum(told) != extent:
        node.damaged(f"{extent} values cannot be split in {list(told)}")
    place = reading.fixed(np.array(value.place(axis), np.int32), f"{node.outputs[0]}/axis")
    if len(set(told)) == 1:
        names = reading.emit(node, "SPLIT", (place, value.name), reading.fresh(f"{node.outputs[0]}/split"),
                             {"num_splits": count}, outputs=count)  # fmt: skip
    else:
        sizes = reading.fixed(np.array(told, np.int32), f"{node.outputs[0]}/sizes")
        names = reading.emit(node, "SPLIT_V", (value.name, sizes, place), reading.fresh(f"{node.outputs[0]}/split"),
                             {"num_splits": count}, outputs=count)  # fmt: skip
    return [reading.hold(name, value.order) for name in names]


def _slice(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.unmixed(node, reading.held(node, 0))
    if reading.opset < 10:
        starts, ends, axes, steps = node.wholes("starts"), node.wholes("ends"), node.wholes("axes"), None
    else:
        starts, ends, axes, steps = (reading.ints(node, place) for place in (1, 2, 3, 4))
    if starts is None or ends is None:
        node.damaged("its starts or ends are left out")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or any(not -value.rank <= a < value.rank for a in axes):
        node.damaged(f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)} and steps {list(steps)} do not fit")
    taken = [range(extent) for extent in value.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            node.damaged("a step is 0")
        taken[axis % value.rank] = range(value.shape[axis % value.rank])[slice(start, end, step)]
    if any(len(items) == 0 for items in taken):
        node.damaged(f"it leaves nothing of {value.shape}")
    return [sliced(reading, node, value, taken, node.outputs[0])]


def sliced(reading: Reading, node: Node, value: Held, taken: Sequence[range], name: str) -> Held:
    """The places of each of ONNX's axes that are taken, as SLICE, or STRIDED_SLICE where a step is not 1."""
    lying = [taken[axis] for axis in value.order]
    if tuple(map(len, lying)) == reading.tensors[value.name].shape and all(items.step == 1 for items in lying):
        return value
    begin = reading.fixed(np.array([items.start for items in lying], np.int32), f"{name}/begin")
    if all(items.step == 1 for items in lying):
        size = reading.fixed(np.array([len(items) for items in lying], np.int32), f"{name}/size")
        return reading.make(node, "SLICE", (value.name, begin, size), value.order, name=name)
    # Before the first place lies no place to stop at: a mask says that all are taken.
    to_the_end = sum(1 << place for place, items in enumerate(lying) if items.stop < 0)
    end = reading.fixed(np.array([max(items.stop, 0) for items in lying], np.int32), f"{name}/end")
    steps = reading.fixed(np.array([items.step for items in lying], np.int32), f"{name}/steps")
    options = {"begin_mask": 0, "end_mask": to_the_end, "ellipsis_mask": 0, "new_axis_mask": 0,
               "shrink_axis_mask": 0}  # fmt: skip
    return reading.make(node, "STRIDED_SLICE", (value.name, begin, end, steps), value.order, options, name=name)


def _gather(reading: Reading, node: Node) -> Sequence[Value]:
    value, places = reading.unmixed(node, reading.held(node, 0)), reading.known(node, 1)
    assert places is not None
    axis = axis_of(node, value.rank, 0)
    extent = value.shape[axis]
    if places.dtype.kind not in "iu" or np.any(places < -extent) or np.any(places >= extent) or places.ndim > 1:
        node.damaged(f"the places {places.ravel()[:8].tolist()} of {extent} values cannot be taken")
    if places.ndim == 0:
        taken = [range(length) for length in value.shape]
        taken[axis] = range(int(places) % extent, int(places) % extent + 1)
        one = sliced(reading, node, value, taken, reading.fresh(f"{node.outputs[0]}/one"))
        return [reshape(reading, node, one, (*value.shape[:axis], *value.shape[axis + 1 :]))]
    name = reading.fixed((places % extent).astype(np.int32), f"{node.outputs[0]}/places")
    options = {"axis": value.place(axis), "batch_dims": 0}
    return [reading.make(node, "GATHER", (value.name, name), value.order, options)]


def _expand(reading: Reading, node: Node) -> Sequence[Value]:
    value, told = reading.unmixed(node, reading.held(node, 0)), reading.ints(node, 1)
    if told is None:
        node.damaged("its shape is left out")
    try:
        shape = np.broadcast_shapes(value.shape, told)
    except ValueError:
        node.damaged(f"{value.shape} cannot become {list(told)}")
    value = reshape(reading, node, value, (*(1,) * (len(shape) - value.rank), *value.shape))
    return [_tiled(reading, node, value, [new // old for new, old in zip(shape, value.shape, strict=True)])]


def _tile(reading: Reading, node: Node) -> Sequence[Value]:
    value, told = reading.unmixed(node, reading.held(node, 0)), reading.ints(node, 1)
    if told is None or len(told) != value.rank or min(told) < 1:
        node.damaged("its repeats do not fit")
    return [_tiled(reading, node, value, told)]


def _tiled(reading: Reading, node: Node, value: Held, times: Sequence[int]) -> Held:
    if all(count == 1 for count in times):
        return value
    told = reading.fixed(np.array([times[axis] for axis in value.order], np.int32), f"{node.outputs[0]}/times")
    return reading.make(node, "TILE", (value.name, told), value.order)


def _blocks_of(kind: str) -> Handler:
    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        value, block = reading.held(node, 0), node.whole("blocksize", 0)
        if value.rank != 4 or block < 1:
            node.damaged(f"a block of {block} does not fit {value.shape}")
        batch, channels, height, width = value.shape
        name = reading.ordered(node, value, NHWC)
        if kind == "SPACE_TO_DEPTH":
            if height % block or width % block:
                node.damaged(f"a block of {block} does not fit {value.shape}")
            shape = (batch, height // block, width // block, channels * block * block)
        else:
            if channels % (block * block):
                node.damaged(f"a block of {block} does not fit {value.shape}")
            shape = (batch, height * block, width * block, channels // (block * block))
            if node.text("mode", "DCR") == "CRD":
                # TFLite has the places of a block outermost among the channels, PixelShuffle has them innermost.
                places = np.arange(channels, dtype=np.int32).reshape(-1, block * block).T.ravel()
                told = reading.fixed(places, f"{node.outputs[0]}/places")
                wish = reading.fresh(f"{node.outputs[0]}/sorted")
                name = reading.emit(node, "GATHER", (name, told), wish, {"axis": 3, "batch_dims": 0})[0]
        return [reading.make(node, kind, (name,), NHWC, {"block_size": block}, shape=shape)]

    return handler


def _shape(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    start, end = node.whole("start", 0), node.attributes.get("end")
    return [Known(np.array(value.shape[slice(start, end)], np.int64))]


def _size(reading: Reading, node: Node) -> Sequence[Value]:
    return [Known(np.array(math.prod(reading.held(node, 0).shape), np.int64))]


SHAPING: Mapping[str, Handler] = {
    "Concat": _concat,
    "DepthToSpace": _blocks_of("DEPTH_TO_SPACE"),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _blocks_of("SPACE_TO_DEPTH"),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
