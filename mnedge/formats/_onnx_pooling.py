"""ONNX's pooling: MaxPool and AveragePool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.formats._onnx_values import NHWC, NO_ACTIVATION
from mnedge.formats._onnx_windows import check_picture, pad, pads_of, same_pads, two_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Reading, Value
    from mnedge.formats._onnx_windows import Pads


_NEVER_NEGATIVE = ("RELU", "RELU6", "LOGISTIC", "SOFTMAX", "EXP")


def _pool(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    check_picture(node, value)
    is_max = node.kind == "MaxPool"
    if len(node.outputs) > 1 and any(node.outputs[1:]):
        node.refuse("its indices are read", "Export the model without unpooling")
    if two_of(node, "dilations") != (1, 1):
        node.refuse("it has dilations", "TFLite's pooling has none; export the model without")
    window, stride = two_of(node, "kernel_shape"), two_of(node, "strides")
    size = value.shape[2:]
    pads = pads_of(node, size, window, stride, (1, 1))
    if node.whole("ceil_mode", 0):
        pads = _rounded_up(node, pads, size, window, stride, is_max=is_max)
    name = reading.ordered(node, value, NHWC)
    same = tuple(same_pads(*item, 1) for item in zip(size, window, stride, strict=True))
    padding = "VALID"
    # SAME pools over what lies on the picture alone, as ONNX does unless it counts the padding.
    if pads != ((0, 0), (0, 0)):
        counts = not is_max and bool(node.whole("count_include_pad", 0))
        if pads == same and not counts:
            padding = "SAME"
        elif counts or (is_max and _never_negative(reading, name)):
            name = pad(reading, node, name, ((0, 0), *pads, (0, 0)))
        else:
            node.refuse(
                f"its pads are {pads}, where TFLite's SAME has {same}",
                "Put a Relu before it, or count_include_pad, or export it with a size whose pads are even",
            )
    options = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1], "filter_height": window[0],
        "filter_width": window[1], **NO_ACTIVATION,
    }  # fmt: skip
    return [reading.make(node, "MAX_POOL_2D" if is_max else "AVERAGE_POOL_2D", (name,), NHWC, options)]


def _rounded_up(node: Node, pads: Pads, size: Sequence[int], window: Sequence[int], stride: Sequence[int], *,
                is_max: bool) -> Pads:  # fmt: skip
    """Pads with which rounding down makes what ceil_mode makes."""
    found = []
    for (before, after), extent, length, step in zip(pads, size, window, stride, strict=True):
        total = extent + before + after
        count = math.ceil((total - length) / step) + 1
        # A last window that would start in the padding behind is left out.
        count -= (count - 1) * step >= extent + before
        missing = (count - 1) * step + length - total
        if missing > 0 and not is_max and (before or after):
            node.refuse("it has ceil_mode and pads", "Export it without ceil_mode")
        found.append((before, after + max(missing, 0)))
    return found[0], found[1]


def _never_negative(reading: Reading, name: str) -> bool:
    """Returns whether a tensor's producer makes no value below 0, so that zeros around it are never the largest."""
    producers = {made: op for op in reading.ops for made in op.outputs}
    op = producers.get(name)
    while op is not None and op.kind in ("PAD", "MAX_POOL_2D", "RESHAPE", "TRANSPOSE"):
        op = producers.get(str(op.inputs[0]))
    return op is not None and op.kind in _NEVER_NEGATIVE


POOLING: Mapping[str, Handler] = {"AveragePool": _pool, "MaxPool": _pool}
