"""Arithmetic on pixels before the first layer, folded into that layer or into the meaning of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.ops import CONVOLUTIONS
from mnedge.passes._pixel_blocks import in_blocks
from mnedge.pixels import CHANNELS, Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGE_RANK = 4
# Share of the largest value by which float32 constants of one range may differ.
_SAME = 1e-6


def apply(graph: Graph) -> Graph:
    """Folds MUL, ADD, SUB and DIV by constants between the input and its first convolution into that convolution.

    Exact in real arithmetic where it is done. A convolution w of a x + b, channel by channel, is that of x with the
    weights a w, plus the sum of w b over the taps that lie on the picture. Without padding these are all taps, and the
    sum is a constant that the bias takes. With padding, taps beside the picture read 0 and not b: at the border the sum
    is another one, so it is folded only where b is 0. What cannot be folded stays; see `pixel_input`, which needs no
    convolution.
    """
    found = leading_affine(graph)
    if found is None:
        return graph
    readers = graph.consumers()[found.end]
    if found.end in graph.outputs or not readers or any(not _takes(graph, op, found) for op in readers):
        return graph
    tensors: list[Tensor] = []
    ops = []
    for op in graph.ops:
        if op in found.ops:
            continue
        if op in readers:
            op, own = _folded(graph, op, graph.inputs[0], found.scale, found.offset)  # noqa: PLW2901
            tensors += own
        ops.append(op)
    return graph.replaced(tensors=tensors, ops=ops)


def pixel_input(graph: Graph, pixels: Pixels) -> tuple[Graph, Pixels]:
    """Takes what a model does to its pixels out of the graph and into what a picture is to it.

    Exact, whatever reads the result: x = s p + o, then a x + b, is (a s) p + (a o + b). The graph that is left takes
    what the ops made, so padding still adds its real 0, and an int8 input of it has the pixel itself as its step. A
    caller of the float graph has to prepare pictures by the new `Pixels`.

    Returns:
        The graph without these ops, and what a picture is to it; both as they were where there are none.
    """
    found = leading_affine(graph)
    if found is None or found.end in graph.outputs or np.any(found.scale <= 0):
        return graph, pixels
    scale = found.scale * np.asarray(pixels.scale, np.float64)
    offset = found.scale * np.asarray(pixels.offset, np.float64) + found.offset
    ops = [op.with_inputs({found.end: graph.inputs[0]}) for op in graph.ops if op not in found.ops]
    return graph.replaced(ops=ops), Pixels(_short(scale), _short(offset), pixels.order)


def shared_steps(graph: Graph, pixels: Pixels) -> tuple[Graph, Pixels]:
    """Lets one range serve all channels, so that the step of an int8 input is the pixel.

    Exact. Channels have x = s p + o each; 0, which padding adds, is the pixel m = -o / s. Where m is the same for all
    channels, the graph takes p - m and its first convolution has the weights s w. Where the convolution pads nothing,
    it takes p, and the bias what o adds. Else no single 0 would do at the border, and a convolution that pads nothing
    prepares the pixels first. Before a convolution of stride 2 it makes 2 x 2 pixels the channels of one, which a
    vector unit does several times faster, and the convolution reads these: the same products, in another order.
    Elsewhere it is a 1 x 1 depthwise one.

    Returns:
        The graph and what a picture is to it; both as they were where one range serves already.
    """
    source = graph.inputs[0]
    if pixels.is_per_tensor:
        return graph, pixels
    channels = CHANNELS[pixels.order]
    scale = np.broadcast_to(np.asarray(pixels.scale, np.float64), channels)
    offset = np.broadcast_to(np.asarray(pixels.offset, np.float64), channels)
    zeros = -offset / scale
    readers = graph.consumers()[source]
    are_convolutions = bool(readers) and all(_is_plain(graph, op, source) for op in readers)
    same_zero = bool(np.ptp(zeros) <= _SAME * np.abs(zeros).max())
    if are_convolutions and (same_zero or all(op.options["padding"] == "VALID" for op in readers)):
        shift = zeros[0] if same_zero else 0.0
        tensors: list[Tensor] = []
        ops = []
        for op in graph.ops:
            if op in readers:
                op, own = _folded(graph, op, source, scale, scale * shift + offset)  # noqa: PLW2901
                tensors += own
            ops.append(op)
        return graph.replaced(tensors=tensors, ops=ops), Pixels((1.0,), (-float(shift),), pixels.order)
    blocks = in_blocks(graph, scale, offset)
    if blocks is not None:
        return blocks, Pixels((1.0,), (0.0,), pixels.order)
    made = graph.fresh_name(f"{source}/prepared")
    names = [graph.fresh_name(f"{made}/{kind}") for kind in ("scale", "offset")]
    first = Op(
        "DEPTHWISE_CONV_2D",
        (source, *names),
        (made,),
        {
            "padding": "VALID",
            "stride_h": 1,
            "stride_w": 1,
            "dilation_h_factor": 1,
            "dilation_w_factor": 1,
            "depth_multiplier": 1,
            "activation": "NONE",
        },
    )
    values = (scale.reshape(1, 1, 1, -1), offset)
    added = [constant(name, value.astype(np.float32)) for name, value in zip(names, values, strict=True)]
    ops = [first, *(op.with_inputs({source: made}) for op in graph.ops)]
    graph = graph.replaced(tensors=[replace(graph.tensors[source], name=made), *added], ops=ops)
    return graph, Pixels((1.0,), (0.0,), pixels.order)


@dataclass(frozen=True, eq=False)
class Affine:
    """The ops between the input and what first mixes pixels or channels: scale * x + offset, channel by channel.

    Attributes:
        ops: In order; at least one.
        end: Output of the last of them.
        scale: float64, (channels,).
        offset: Likewise.
    """

    ops: tuple[Op, ...]
    end: str
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


def leading_affine(graph: Graph) -> Affine | None:
    """The MUL, ADD, SUB and DIV by float constants that a picture goes through first; None where there are none."""
    name, ops = graph.inputs[0], []
    tensor = graph.tensors[name]
    if tensor.dtype != "float32" or len(tensor.shape) != _IMAGE_RANK:
        return None
    scale, offset = np.ones(tensor.shape[-1]), np.zeros(tensor.shape[-1])
    consumers = graph.consumers()
    while len(consumers[name]) == 1 and name not in graph.outputs:
        step = _step(graph, consumers[name][0], name)
        if step is None:
            break
        factor, shift = step
        scale, offset = scale * factor, offset * factor + shift
        ops.append(consumers[name][0])
        name = ops[-1].outputs[0]
    return Affine(tuple(ops), name, scale, offset) if ops else None


def _step(graph: Graph, op: Op, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Returns factor and shift of an op, (channels,) each; None if it is no affine map of each channel."""
    if op.kind not in ("ADD", "DIV", "MUL", "SUB") or op.options.get("activation", "NONE") != "NONE":
        return None
    place = op.inputs.index(name)
    other = graph.tensors[str(op.inputs[1 - place])]
    channels = graph.tensors[name].shape[-1]
    each = other.shape[-1:] if other.data is not None and other.dtype == "float32" else (0,)
    if other.data is None or (other.data.size != 1 and (each != (channels,) or other.data.size != channels)):
        return None
    values = np.broadcast_to(other.real().astype(np.float64).reshape(-1), channels)
    ones, zeros = np.ones(channels), np.zeros(channels)
    steps = {"MUL": (values, zeros), "ADD": (ones, values), "SUB": (ones, -values)}
    if place == 1:
        steps["SUB"] = (-ones, values)
    elif np.all(values != 0):
        steps["DIV"] = (1 / values, zeros)
    return steps.get(op.kind)


def _takes(graph: Graph, op: Op, found: Affine) -> bool:
    """Returns whether a convolution can take a factor and a shift of its input exactly."""
    return _is_plain(graph, op, found.end) and (op.options["padding"] == "VALID" or not np.any(found.offset))


def _is_plain(graph: Graph, op: Op, source: str) -> bool:
    """Returns whether an op convolves `source` with constant float weights, depthwise with a multiplier of 1."""
    if op.kind not in CONVOLUTIONS or op.inputs.index(source) != 0 or op.inputs.count(source) != 1:
        return False
    weights = graph.tensors[str(op.inputs[1])]
    bias = graph.tensors[str(op.inputs[2])] if len(op.inputs) > 2 and op.inputs[2] is not None else None
    constants = weights.data is not None and (bias is None or bias.data is not None)
    return constants and weights.dtype == "float32" and weights.shape[-1] == graph.tensors[source].shape[-1]


def _folded(
    graph: Graph, op: Op, source: str, scale: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[Op, list[Tensor]]:
    """The convolution of x that equals the one of scale * x + offset where nothing is padded."""
    weights = graph.tensors[str(op.inputs[1])].real().astype(np.float64)
    shift = weights * offset
    added = shift.sum((0, 1, 2)) if op.kind == "DEPTHWISE_CONV_2D" else shift.sum((1, 2, 3))
    has_bias = len(op.inputs) > 2 and op.inputs[2] is not None
    bias = graph.tensors[str(op.inputs[2])].real().astype(np.float64) if has_bias else np.zeros(added.shape)
    names = [graph.fresh_name(f"{op.outputs[0]}/{kind}") for kind in ("folded_weights", "folded_bias")]
    values = (weights * scale, bias + added)
    own = [constant(name, value.astype(np.float32)) for name, value in zip(names, values, strict=True)]
    return replace(op, inputs=(source, *names)), own


def _short(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Returns one value if all are the same, else one per channel."""
    values = np.atleast_1d(values)
    if np.ptp(values) <= _SAME * np.abs(values).max():
        return (float(values[0]),)
    return tuple(float(value) for value in values)
