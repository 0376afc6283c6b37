"""Channels that a model turns around first, from RGB to Caffe's BGR: found, and taken into its first convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Sequence

_ELEMENTWISE = ("ADD", "DIV", "MUL", "SUB")
_PADDING = ("MIRROR_PAD", "PAD")


@dataclass(frozen=True, eq=False)
class Turn:
    """The ops that turn the channels of a tensor around, and the name of what they make."""

    ops: tuple[Op, ...]
    end: str


def turn_of(graph: Graph, name: str) -> Turn | None:
    """The op that reads a tensor (…, channels) and only reverses its channels; None if there is none.

    That is a REVERSE_V2, a STRIDED_SLICE with a step of -1, or one STRIDED_SLICE a channel and a PACK of them.
    """
    readers = graph.consumers()[name]
    if len(readers) == 1 and _reverses(graph, readers[0], name):
        return Turn((readers[0],), readers[0].outputs[0])
    return _stacked(graph, readers)


def without_turn(graph: Graph) -> Graph:
    """Takes the turning around of an only input's channels into the weights of the convolutions behind it: exact.

    Between them, sums and products with constants and padding may stand. The graph is as it was where there is no such
    turn, or where anything else reads what it makes.
    """
    turn = turn_of(graph, graph.inputs[0]) if len(graph.inputs) == 1 else None
    if turn is None:
        return graph
    channels = graph.tensors[turn.end].shape[-1]
    consumers, name = graph.consumers(), turn.end
    made: dict[str, dict[str, str]] = {}
    tensors: list[Tensor] = []

    def turned(op: Op, constants: Sequence[str]) -> None:
        for source in constants:
            data = graph.tensors[source].data
            if data is not None and data.ndim and data.shape[-1] == channels:
                fresh = graph.fresh_name(f"{source}/turned/{op.outputs[0]}")
                tensors.append(
                    constant(fresh, np.ascontiguousarray(data[..., ::-1]), graph.tensors[source].quantization)
                )
                made.setdefault(op.outputs[0], {})[source] = fresh

    while name not in graph.outputs and len(consumers[name]) == 1 and _keeps_channels(graph, consumers[name][0], name):
        (op,) = consumers[name]
        if op.kind in _ELEMENTWISE:
            turned(op, [str(item) for item in op.inputs if item != name])
        name = op.outputs[0]
    readers = consumers[name]
    if name in graph.outputs or not readers or any(not _is_convolution(graph, op, name) for op in readers):
        return graph
    for op in readers:
        turned(op, [str(op.inputs[1])])
    ops = [
        op.with_inputs({turn.end: graph.inputs[0], **made.get(op.outputs[0], {})})
        for op in graph.ops
        if op not in turn.ops
    ]
    return graph.replaced(tensors=tensors, ops=ops)


def _reverses(graph: Graph, op: Op, name: str) -> bool:
    """Whether an op turns the last axis around and does nothing else."""
    values = [graph.tensors[str(item)].data for item in op.inputs[1:]]
    if op.inputs[0] != name or graph.tensors[op.outputs[0]].shape != graph.tensors[name].shape:
        return False
    if op.kind == "REVERSE_V2":
        return values[0] is not None and values[0].ravel().tolist() in ([3], [-1])
    if op.kind != "STRIDED_SLICE" or values[2] is None:
        return False
    return bool(values[2].ravel().tolist() == [1] * (len(graph.tensors[name].shape) - 1) + [-1])


def _stacked(graph: Graph, slices: Sequence[Op]) -> Turn | None:
    """One STRIDED_SLICE a channel, and the PACK that stacks them the other way around."""
    consumers = graph.consumers()
    if not slices or any(op.kind != "STRIDED_SLICE" or len(consumers[op.outputs[0]]) != 1 for op in slices):
        return None
    pack = consumers[slices[0].outputs[0]][0]
    begins = {op.outputs[0]: graph.tensors[str(op.inputs[1])].data for op in slices}
    is_last = pack.kind == "PACK" and pack.options["axis"] in (-1, len(graph.tensors[pack.outputs[0]].shape) - 1)
    if not is_last or set(pack.inputs) != set(begins):
        return None
    channels = [int(begin[-1]) if (begin := begins[str(name)]) is not None else -1 for name in pack.inputs]
    if len(channels) < 2 or channels != list(range(len(channels)))[::-1]:
        return None
    return Turn((*slices, pack), pack.outputs[0])


def _keeps_channels(graph: Graph, op: Op, name: str) -> bool:
    """Whether an op treats each channel by itself: arithmetic with a constant, or padding of height and width."""
    others = [graph.tensors[str(item)].data for item in op.inputs if item != name]
    if op.kind in _PADDING:
        return op.inputs[0] == name and others[0] is not None and not np.any(others[0].reshape(-1, 2)[-1])
    return op.kind in _ELEMENTWISE and len(others) == 1 and others[0] is not None


def _is_convolution(graph: Graph, op: Op, name: str) -> bool:
    is_first = op.kind == "CONV_2D" and op.inputs[0] == name and op.inputs.count(name) == 1
    return is_first and graph.tensors[str(op.inputs[1])].data is not None
