"""Kind of a network's outputs, as its last ops show it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.sources._source import Float, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head

_SAME_VALUES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "DEQUANTIZE", "QUANTIZE", "CAST")
_SHOWN = 8


def outputs_of(graph: Graph) -> tuple[Output, ...]:
    """Says of every output what its values are, as far as its last ops show it.

    - height and width of more than one pixel: a map;
    - SOFTMAX: softmax; LOG_SOFTMAX: logits, because softmax of either is the same;
    - LOGISTIC: sigmoid with one value, multi-label with several;
    - anything else: numbers. A last linear layer does not show whether its values are logits of classes or a
      regression; class names do (`with_labels`).
    """
    producers = graph.producers()
    found = []
    for name in graph.outputs:
        shape = graph.tensors[name].shape
        op = producers.get(name)
        while op is not None and op.kind in _SAME_VALUES:
            op = producers.get(str(op.inputs[0]))
        found.append(Output(name, shape, _head("" if op is None else op.kind, shape)))
    return tuple(found)


def _head(kind: str, shape: tuple[int, ...]) -> Head:
    count = math.prod(shape)
    if len(shape) == 4 and shape[1] * shape[2] > 1:
        return "map"
    if not shape or shape[-1] != count:
        return "numbers"
    if kind in ("SOFTMAX", "LOG_SOFTMAX") and count > 1:
        return "softmax" if kind == "SOFTMAX" else "logits"
    if kind == "LOGISTIC":
        return "sigmoid" if count == 1 else "multi-label"
    return "numbers"


def with_labels(network: Float, labels: Sequence[str], *, place: int = 0) -> Float:
    """Gives a network class names; an output of as many plain numbers is one of logits then.

    One sigmoid takes two names (of 0 and of 1) or one (of 1).

    Args:
        network: The network.
        labels: Class names in the order of the values.
        place: The output that they belong to.

    Raises:
        InputError: The output has more or fewer values than there are names.
    """
    output = network.outputs[place]
    values = output.shape[-1] if output.shape else 1
    allowed = (1, 2) if output.head == "sigmoid" else (values,)
    if len(labels) not in allowed:
        raise InputError(
            f"output {output.name} has {values} values, but there are {len(labels)} labels ({_some(labels)})"
            + (f"; the file's own are {len(network.labels)} ({_some(network.labels)})" if network.labels else "")
            + f"; give {' or '.join(str(count) for count in allowed)} labels in the order of the values"
        )
    head: Head = "logits" if output.head == "numbers" and values > 1 and _is_vector(output) else output.head
    outputs = (*network.outputs[:place], replace(output, head=head), *network.outputs[place + 1 :])
    return replace(network, outputs=outputs, labels=tuple(labels))


def _is_vector(output: Output) -> bool:
    return math.prod(output.shape) == output.shape[-1]


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (", …" if len(labels) > _SHOWN else "")
