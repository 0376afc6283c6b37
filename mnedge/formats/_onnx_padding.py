"""ONNX's Pad, which may also cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Held, Node, Reading, Value


def _pad(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.unmixed(node, reading.held(node, 0))
    widths = _pad_widths(reading, node, value.rank)
    filling = _filling(reading, node, value)
    lying = [widths[axis] for axis in value.order]
    cut = [(max(-before, 0), max(-after, 0)) for before, after in lying]
    grown = [(max(before, 0), max(after, 0)) for before, after in lying]
    grows = any(before or after for before, after in grown)
    if any(before or after for before, after in cut):
        value = _cut(reading, node, value, cut, last=not grows)
    if not grows:
        return [value]
    mode = node.text("mode", "constant")
    told_name = reading.fixed(np.array(grown, np.int32), f"{node.outputs[0]}/widths")
    if mode == "constant" and filling == 0.0:
        return [reading.make(node, "PAD", (value.name, told_name), value.order)]
    if mode == "constant":
        filled = reading.fixed(np.array([filling], np.float32), f"{node.outputs[0]}/value")
        return [reading.make(node, "PADV2", (value.name, told_name, filled), value.order)]
    if mode == "reflect":
        return [reading.make(node, "MIRROR_PAD", (value.name, told_name), value.order, {"mode": 0})]
    return node.refuse(f"its mode is {mode}", "constant and reflect are read; export the model with one of them")


def _pad_widths(reading: Reading, node: Node, rank: int) -> list[tuple[int, int]]:
    """Returns the padding before and behind each of ONNX's axes; a negative width cuts."""
    told = node.wholes("pads") if reading.opset < 11 else reading.ints(node, 1)
    if told is None:
        node.damaged("its pads are left out")
    named = reading.ints(node, 3) if reading.opset >= 18 else None
    axes = tuple(range(rank)) if named is None else named
    if len(told) != 2 * len(axes) or any(not -rank <= axis < rank for axis in axes):
        node.damaged(f"{len(told)} pads do not fit {len(axes)} axes")
    widths = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        widths[axis] = told[place], told[place + len(axes)]
    return widths


def _filling(reading: Reading, node: Node, value: Held) -> float:
    """The number that a Pad adds."""
    if reading.opset < 11:
        return node.real("value", 0.0)
    told = reading.known(node, 2)
    filling = 0.0 if told is None or not told.size else float(told.ravel()[0])
    steps = reading.tensors[value.name].quantization
    if steps is None:
        return filling
    # uint8 steps lie 128 above the int8 ones here; PAD adds the step of 0.
    step = filling - (128 if told is not None and told.dtype == np.uint8 else 0)
    if told is None or step != float(steps.zero_point[0]):
        node.refuse(f"it pads steps with {filling:g}, which stands for another number than 0",
                    "Quantize the float model with mnedge")  # fmt: skip
    return 0.0


def _cut(reading: Reading, node: Node, value: Held, cut: Sequence[tuple[int, int]], *, last: bool) -> Held:
    shape = reading.tensors[value.name].shape
    begin = reading.fixed(np.array([before for before, _ in cut], np.int32), f"{node.outputs[0]}/begin")
    left = [extent - before - after for extent, (before, after) in zip(shape, cut, strict=True)]
    if min(left) < 1:
        node.damaged(f"it leaves nothing of {value.shape}")
    count = reading.fixed(np.array(left, np.int32), f"{node.outputs[0]}/count")
    name = node.outputs[0] if last else reading.fresh(f"{node.outputs[0]}/cut")
    return reading.make(node, "SLICE", (value.name, begin, count), value.order, name=name)


PADDING: Mapping[str, Handler] = {"Pad": _pad}
