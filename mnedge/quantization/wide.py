"""Ops in int16 (16x8) among those in int8: which can be, and the conversions between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mnedge.graph.graph import Op
from mnedge.graph.ops import INT16_KINDS, bias_of, weights_of

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Tensor


def int16_ops(graph: Graph) -> frozenset[str]:
    """The first outputs of the ops of a float graph that compute real values and have a 16x8 kernel in LiteRT."""
    return frozenset(
        op.outputs[0]
        for op in graph.ops
        if op.kind in INT16_KINDS
        and op.kind != "QUANTIZE"
        and graph.tensors[op.outputs[0]].dtype.startswith("float")
        and weights_of(op) not in activations_around(graph, op)
    )


def activations_around(graph: Graph, op: Op) -> list[str]:
    """The real tensors around an op of a float graph, without constant weights and biases."""
    weights = {weights_of(op), bias_of(op)}
    names = [name for name in (*op.inputs, *op.outputs) if name is not None]
    return [
        name
        for name in names
        if graph.tensors[name].dtype.startswith("float") and not (name in weights and graph.tensors[name].is_constant)
    ]


def widened(graph: Graph, wide: frozenset[str]) -> tuple[Graph, frozenset[str]]:
    """Puts QUANTIZE between the ops in int16 and those in int8, one a tensor, and before the graph's outputs.

    Args:
        graph: Float graph.
        wide: First outputs of the ops in int16.

    Returns:
        The graph, and its activations in int16.
    """
    made = _Widening(graph)
    for op in graph.ops:
        made.add(op, is_wide=op.outputs[0] in wide)
    return graph.replaced(tensors=made.added, ops=made.ops), frozenset(made.held[True].values())


@dataclass
class _Widening:
    """The ops so far, and the tensors that hold each value.

    Attributes:
        graph: The float graph.
        ops: The ops, conversions included.
        added: Tensors that the graph does not have.
        held: The tensor that holds a value in int16 (True) and in int8 (False), where one does.
    """

    graph: Graph
    ops: list[Op] = field(default_factory=list)
    added: list[Tensor] = field(default_factory=list)
    held: dict[bool, dict[str, str]] = field(default_factory=lambda: {True: {}, False: {}})

    def add(self, op: Op, *, is_wide: bool) -> None:
        """Adds an op, and conversions of what it reads and of what callers get."""
        read = {
            name: self._read(name, is_wide=is_wide) for name in activations_around(self.graph, op) if name in op.inputs
        }
        # Scales of int16 sums are no powers of two.
        said = op.with_options(pot_scale_int16=False) if is_wide and op.kind in ("ADD", "SUB") else op
        ends = [name for name in op.outputs if is_wide and name in self.graph.outputs]
        renamed = {name: self._new(name, is_wide=True) for name in ends}
        self.held[is_wide].update({name: renamed.get(name, name) for name in op.outputs})
        outputs = tuple(renamed.get(name, name) for name in op.outputs)
        self.ops.append(replace(said.with_inputs(read), outputs=outputs))
        self.ops.extend(Op("QUANTIZE", (renamed[name],), (name,)) for name in ends)
        self.held[False].update({name: name for name in ends})

    def _read(self, name: str, *, is_wide: bool) -> str:
        """The tensor that holds a value in int16 or int8, converted where none did."""
        if name not in self.held[True]:
            self.held[False].setdefault(name, name)
        held = self.held[is_wide]
        if name not in held:
            held[name] = self._new(name, is_wide=is_wide)
            if not self.graph.tensors[name].is_constant:
                self.ops.append(Op("QUANTIZE", (self.held[not is_wide][name],), (held[name],)))
        return held[name]

    def _new(self, name: str, *, is_wide: bool) -> str:
        fresh = self.graph.fresh_name(f"{name}/{'int16' if is_wide else 'int8'}")
        self.added.append(replace(self.graph.tensors[name], name=fresh))
        return fresh
