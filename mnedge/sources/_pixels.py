"""Pixels of a network, as the first ops of its graph show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.pixels import CHANNELS, Order, Pixels
from mnedge.sources._turned import turn_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op

    Vector = NDArray[np.float64]

# Ends of the ranges that networks are trained on; how far a rescaling may miss them (x / 128, x / 256).
_STANDARD_RANGES = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5))
_SLACK = 0.02
_LARGEST = 255.0
# Mean and deviation of photos' pixels, whole channels of whole data sets, as shares of 0..1. ImageNet has 0.41 to 0.49
# and 0.22 to 0.23.
_LEAST_MEAN_OF_PIXELS = 8.0
_MEANS, _DEVIATIONS = (0.25, 0.75), (0.1, 0.35)


@dataclass(frozen=True, eq=False)
class Affine:
    """The map of an input x to the first layer: scale * x + offset, float64 (channels,), in the order it sees them."""

    scale: Vector
    offset: Vector


def pixels_of_graph(graph: Graph) -> Pixels | None:
    """Finds the range of pixels that a graph takes from the constants that it applies to them.

    The additions, subtractions, multiplications and divisions by constants between the input and the first other op
    compose to scale * x + offset. A range of x is taken where no other one makes sense:

    - 0..255 or 0..1 that the ops bring to -1..1, 0..1 or -0.5..0.5 (Rescaling, x / 127.5 - 1);
    - otherwise the ops subtract a mean and divide by a deviation. Where one channel's mean is 8 or more, and all
      means and deviations are possible for 8-bit pixels, x is 0..255. A mean below
      0 shows -1..1, for values of 0 or more have none. Means of 0.25 to 0.75 with deviations of 0.1 to 0.35 are those
      of photos in 0..1.

    Anything else shows nothing: no ops at all, or a mean near 0 with a deviation near 1, which any range could have.

    Args:
        graph: Float; one input is a picture, NHWC with 1, 3 or 4 channels.

    Returns:
        The pixels, or None where the graph does not show them or has several such inputs.
    """
    pictures = [name for name in graph.inputs if _order(graph, name) is not None]
    if len(pictures) != 1:
        return None
    order = _order(graph, pictures[0])
    affine = affine_of_input(graph, pictures[0])
    if order is None or affine is None:
        return None
    found = _range(affine)
    return None if found is None else Pixels.between(*found, order)


def picture_order(graph: Graph) -> Order | None:
    """Channels of the only input that is a picture; None where there is none, or several."""
    orders = [order for name in graph.inputs if (order := _order(graph, name)) is not None]
    return orders[0] if len(orders) == 1 else None


def affine_of_input(graph: Graph, name: str) -> Affine | None:
    """Composes the elementwise ops with constants that stand behind an input; None where there are none."""
    channels = graph.tensors[name].shape[-1]
    scale, offset = np.ones(channels), np.zeros(channels)
    consumers = graph.consumers()
    found = False
    while consumers[name]:
        turn = turn_of(graph, name)
        if turn is not None:
            # Caffe's preprocessing brings RGB to BGR.
            scale, offset, name = scale[::-1], offset[::-1], turn.end
            continue
        op, *others = consumers[name]
        if others:
            break
        step = _step(graph, op, name, channels)
        if step is not None:
            scale, offset, found = scale * step.scale, offset * step.scale + step.offset, True
        else:
            break
        name = op.outputs[0]
    if not found or not np.all(np.isfinite(scale) & np.isfinite(offset)) or np.any(scale <= 0):
        return None
    return Affine(scale, offset)


def _order(graph: Graph, name: str) -> Order | None:
    shape = graph.tensors[name].shape
    orders: dict[int, Order] = {CHANNELS[order]: order for order in ("RGB", "GREY", "RGBA")}
    return orders.get(shape[3]) if len(shape) == 4 and shape[1] > 1 and shape[2] > 1 else None


def _step(graph: Graph, op: Op, name: str, channels: int) -> Affine | None:
    """What one op does to its input, where that is affine and the same for every pixel."""
    if op.kind not in ("ADD", "SUB", "MUL", "DIV") or op.options.get("activation", "NONE") != "NONE":
        return None
    first = op.inputs[0] == name
    other = graph.tensors[str(op.inputs[1 if first else 0])]
    size = 0 if other.data is None else other.data.size
    if size not in (1, channels) or (size == channels > 1 and other.shape[-1] != channels):
        return None
    values = np.broadcast_to(other.real().astype(np.float64).ravel(), (channels,))
    one, zero = np.ones(channels), np.zeros(channels)
    if op.kind == "ADD":
        return Affine(one, values)
    if op.kind == "MUL":
        return Affine(values, zero)
    if op.kind == "SUB":
        return Affine(one, -values) if first else Affine(-one, values)
    # The reciprocal of the input is not affine.
    return Affine(1 / values, zero) if first and np.all(values != 0) else None


def _range(affine: Affine) -> tuple[float, float] | None:
    """The range of x, (lowest, highest)."""
    scale, offset = affine.scale, affine.offset
    for high in (_LARGEST, 1.0):
        for low_seen, high_seen in _STANDARD_RANGES:
            allowed = _SLACK * (high_seen - low_seen)
            # The identity on 0..1 is no rescaling.
            if np.allclose(scale, 1, atol=1e-6) and np.allclose(offset, 0, atol=1e-6):
                continue
            if np.all(np.abs(offset - low_seen) <= allowed) and np.all(
                np.abs(scale * high + offset - high_seen) <= allowed
            ):
                return 0.0, high
    mean, deviation = -offset / scale, 1 / scale
    # Values between -1 and 1 have a deviation of 1 at most; subtracting a mean alone leaves the deviation open.
    if np.any(mean > 1 + _SLACK) or np.any(deviation > 1 + _SLACK):
        possible = np.all((mean >= 0) & (mean <= _LARGEST) & (deviation <= _LARGEST / 2 * (1 + _SLACK)))
        return (0.0, _LARGEST) if possible and np.any(mean >= _LEAST_MEAN_OF_PIXELS) else None
    only_shifts = np.allclose(scale, 1, atol=1e-6)
    if np.any(mean < -_SLACK):
        return (-1.0, 1.0) if np.all(mean > -1) and not only_shifts else None
    is_photo = (mean >= _MEANS[0]) & (mean <= _MEANS[1]) & (deviation >= _DEVIATIONS[0]) & (deviation <= _DEVIATIONS[1])
    return (0.0, 1.0) if np.all(is_photo) else None
