"""TRANSPOSEs moved behind the ops that do not mind the order of dimensions, until they cancel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Op, Tensor, constant, fresh_name
from mnedge.graph.ops import info

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

Order = tuple[int, ...]


def apply(graph: Graph) -> Graph:
    """Rewrites a graph whose exporter went back and forth between NCHW and NHWC.

    Exact: a TRANSPOSE and an op that works value by value can change places, where constants of several values are
    transposed the other way, and so can PAD, SLICE and CONCATENATION with their numbers in the other order. SOFTMAX
    takes rows in any order, and so does a BATCH_MATMUL whose second operand is one matrix for all batches, as the keys
    and values of multi-query attention are; a matrix that is transposed before it is read the other way there. Two
    TRANSPOSEs in a row are one, and one that does nothing goes. The graph stays as it is where fewer bytes would not
    be moved.
    """
    if not any(op.kind == "TRANSPOSE" for op in graph.ops):
        return graph
    sunk = _Sinking(graph).run()
    return without_dead(sunk) if _moved_bytes(sunk) < _moved_bytes(graph) else graph


def _moved_bytes(graph: Graph) -> int:
    made = [graph.tensors[op.outputs[0]] for op in graph.ops if op.kind == "TRANSPOSE"]
    return sum(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in made)


@dataclass
class _Sinking:
    """Walks a graph and holds transposed values back until an op needs them in their order.

    Attributes:
        graph: Graph that is rewritten.
        held: Values that are not there yet: the tensor that is, and the order that makes them of it.
        rows: Tensors (1, …, rows, columns) by the tensors that have the same rows under several dimensions.
        tensors: New ones.
        ops: The new graph's.
    """

    graph: Graph
    held: dict[str, tuple[str, Order]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    rows: dict[str, str] = field(default_factory=dict)

    def run(self) -> Graph:
        """The graph with every TRANSPOSE as late as it can be."""
        self.names = set(self.graph.tensors)
        for op in self.graph.ops:
            order = self._constant_order(op)
            if order is not None:
                self._hold(op, order)
            elif not self._passes_through(op) and not self._by_rows(op):
                there = {str(name): self._made(str(name)) for name in op.inputs if name in self.held}
                self.ops.append(op.with_inputs(there))
        for name in self.graph.outputs:
            if name in self.held:
                self._write(name)
        return self.graph.replaced(tensors=self.tensors, ops=self.ops)

    def _constant_order(self, op: Op) -> Order | None:
        if op.kind != "TRANSPOSE":
            return None
        data = self.graph.tensors[str(op.inputs[1])].data
        return None if data is None else tuple(int(axis) for axis in data.ravel())

    def _hold(self, op: Op, order: Order) -> None:
        source = str(op.inputs[0])
        there, before = self.held.get(source, (source, tuple(range(len(order)))))
        self.held[op.outputs[0]] = (there, tuple(before[axis] for axis in order))

    def _made(self, name: str) -> str:
        """Returns the tensor with a held value in its order: an existing one, or the output of a new TRANSPOSE."""
        there, order = self.held[name]
        if order == tuple(range(len(order))):
            return there
        self._write(name)
        return name

    def _write(self, name: str) -> None:
        """Writes the TRANSPOSE that makes a held value."""
        there, order = self.held.pop(name)
        axes = self._constant(f"{name}/order", np.array(order, np.int32))
        self.ops.append(Op("TRANSPOSE", (there, axes), (name,)))

    def _passes_through(self, op: Op) -> bool:
        """Takes an op onto the values that are there, where all it reads is held back by one order."""
        activations = [str(name) for name in op.inputs if name and not self.graph.tensors[name].is_constant]
        orders = {self.held[name][1] if name in self.held else None for name in activations}
        if len(orders) != 1 or None in orders or len(op.outputs) != 1:
            return False
        (order,) = orders
        assert order is not None
        if len(self.graph.tensors[op.outputs[0]].shape) != len(order):
            return False
        moved = self._moved(op, order)
        if moved is None:
            return False
        result = self.graph.tensors[op.outputs[0]]
        name = self._fresh(f"{result.name}/sunk")
        shape = tuple(result.shape[axis] for axis in _inverse(order))
        open_shape = tuple(result.open_shape[axis] for axis in _inverse(order)) if result.open_shape else ()
        self.tensors.append(replace(result, name=name, shape=shape, open_shape=open_shape))
        self.ops.append(replace(moved, outputs=(name,)))
        self.held[result.name] = (name, order)
        return True

    def _moved(self, op: Op, order: Order) -> Op | None:
        """The op on values that are there; None where it does mind the order."""
        first = self.held[str(op.inputs[0])][0] if op.inputs[0] in self.held else op.inputs[0]
        if info(op).elementwise:
            inputs = tuple(self._operand(str(name), order) for name in op.inputs)
            return None if None in inputs else replace(op, inputs=inputs)
        if op.kind in ("PAD", "SLICE"):
            numbers = [self.graph.tensors[str(name)].data for name in op.inputs[1:]]
            if any(data is None or len(data) != len(order) for data in numbers):
                return None
            moved = [
                self._constant(f"{name}/sunk", data[list(_inverse(order))])
                for name, data in zip(op.inputs[1:], numbers, strict=True)
                if data is not None
            ]
            return replace(op, inputs=(first, *moved))
        if op.kind == "CONCATENATION":
            axis = order[int(op.options.get("axis", 0)) % len(order)]
            inputs = tuple(self.held[str(name)][0] if name in self.held else None for name in op.inputs)
            return None if None in inputs else replace(op, inputs=inputs).with_options(axis=axis)
        return None

    def _by_rows(self, op: Op) -> bool:
        """Takes SOFTMAX, or a product with one matrix, onto rows that are there in another order."""
        if op.kind not in ("SOFTMAX", "BATCH_MATMUL") or op.options.get("adj_x"):
            return False
        first, result = str(op.inputs[0]), self.graph.tensors[op.outputs[0]]
        last = len(result.shape) - 1
        source, order = self.held.get(first, (first, tuple(range(last + 1))))
        moved = op if op.kind == "SOFTMAX" else self._by_matrix(op)
        if moved is None or result.open_shape or len(order) != last + 1 or order[last] != last:
            return False
        if first not in self.held:
            if moved is op:
                return False
            self.ops.append(moved)
            return True
        columns = result.shape[last]
        shape = tuple(result.shape[axis] for axis in _inverse(order))
        inputs = (self._as_rows(source), *moved.inputs[1:])
        flat = replace(result, name=self._fresh(f"{result.name}/rows"), shape=_rows_of(shape, columns))
        apart = replace(result, name=self._fresh(f"{result.name}/sunk"), shape=shape)
        self.tensors += [flat, apart]
        self.ops += [replace(moved, inputs=inputs, outputs=(flat.name,)), self._reshape(flat.name, apart)]
        self.rows[apart.name] = flat.name
        self.held[result.name] = (apart.name, order)
        return True

    def _by_matrix(self, op: Op) -> Op | None:
        """A product whose second operand is one matrix, read as it is there; None where each batch has its own."""
        second = str(op.inputs[1])
        tensor = self.graph.tensors[second]
        if any(extent != 1 for extent in tensor.shape[:-2]) or tensor.open_shape:
            return None
        if second not in self.held:
            return op
        there, order = self.held[second]
        is_turned = order[-2] > order[-1]
        shape = (*tensor.shape[:-2], *(tensor.shape[:-3:-1] if is_turned else tensor.shape[-2:]))
        matrix = replace(tensor, name=self._fresh(f"{second}/matrix"), shape=shape)
        self.tensors.append(matrix)
        self.ops.append(self._reshape(there, matrix))
        turned = bool(op.options.get("adj_y")) != is_turned
        return replace(op, inputs=(op.inputs[0], matrix.name)).with_options(adj_y=turned)

    def _as_rows(self, name: str) -> str:
        if name not in self.rows:
            tensor = next((one for one in self.tensors if one.name == name), None) or self.graph.tensors[name]
            flat = replace(
                tensor, name=self._fresh(f"{name}/rows"), shape=_rows_of(tensor.shape, tensor.shape[-1]), data=None
            )
            self.tensors.append(flat)
            self.ops.append(self._reshape(name, flat))
            self.rows[name] = flat.name
        return self.rows[name]

    def _reshape(self, source: str, made: Tensor) -> Op:
        shape = self._constant(f"{made.name}/shape", np.array(made.shape, np.int32))
        return Op("RESHAPE", (source, shape), (made.name,), {"new_shape": made.shape})

    def _operand(self, name: str, order: Order) -> str | None:
        """An operand of an elementwise op in the order of the values that are there."""
        if name in self.held:
            return self.held[name][0]
        tensor = self.graph.tensors[name]
        if tensor.data is None or (tensor.quantization is not None and tensor.quantization.axis is not None):
            return None
        if tensor.data.size == 1:
            return name
        data = tensor.data.reshape((1,) * (len(order) - tensor.data.ndim) + tensor.data.shape)
        moved = constant(self._fresh(f"{name}/sunk"), np.ascontiguousarray(data.transpose(_inverse(order))))
        self.tensors.append(replace(moved, quantization=tensor.quantization))
        return moved.name

    def _constant(self, wish: str, data: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> str:
        made = constant(self._fresh(wish), np.ascontiguousarray(data))
        self.tensors.append(made)
        return made.name

    def _fresh(self, wish: str) -> str:
        name = fresh_name(wish, self.names)
        self.names.add(name)
        return name


def _rows_of(shape: Order, columns: int) -> Order:
    return (*(1,) * (len(shape) - 2), math.prod(shape[:-1]), columns)


def _inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))
