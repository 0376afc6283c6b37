"""Multiplications by a positive constant, folded forward into the weights of their consumers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mnedge.graph.graph import Graph, Op, Quantization, Tensor, fresh_name
from mnedge.graph.ops import GATHERING, LAYERS, Layer, info, operands
from mnedge.passes._pass import same_quantization, scalar, scaled

# An int8 MUL whose result has its input's range, to this share, only changes what the steps stand for.
_SAME_RANGE = 0.01


def apply(graph: Graph) -> Graph:
    """Drops every MUL by a positive scalar constant and scales the weights of its consumers instead.

    Exact in real arithmetic. Each activation is carried as `factor` times its old value: a factor passes through
    ops with f(k x) = k f(x) (pooling, mean, reshape, ReLU …), two factors multiply in a MUL of activations, and a
    convolution ends it by dividing its weights. A sum whose other side is a constant, or made by a convolution alone,
    multiplies that constant or those weights, and the factor passes through it too. Where an op cannot take the factor,
    and at the graph's outputs, one MUL is put back. In a quantized graph only scales change: weights and activations
    keep their bytes, and a bias is rounded again only where the file's own scales did not agree.
    """
    folded = _Folding(graph).run()
    # Putting a MUL back where there was one gains nothing: then the graph stays as it is.
    return folded if _scaled_values(folded) < _scaled_values(graph) else graph


def _scaled_values(graph: Graph) -> int:
    """Number of values that are multiplied by a scalar constant."""
    return sum(
        math.prod(graph.tensors[op.outputs[0]].shape)
        for op in graph.ops
        if op.kind == "MUL" and any(_is_scalar_constant(graph.tensors[str(name)]) for name in op.inputs)
    )


def _is_scalar_constant(tensor: Tensor) -> bool:
    return tensor.data is not None and tensor.data.size == 1


def _multiplied(tensor: Tensor, factor: float) -> Tensor:
    """A constant that stands for `factor` times the real values; a quantized one keeps its integers."""
    if tensor.quantization is not None:
        return replace(tensor, quantization=scaled(tensor.quantization, factor))
    assert tensor.data is not None
    return replace(tensor, data=(tensor.data.astype(np.float64) * factor).astype(tensor.dtype))


class _Folding:
    """A sweep in order of execution.

    Attributes:
        held: Per activation of the old graph the tensor that now holds `factor` times its real values, and the
            factor; a missing entry is the tensor itself and 1.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.held: dict[str, tuple[str, float]] = {}
        self.ops: list[Op] = []

    def run(self) -> Graph:
        for op in self.graph.ops:
            self._visit(op)
        for name in self.graph.outputs:
            self._plain(name)
        return self.graph.replaced(tensors=self.tensors.values(), ops=self.ops)

    def _hold(self, name: str) -> tuple[str, float]:
        return self.held.get(name, (name, 1.0))

    def _fresh(self, wish: str) -> str:
        return fresh_name(wish, self.tensors)

    def _is_constant(self, name: str | None) -> bool:
        return name is not None and self.tensors[name].is_constant

    def _visit(self, op: Op) -> None:
        if self._drop(op):
            return
        if all(name is None or name not in self.held for name in op.inputs):
            self.ops.append(op)
            return
        row = LAYERS.get(op.kind)
        keeps_sign = op.options.get("activation", "NONE") in ("NONE", "RELU")
        if op.kind in ("ADD", "SUB") and keeps_sign:
            op = self._with_other_side_raised(op)
        factors = [1.0 if name is None else self._hold(name)[1] for name in op.inputs]
        if row is not None and self._is_constant(op.inputs[row.weights]):
            self.ops.append(self._rescale_weights(op, row))
        elif op.kind == "MUL" and keeps_sign:
            self._carry(op, factors[0] * factors[1])
        elif keeps_sign and self._takes_factor(op):
            self._carry(op, self._hold(operands(op)[0])[1])
        else:
            self.ops.append(replace(op, inputs=tuple(name and self._plain(name) for name in op.inputs)))

    def _takes_factor(self, op: Op) -> bool:
        """Returns whether f(k x) = k f(x), one factor is held on all its values, and none on its parameters."""
        values = operands(op)
        others = {name for name in op.inputs if name is not None and name not in values}
        one = len({self._hold(name)[1] for name in values}) == 1 and others.isdisjoint(self.held)
        return one and info(op).homogeneous and len(op.outputs) == 1

    def _drop(self, op: Op) -> bool:
        """Drops a MUL by a positive scalar: its readers take its input, with another factor."""
        if op.kind != "MUL" or op.options.get("activation", "NONE") != "NONE":
            return False
        for side in (1, 0):
            source, result = str(op.inputs[1 - side]), op.outputs[0]
            multiplier = self.tensors[str(op.inputs[side])]
            if not multiplier.is_constant or self._is_constant(source) or multiplier.data is None:
                continue
            if multiplier.data.size != 1 or self.tensors[source].shape != self.tensors[result].shape:
                continue
            value = float(multiplier.real().ravel()[0])
            if value <= 0 or not self._same_range(source, result, value):
                continue
            holder, factor = self._hold(source)
            self.held[result] = (holder, factor / value)
            return True
        return False

    def _same_range(self, source: str, result: str, value: float) -> bool:
        before, after = self.graph.tensors[source].quantization, self.graph.tensors[result].quantization
        if before is None or after is None:
            return before is after
        if self.graph.tensors[source].dtype != self.graph.tensors[result].dtype:
            return False
        ratio = float(before.scale[0]) * value / float(after.scale[0])
        return bool(before.zero_point[0] == after.zero_point[0]) and abs(ratio - 1) < _SAME_RANGE

    def _with_other_side_raised(self, op: Op) -> Op:
        """Gives both sides of a sum the same factor where a constant or a convolution makes the one that has none."""
        for name, other in ((str(op.inputs[0]), str(op.inputs[1])), (str(op.inputs[1]), str(op.inputs[0]))):
            factor = self._hold(other)[1]
            if factor == 1.0 or name in self.held or name in self.graph.outputs:
                continue
            if self._is_constant(name):
                raised = replace(_multiplied(self.tensors[name], factor), name=self._fresh(f"{name}/times{factor:.4g}"))
                self.tensors[raised.name] = raised
                self.held[raised.name] = (raised.name, factor)
                return op.with_inputs({name: raised.name})
            place = next((place for place, made in enumerate(self.ops) if made.outputs[0] == name), None)
            read = sum(reader.inputs.count(name) for reader in self.graph.ops)
            if place is not None and read == 1 and self._is_linear_convolution(self.ops[place]):
                self.ops[place] = self._raised(self.ops[place], factor)
        return op

    def _is_linear_convolution(self, op: Op) -> bool:
        if op.kind not in GATHERING or op.options.get("activation", "NONE") not in ("NONE", "RELU"):
            return False
        return all(name is None or self._is_constant(name) for name in op.inputs[1:])

    def _raised(self, op: Op, factor: float) -> Op:
        """A convolution whose weights, bias and result are `factor` times the old ones."""
        inputs = list(op.inputs)
        for place in range(1, len(inputs)):
            if inputs[place] is not None:
                inputs[place] = self._put(_multiplied(self.tensors[str(inputs[place])], factor), op)
        old = self.tensors[op.outputs[0]]
        quantization = old.quantization and scaled(old.quantization, factor)
        new = replace(old, name=self._fresh(f"{old.name}/times{factor:.4g}"), quantization=quantization)
        self.tensors[new.name] = new
        self.held[old.name] = (new.name, factor)
        return replace(op, inputs=tuple(inputs), outputs=(new.name,))

    def _carry(self, op: Op, factor: float) -> None:
        """Lets an op work on the held tensors; its result holds `factor` times the old values."""
        holders = [name and self._hold(name)[0] for name in op.inputs]
        old = self.tensors[op.outputs[0]]
        if factor == 1.0:
            self.ops.append(replace(op, inputs=tuple(holders)))
            return
        quantization = old.quantization and scaled(old.quantization, factor)
        first = operands(op)[0]
        source = self.graph.tensors[first]
        if op.kind != "MUL" and same_quantization(source.quantization, old.quantization):
            # Pooling and reshaping kernels want the scales of both sides equal to the last bit.
            quantization = self.tensors[self._hold(first)[0]].quantization
        new = replace(old, name=self._fresh(f"{old.name}/times{factor:.4g}"), quantization=quantization)
        self.tensors[new.name] = new
        self.held[old.name] = (new.name, factor)
        self.ops.append(replace(op, inputs=tuple(holders), outputs=(new.name,)))

    def _plain(self, name: str) -> str:
        """Makes the old value of `name` under its old name, with one MUL where a factor is in the way."""
        if name not in self.held:
            return name
        holder, factor = self.held.pop(name)
        inverse = scalar(self._fresh(f"{name}/scale"), 1 / factor, self.tensors[holder])
        self.tensors[inverse.name] = inverse
        self.ops.append(Op("MUL", (holder, inverse.name), (name,), {"activation": "NONE"}))
        return name

    def _rescale_weights(self, op: Op, row: Layer) -> Op:
        inputs = list(op.inputs)
        holder, factor = self._hold(str(inputs[row.data]))
        inputs[row.data] = holder
        new = _multiplied(self.tensors[str(inputs[row.weights])], 1 / factor)
        inputs[row.weights] = self._put(new, op)
        if len(inputs) > row.bias and inputs[row.bias] is not None:
            inputs[row.bias] = self._put(self._rescaled_bias(str(inputs[row.bias]), holder, new), op)
        return replace(op, inputs=tuple(inputs))

    def _rescaled_bias(self, name: str, holder: str, weights: Tensor) -> Tensor:
        """A bias in steps of input scale times weight scale; its integers stay where that product did not change."""
        tensor, activation = self.tensors[name], self.tensors[holder].quantization
        if tensor.quantization is None or weights.quantization is None or activation is None:
            return tensor
        scale = activation.scale.astype(np.float64) * weights.quantization.scale
        axis = 0 if scale.size > 1 else None
        quantization = Quantization(scale.astype(np.float32), np.zeros(scale.shape, np.int64), axis)
        old = tensor.quantization.scale.astype(np.float64)
        if np.allclose(old, scale, rtol=1e-6, atol=0):
            return replace(tensor, quantization=quantization)
        assert tensor.data is not None
        steps = np.round(tensor.data.astype(np.float64) * (old / scale))
        limits = np.iinfo(tensor.dtype)
        return replace(
            tensor, data=np.clip(steps, limits.min, limits.max).astype(tensor.dtype), quantization=quantization
        )

    def _put(self, tensor: Tensor, op: Op) -> str:
        """Stores a changed constant, under a new name where other ops read the old one."""
        if any(tensor.name in other.inputs for other in self.graph.ops if other is not op):
            tensor = replace(tensor, name=self._fresh(f"{tensor.name}/scaled"))
        self.tensors[tensor.name] = tensor
        return tensor.name
