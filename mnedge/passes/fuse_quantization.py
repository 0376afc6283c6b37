"""Float ops between DEQUANTIZE and QUANTIZE, as QDQ files have them, to int8 ops of the scales around them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant, fresh_name
from mnedge.graph.ops import LAYERS, bias_of, info
from mnedge.passes._pass import same_quantization

if TYPE_CHECKING:
    from collections.abc import Iterable

# The range of these ops is known without the file: their result is brought to such steps before anything else.
_RELU6 = Quantization.per_tensor(6 / 255, -128)
_INT32_MAX = float(np.iinfo(np.int32).max)
_MOST_STEPS = 127
# Elementwise ops without an int8 kernel.
_NO_FORM = ("CAST", "CEIL", "COS", "FLOOR", "GATHER_ND", "POW", "ROUND", "SIN", "WHERE")


def apply(graph: Graph) -> Graph:
    """Lets ops whose activations are all dequantized, and whose result is only quantized, compute in int8.

    Scales and zero points are those of the file. Exact in real arithmetic; both round their result once. Where a
    result between two ops has no steps of its own, it gets those that its meaning fixes (0..6 behind RELU6, TFLite's
    fixed ones behind LOGISTIC and SOFTMAX) or those of the input that it only moves. An op that TFLite ties to other
    steps than the file's gets a QUANTIZE behind it. All else stays float between DEQUANTIZE and QUANTIZE.
    """
    if not any(op.kind == "QUANTIZE" for op in graph.ops):
        return graph
    graph = _with_steps_between(_with_biases(_without_ways_back(_single_readers(graph))))
    fused = _Fusing(graph)
    for op in graph.ops:
        fused.visit(op)
    return without_dead(graph.replaced(tensors=fused.tensors.values(), ops=fused.ops))


def int8_ends(graph: Graph) -> Graph:
    """The graph without the QUANTIZE right behind its inputs and the DEQUANTIZE before its outputs; both keep names.

    A SUB of less than half a step before a QUANTIZE goes too: mnedge's own .onnx settles with it to which of two steps
    a pixel in the middle between them goes, and an int8 input is such a step already.
    """
    graph = _without_nudges(graph)
    consumers, producers = graph.consumers(), graph.producers()
    renamed: dict[str, str] = {}
    tensors: list[Tensor] = []
    gone: list[Op] = []
    for name in graph.inputs:
        readers = consumers[name]
        if len(readers) == 1 and readers[0].kind == "QUANTIZE" and name not in graph.outputs:
            gone.append(readers[0])
            renamed[readers[0].outputs[0]] = name
            tensors.append(replace(graph.tensors[readers[0].outputs[0]], name=name))
    for name in graph.outputs:
        op = producers.get(name)
        if op is not None and op.kind == "DEQUANTIZE" and not consumers[name]:
            inner = str(op.inputs[0])
            if inner in graph.inputs or inner in renamed or inner in graph.outputs or graph.tensors[inner].is_constant:
                continue
            gone.append(op)
            renamed[inner] = name
            tensors.append(replace(graph.tensors[inner], name=name))
    ops = [
        replace(op.with_inputs(renamed), outputs=tuple(renamed.get(made, made) for made in op.outputs))
        for op in graph.ops
        if op not in gone
    ]
    return graph.replaced(tensors=tensors, ops=ops)


def _without_nudges(graph: Graph) -> Graph:
    consumers = graph.consumers()
    for name in graph.inputs:
        readers = consumers[name]
        behind = consumers[readers[0].outputs[0]] if len(readers) == 1 and readers[0].kind == "SUB" else []
        if len(behind) != 1 or behind[0].kind != "QUANTIZE" or readers[0].inputs[0] != name:
            continue
        shift = graph.tensors[str(readers[0].inputs[1])].data
        steps = graph.tensors[behind[0].outputs[0]].quantization
        if shift is not None and steps is not None and np.all(np.abs(shift) < steps.scale / 2):
            ops = [op.with_inputs({readers[0].outputs[0]: name}) for op in graph.ops if op is not readers[0]]
            graph = graph.replaced(ops=ops)
    return graph


def _single_readers(graph: Graph) -> Graph:
    """The graph in which several QUANTIZE of one value to the same steps are one."""
    first: dict[tuple[str, bytes, bytes], str] = {}
    renamed: dict[str, str] = {}
    ops = []
    for op in graph.ops:
        tensor = graph.tensors[op.outputs[0]]
        if op.kind == "QUANTIZE" and tensor.quantization is not None and op.outputs[0] not in graph.outputs:
            key = str(op.inputs[0]), tensor.quantization.scale.tobytes(), tensor.quantization.zero_point.tobytes()
            if key in first:
                renamed[op.outputs[0]] = first[key]
                continue
            first[key] = op.outputs[0]
        ops.append(op.with_inputs(renamed))
    return graph.replaced(ops=ops)


def _without_ways_back(graph: Graph) -> Graph:
    """The graph in which steps that become real and are quantized again stay steps.

    Such a pair is all that is left of an op that moves nothing here, as a Reshape of (1, 1, 1, C) to itself.
    """
    producers = graph.producers()
    renamed: dict[str, str] = {}
    ops: list[Op] = []
    for op in graph.ops:
        maker = producers.get(str(op.inputs[0])) if op.kind == "QUANTIZE" else None
        if maker is None or maker.kind != "DEQUANTIZE" or graph.tensors[str(maker.inputs[0])].dtype != "int8":
            ops.append(op.with_inputs(renamed))
            continue
        source, made = renamed.get(str(maker.inputs[0]), str(maker.inputs[0])), op.outputs[0]
        like = same_quantization(graph.tensors[source].quantization, graph.tensors[made].quantization)
        if like and made not in graph.outputs:
            renamed[made] = source
        else:
            ops.append(Op("QUANTIZE", (source,), op.outputs))
    return graph.replaced(ops=ops)


def _with_biases(graph: Graph) -> Graph:
    """The graph in which a constant that is added behind a layer without bias is its bias, as in TFLite."""
    consumers = graph.consumers()
    added: dict[str, Op] = {}
    gone: list[Op] = []
    for op in graph.ops:
        layer, readers = LAYERS.get(op.kind), consumers[op.outputs[0]]
        if layer is None or bias_of(op) is not None or op.options.get("activation", "NONE") != "NONE":
            continue
        if len(readers) != 1 or readers[0].kind != "ADD" or op.outputs[0] in graph.outputs:
            continue
        values = [graph.tensors[str(name)] for name in readers[0].inputs if name != op.outputs[0]]
        channels = graph.tensors[op.outputs[0]].shape[-1]
        if len(values) != 1 or values[0].data is None or values[0].shape != (channels,):
            continue
        inputs = (*op.inputs, *(None,) * (layer.bias + 1 - len(op.inputs)))
        inputs = (*inputs[: layer.bias], values[0].name, *inputs[layer.bias + 1 :])
        activation = readers[0].options.get("activation", "NONE")
        added[op.outputs[0]] = replace(op, inputs=inputs, outputs=readers[0].outputs).with_options(
            activation=activation
        )
        gone.append(readers[0])
    return graph.replaced(ops=[added.get(op.outputs[0], op) for op in graph.ops if op not in gone]) if gone else graph


def _known_steps(op: Op, real: dict[str, Tensor]) -> Quantization | None:
    """The steps that a result without any gets; None where nothing tells them."""
    row = info(op)
    if row.fixed_scale is not None:
        return Quantization.per_tensor(*row.fixed_scale)
    if op.kind == "RELU6" or op.options.get("activation") == "RELU6":
        return _RELU6
    if row.moves and row.shared_scale != "all" and len(op.outputs) == 1:
        source = real.get(str(op.inputs[row.shared_scale[0]])) if row.shared_scale else None
        return None if source is None else source.quantization
    return None


def _with_steps_between(graph: Graph) -> Graph:
    """The graph with QUANTIZE and DEQUANTIZE behind results that a float op reads and whose steps are known."""
    readers = graph.consumers()
    # int8 tensors behind the real values that DEQUANTIZE makes.
    real = {op.outputs[0]: graph.tensors[str(op.inputs[0])] for op in graph.ops if op.kind == "DEQUANTIZE"}
    tensors: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    ops: list[Op] = []
    for original in graph.ops:
        op = original.with_inputs(renamed)
        ops.append(op)
        name = op.outputs[0]
        floats = [reader for reader in readers[name] if reader.kind != "QUANTIZE"]
        if op.kind in ("QUANTIZE", "DEQUANTIZE") or not floats or graph.tensors[name].dtype != "float32":
            continue
        if not all(item in real or graph.tensors[item].is_constant for item in _values(op)):
            continue
        steps = _known_steps(op, real)
        if steps is None:
            continue
        taken = {*graph.tensors, *tensors}
        inner = fresh_name(f"{name}/steps", taken)
        outer = fresh_name(f"{name}/real", taken | {inner})
        like = graph.tensors[name]
        tensors[inner] = replace(like, name=inner, dtype="int8", quantization=steps)
        tensors[outer] = replace(like, name=outer)
        ops += [Op("QUANTIZE", (name,), (inner,)), Op("DEQUANTIZE", (inner,), (outer,))]
        renamed[name] = outer
        real[outer] = tensors[inner]
    return graph.replaced(tensors=tensors.values(), ops=ops)


def _values(op: Op) -> list[str]:
    """The inputs of an op that hold values, weights and bias among them."""
    parameters = info(op).parameters
    return [name for place, name in enumerate(op.inputs) if name is not None and place not in parameters]


class _Fusing:
    """A sweep in order of execution.

    Attributes:
        tensors: New ones and changed ones.
        ops: The new graph's.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self._readers = graph.consumers()
        self._made_by = graph.producers()
        self._names = set(graph.tensors)
        self._written: set[str] = set()

    def visit(self, op: Op) -> None:
        if op.kind == "QUANTIZE" and op.outputs[0] in self._written:
            return
        ends = self._ends(op)
        if op.kind in ("QUANTIZE", "DEQUANTIZE") or op.kind in _NO_FORM or ends is None:
            self.ops.append(op)
            return
        inputs = self._int8_inputs(op)
        if inputs is None:
            self.ops.append(op)
            return
        self._write(op, inputs, ends)

    def _ends(self, op: Op) -> list[list[Tensor]] | None:
        """The int8 tensors that each output is quantized to; None where one is read as real values too."""
        found = []
        for name in op.outputs:
            readers = self._readers[name]
            if name in self.graph.outputs or not readers or any(reader.kind != "QUANTIZE" for reader in readers):
                return None
            found.append([self.graph.tensors[reader.outputs[0]] for reader in readers])
        return found

    def _int8(self, name: str) -> Tensor | None:
        """Returns the int8 tensor with the real values of a tensor; None if there is none."""
        maker = self._made_by.get(name)
        if maker is not None and maker.kind == "DEQUANTIZE":
            return self.graph.tensors[str(maker.inputs[0])]
        return None

    def _int8_inputs(self, op: Op) -> list[str | None] | None:
        row, layer = info(op), LAYERS.get(op.kind)
        inputs: list[str | None] = list(op.inputs)
        places = [place for place, name in enumerate(op.inputs) if name is not None and place not in row.parameters]
        for place in places:
            if layer is not None and place == layer.bias:
                continue
            found = self._int8(str(op.inputs[place])) or self._scalar(str(op.inputs[place]))
            if found is None or found.dtype != "int8":
                return None
            inputs[place] = found.name
        if layer is None:
            return inputs
        data, weights = (self._tensor(str(inputs[place])) for place in (layer.data, layer.weights))
        if not weights.is_constant or data.quantization is None or weights.quantization is None:
            return None
        bias = op.inputs[layer.bias] if len(op.inputs) > layer.bias else None
        own = self._bias(op, bias, data, weights, weights.shape[layer.channel_axis])
        if own is None:
            return None
        inputs = [*inputs, *(None,) * (layer.bias + 1 - len(inputs))]
        inputs[layer.bias] = own
        return inputs

    def _tensor(self, name: str) -> Tensor:
        return self.tensors.get(name) or self.graph.tensors[name]

    def _scalar(self, name: str) -> Tensor | None:
        """A real number as an int8 step that is exactly that number."""
        tensor = self.graph.tensors[name]
        if tensor.data is None or tensor.data.size != 1 or tensor.dtype != "float32":
            return None
        value = float(tensor.data.ravel()[0])
        step = 0 if value == 0 else int(np.sign(value)) * _MOST_STEPS
        quantization = Quantization.per_tensor(abs(value) / _MOST_STEPS or 1.0, 0)
        made = constant(self._fresh(f"{name}/step"), np.full(tensor.shape, step, np.int8), quantization)
        self.tensors[made.name] = made
        return made

    def _bias(self, op: Op, name: str | None, data: Tensor, weights: Tensor, channels: int) -> str | None:
        """The bias in steps of input scale times weight scale: the file's own where it is int32."""
        stored = None if name is None else self._int8(name)
        if stored is not None:
            return stored.name if stored.dtype == "int32" else None
        values = np.zeros(channels, np.float32) if name is None else self.graph.tensors[name].data
        if values is None:
            return None
        assert data.quantization is not None
        assert weights.quantization is not None
        scale = (data.quantization.scale.astype(np.float64) * weights.quantization.scale).astype(np.float32)
        steps = np.clip(np.round(values.astype(np.float64) / scale), -_INT32_MAX, _INT32_MAX).astype(np.int32)
        quantization = Quantization(scale, np.zeros(scale.shape, np.int64), 0 if scale.size > 1 else None)
        made = constant(self._fresh(f"{op.outputs[0]}/bias"), steps, quantization)
        self.tensors[made.name] = made
        return made.name

    def _write(self, op: Op, inputs: list[str | None], ends: list[list[Tensor]]) -> None:
        row = info(op)
        outputs: list[str] = []
        behind: list[Op] = []
        if row.shared_scale == "all":
            # Inputs come to the output's steps first: int8 kernels join nothing else.
            target = ends[0][0]
            inputs = [self._at(name, target.quantization) for name in inputs]
        for made in ends:
            wanted = self._tied(op, inputs, made[0])
            first = made[0]
            if same_quantization(wanted, first.quantization):
                # The kernels that tie them want the very same numbers.
                self.tensors[first.name] = replace(first, quantization=wanted)
                outputs.append(first.name)
                rest = made[1:]
            else:
                name = self._fresh(f"{first.name}/made")
                self.tensors[name] = replace(first, name=name, quantization=wanted)
                outputs.append(name)
                rest = made
            behind += [Op("QUANTIZE", (outputs[-1],), (other.name,)) for other in rest]
            self._written |= {tensor.name for tensor in made}
        self.ops += [replace(op, inputs=tuple(inputs), outputs=tuple(outputs)), *behind]

    def _tied(self, op: Op, inputs: list[str | None], wished: Tensor) -> Quantization | None:
        """The steps that an int8 op makes: those that TFLite ties it to, else those that the file wishes."""
        row = info(op)
        if row.fixed_scale is not None:
            return Quantization.per_tensor(*row.fixed_scale)
        if row.shared_scale and row.shared_scale != "all":
            return self._tensor(str(inputs[row.shared_scale[0]])).quantization
        return wished.quantization

    def _at(self, name: str | None, quantization: Quantization | None) -> str | None:
        if name is None:
            return None
        tensor = self._tensor(name)
        if same_quantization(tensor.quantization, quantization):
            return name
        made = self._fresh(f"{name}/joined")
        if tensor.is_constant and quantization is not None:
            data = quantization.quantize(tensor.real(), "int8")
            self.tensors[made] = constant(made, data, quantization)
            return made
        self.tensors[made] = replace(tensor, name=made, quantization=quantization)
        self.ops.append(Op("QUANTIZE", (name,), (made,)))
        return made

    def _fresh(self, wish: str) -> str:
        name = fresh_name(wish, self._names)
        self._names.add(name)
        return name


def _names(inputs: Iterable[str | None]) -> set[str]:
    return {name for name in inputs if name is not None}
