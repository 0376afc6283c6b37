"""Functions that exporters write out in arithmetic, recognised by their computation: hard-swish and GELU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.formats._onnx_elementwise import ERF
from mnedge.graph.graph import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph

    Reals = NDArray[np.float64]

Function: TypeAlias = "Callable[[Reals], Reals]"

_MOST_OPS = 10
_POINTS = np.linspace(-9.0, 9.0, 361)
# Exporters write the root of 2 and the like in float32, some with four digits.
_NEAR = 2e-4


def _erf(values: Reals) -> Reals:
    return np.array([math.erf(value) for value in values.ravel()]).reshape(values.shape)


def _gelu_of_tanh(x: Reals) -> Reals:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), np.float64)


# Kind, options, and the function: arXiv:1905.02244 section 5.2, arXiv:1606.08415.
_KNOWN: tuple[tuple[str, dict[str, bool], Function], ...] = (
    ("HARD_SWISH", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("GELU", {"approximate": False}, lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2)))),
    ("GELU", {"approximate": True}, _gelu_of_tanh),
)
_ARITHMETIC: Mapping[str, Callable[..., Reals]] = {
    "ADD": np.add,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "POW": np.power,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "SUB": np.subtract,
    "TANH": np.tanh,
    ERF: _erf,
}


def fuse_patterns(graph: Graph) -> Graph:
    """Rewrites arithmetic on one tensor that computes hard-swish or GELU as the op of that name.

    Whatever the order of its factors: ops between a tensor and a product are run on numbers, and compared. Ops that
    nobody reads then stay; see `without_dead`.
    """
    producers = graph.producers()
    place = {id(op): number for number, op in enumerate(graph.ops)}
    fused: dict[str, Op] = {}
    inside: set[int] = set()
    for op in reversed(graph.ops):
        if op.kind in ("MUL", "DIV") and id(op) not in inside:
            found = _match(graph, op, producers, place)
            if found is not None:
                fused[op.outputs[0]], ops = found
                inside |= {id(item) for item in ops}
    if not fused:
        return graph
    return graph.replaced(ops=[fused.get(op.outputs[0], op) for op in graph.ops])


def _match(
    graph: Graph, last: Op, producers: Mapping[str, Op], place: Mapping[int, int]
) -> tuple[Op, list[Op]] | None:  # fmt: skip
    """The op that computes what some ops up to `last` do, and these ops."""
    ops = [last]
    open_ends = {name for name in last.inputs if not graph.tensors[str(name)].is_constant}
    while len(ops) <= _MOST_OPS:
        if len(open_ends) == 1 and len(ops) > 1:
            (source,) = open_ends
            shape = graph.tensors[str(source)].shape
            if shape == graph.tensors[last.outputs[0]].shape:
                made = _named(graph, str(source), ops[::-1], last)
                if made is not None:
                    return made, ops
        # The op that runs last comes first, so that all that read its result are inside.
        before = [producers[str(name)] for name in open_ends if str(name) in producers]
        if not before:
            return None
        latest = max(before, key=lambda op: place[id(op)])
        if latest.kind not in _ARITHMETIC or not _is_of_numbers(graph, latest):
            return None
        ops.append(latest)
        open_ends = (open_ends - set(latest.outputs)) | {
            name for name in latest.inputs if not graph.tensors[str(name)].is_constant
        }
    return None


def _is_of_numbers(graph: Graph, op: Op) -> bool:
    """Returns whether every constant input of an op is one number."""
    tensors = [graph.tensors[str(name)] for name in op.inputs]
    return all(tensor.data is None or tensor.data.size == 1 for tensor in tensors)


def _named(graph: Graph, source: str, ops: list[Op], last: Op) -> Op | None:
    if not _is_of_numbers(graph, last):
        return None
    values: dict[str, Reals] = {source: _POINTS}
    with np.errstate(all="ignore"):
        for op in ops:
            arguments = []
            for name in op.inputs:
                tensor = graph.tensors[str(name)]
                known = values.get(str(name))
                arguments.append(tensor.real().astype(np.float64).reshape(()) if known is None else known)
            values[op.outputs[0]] = _ARITHMETIC[op.kind](*arguments)
    made = values[last.outputs[0]]
    for kind, options, function in _KNOWN:
        if np.allclose(made, function(_POINTS), rtol=_NEAR, atol=_NEAR):
            return Op(kind, (source,), last.outputs, options)
    return None
