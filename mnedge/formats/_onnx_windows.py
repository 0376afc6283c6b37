"""Windows of ONNX nodes: kernel, strides and pads, read and held against TFLite's paddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.formats._onnx_values import Held, Node, Reading


Pads = tuple[tuple[int, int], tuple[int, int]]


PICTURE_RANK = 4


def two_of(node: Node, name: str, default: int = 1) -> tuple[int, int]:
    """An attribute of two whole numbers from 1 on, e.g. strides."""
    found = node.wholes(name, (default, default)) or (default, default)
    if len(found) != 2 or min(found) < 1:
        node.damaged(f"{name} is {list(found)}; two whole numbers from 1 on are allowed")
    return found[0], found[1]


def check_picture(node: Node, value: Held) -> None:
    """Refuses an input that is not of rank 4."""
    if value.rank != PICTURE_RANK:
        node.refuse(
            f"its input has {value.rank} dimensions {value.shape}; four (a picture) are read",
            "Export the part of the model that works on pictures",
        )


def same_pads(size: int, window: int, stride: int, dilation: int) -> tuple[int, int]:
    """The rows or columns that TFLite's SAME adds before and behind."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def pads_of(node: Node, size: Sequence[int], window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
          ) -> Pads:  # fmt: skip
    """((top, bottom), (left, right)) of a node with windows."""
    auto = node.text("auto_pad", "NOTSET")
    if auto == "VALID":
        return (0, 0), (0, 0)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        found = [same_pads(*item) for item in zip(size, window, stride, dilation, strict=True)]
        first, second = found if auto == "SAME_UPPER" else [(after, before) for before, after in found]
        return first, second
    if auto != "NOTSET":
        node.damaged(f"auto_pad is {auto}")
    told = node.wholes("pads", (0, 0, 0, 0)) or (0, 0, 0, 0)
    if len(told) != 4:
        node.damaged(f"pads are {list(told)}; four whole numbers are allowed")
    if min(told) < 0:
        node.refuse(f"pads are {list(told)}", "Export the model with a Slice before it instead of pads below 0")
    return (told[0], told[2]), (told[1], told[3])


def padded(reading: Reading, node: Node, name: str, pads: Pads, size: Sequence[int], window: Sequence[int],
            stride: Sequence[int], dilation: Sequence[int]) -> tuple[str, str]:  # fmt: skip
    """The tensor that a convolution reads, and its padding: SAME where this adds the same rows and columns."""
    if pads == ((0, 0), (0, 0)):
        return name, "VALID"
    if all(own == same_pads(*item) for own, item in zip(pads, zip(size, window, stride, dilation, strict=True),
                                                        strict=True)):  # fmt: skip
        return name, "SAME"
    return pad(reading, node, name, ((0, 0), *pads, (0, 0))), "VALID"


def pad(reading: Reading, node: Node, name: str, widths: Sequence[tuple[int, int]]) -> str:
    """The tensor with zeros around it."""
    wish = reading.fresh(f"{node.outputs[0]}/padded")
    told = reading.fixed(np.array(widths, np.int32), f"{wish}/widths")
    return reading.emit(node, "PAD", (name, told), wish)[0]
