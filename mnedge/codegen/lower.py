"""Graph to Program: integer parameters for every op, tables for chains of elementwise ops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.obstacles import check_kernels
from mnedge.codegen.ops.arg_max import lower_arg_max
from mnedge.codegen.ops.convolution import Convolution, lower_convolution, lower_fully_connected
from mnedge.codegen.ops.elementwise import BINARY, UNARY, Binary, Table, evaluate, lower_binary
from mnedge.codegen.ops.layout import lower_concatenation, lower_pad
from mnedge.codegen.ops.move import lower_slice, lower_strided_slice, lower_tile, lower_transpose
from mnedge.codegen.ops.normalize import lower_l2_normalization
from mnedge.codegen.ops.pooling import lower_mean, lower_pool
from mnedge.codegen.ops.resize import lower_resize
from mnedge.codegen.ops.softmax import lower_softmax
from mnedge.codegen.program import Layer, Program, Value
from mnedge.codegen.source import Source
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnedge.codegen.program import Kernel
    from mnedge.graph.graph import Graph, Op

LOWERINGS: dict[str, Callable[[Source, Op], Kernel]] = {
    "ARG_MAX": lower_arg_max,
    "AVERAGE_POOL_2D": lower_pool,
    "CONCATENATION": lower_concatenation,
    "CONV_2D": lower_convolution,
    "DEPTHWISE_CONV_2D": lower_convolution,
    "FULLY_CONNECTED": lower_fully_connected,
    "L2_NORMALIZATION": lower_l2_normalization,
    "MAX_POOL_2D": lower_pool,
    "MEAN": lower_mean,
    "PAD": lower_pad,
    "RESIZE_BILINEAR": lower_resize,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize,
    "SLICE": lower_slice,
    "SOFTMAX": lower_softmax,
    "STRIDED_SLICE": lower_strided_slice,
    "TILE": lower_tile,
    "TRANSPOSE": lower_transpose,
}
ALIASES = ("RESHAPE", "SQUEEZE")
SUPPORTED = tuple(sorted({*LOWERINGS, *ALIASES, *UNARY, *BINARY}))


def lower(graph: Graph) -> Program:
    """Lowers an int8 graph to layers with integer parameters.

    Raises:
        UnsupportedError: An op, dtype or shape that C is not made for; the message names the op.
    """
    source = Source(graph)
    check_kernels(graph, SUPPORTED)
    _check_ends(source)
    _fold(source)
    functions = _find_functions(source)
    layers = _layers(source, functions)
    outputs = tuple(source.resolve(name) for name in graph.outputs)
    values = {layer.output: layer.kernel.output for layer in layers}
    first = graph.inputs[0]
    values[first] = source.value(first)
    return Program(values, tuple(layers), first, outputs)


def _check_ends(source: Source) -> None:
    graph = source.graph
    if len(graph.inputs) != 1:
        raise UnsupportedError(f"the model has {len(graph.inputs)} inputs; C is made for models with one")
    for name in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[name]
        if tensor.shape and tensor.shape[0] != 1:
            raise UnsupportedError(f"tensor {name} has the batch size {tensor.shape[0]}; export the model with batch 1")
        if tensor.is_constant:
            raise UnsupportedError(f"output {name} is a constant; there is nothing to compute")
        if tensor.dtype == "float32" and any(op.kind == "CONV_2D" for op in graph.ops if _is_integer(source, op)):
            raise UnsupportedError(
                f"{name} is float32 at the end of an int8 model; {_within(graph, name)}export or quantize it with int8 "
                "input and output"
            )
        if tensor.dtype not in ("int32", "int64") or name in graph.inputs:
            source.value(name)


def _within(graph: Graph, end: str) -> str:
    """How to compile what lies between the QUANTIZE and the DEQUANTIZEs of float ends."""
    behind = [op.outputs[0] for op in graph.consumers()[end] if op.kind == "QUANTIZE"]
    feed = f"--input {behind[0]}" if behind else ""
    producers = graph.producers()
    ends = [producers[name] for name in graph.outputs if name in producers]
    outputs = ",".join(str(op.inputs[0]) if op.kind == "DEQUANTIZE" else op.outputs[0] for op in ends)
    asked = f"{feed} --outputs {outputs}".strip() if any(op.kind == "DEQUANTIZE" for op in ends) else feed
    return f"compile what lies between with {asked}, or " if asked else ""


def _is_integer(source: Source, op: Op) -> bool:
    return source.graph.tensors[op.outputs[0]].dtype == "int8"


def _fold(source: Source) -> None:
    """Notes which tensors share bytes, and which PADs become the padding of the convolutions behind them."""
    graph = source.graph
    readers = graph.consumers()
    for op in graph.ops:
        if op.kind in ALIASES:
            source.aliases[op.outputs[0]] = str(op.inputs[0])
        elif op.kind == "PAD" and op.outputs[0] not in graph.outputs:
            behind = readers[op.outputs[0]]
            if not all(
                reader.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and reader.options.get("padding") == "VALID"
                for reader in behind
            ):
                continue
            amounts = source.constant(str(op.inputs[1]), op)
            x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
            same = (x.scale, x.zero_point) == (y.scale, y.zero_point)
            if same and amounts.shape == (4, 2) and not amounts[0].any() and not amounts[3].any():
                source.pads[op.outputs[0]] = (str(op.inputs[0]), (int(amounts[1, 0]), int(amounts[2, 0])))


@dataclass
class _Functions:
    """For tensors that are a function of one 8-bit value: which value, and its 256 results."""

    roots: dict[str, str] = field(default_factory=dict)
    tables: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def of(self, name: str, value: Value) -> tuple[str, NDArray[np.int64]]:
        """The root and table of a tensor; its own identity where it is no function of another."""
        if name in self.roots:
            return self.roots[name], self.tables[name]
        limits = np.iinfo(value.dtype)
        return name, np.arange(limits.min, limits.max + 1, dtype=np.int64)


def _find_functions(source: Source) -> _Functions:
    functions = _Functions()
    for op in source.graph.ops:
        if op.kind not in UNARY and op.kind not in BINARY:
            continue
        found = _function(source, op, functions)
        if found is not None:
            functions.roots[op.outputs[0]], functions.tables[op.outputs[0]] = found
    return functions


def _function(source: Source, op: Op, functions: _Functions) -> tuple[str, NDArray[np.int64]] | None:
    """The one value that an elementwise op depends on, and its output for every step of it; None for two values."""
    operands, values, roots = [], [], set()
    for name in (str(name) for name in op.inputs):
        tensor = source.graph.tensors[name]
        values.append(source.value(name))
        if tensor.data is not None and tensor.data.size == 1:
            operands.append(tensor.data.astype(np.int64).reshape(1))
        elif tensor.data is not None:
            return None
        else:
            root, table = functions.of(source.resolve(name), values[-1])
            roots.add(root)
            operands.append(table)
    y = source.value(op.outputs[0])
    if len(roots) != 1:
        return None
    (root,) = roots
    if source.value(root).size_bytes != y.size_bytes:
        return None
    results = evaluate(op, operands, values, y)
    return root, np.broadcast_to(results, (256,))


def _layers(source: Source, functions: _Functions) -> list[Layer]:
    graph = source.graph
    needed = _needed(source, functions)
    outputs = {source.resolve(name) for name in graph.outputs}
    layers: list[Layer] = []
    ready: set[str] = {graph.inputs[0]}

    def emit_functions(root: str) -> None:
        """The tensors that are functions of a value just made: fused into its layer, or tables of their own."""
        derived = [name for name in functions.roots if functions.roots[name] == root and name in needed]
        if len(derived) == 1 and root not in needed and layers and layers[-1].output == root:
            producer = layers[-1]
            kernel = producer.kernel
            y = source.value(derived[0])
            # A RESHAPE may lie between: then the layer still writes rows of its own shape, which only a caller minds.
            same_rows = y.shape == kernel.output.shape or derived[0] not in outputs
            if isinstance(kernel, (Convolution, Binary)) and y.dtype == "int8" and same_rows and _takes_table(kernel):
                fused = kernel.with_table(functions.tables[derived[0]], replace(y, shape=kernel.output.shape))
                layers[-1] = Layer(f"{producer.op} + table", producer.inputs, derived[0], fused)
                ready.add(derived[0])
                return
        for name in derived:
            kernel = Table(functions.tables[name], source.value(root), source.value(name))
            layers.append(Layer("table", (root,), name, kernel))
            ready.add(name)

    emit_functions(graph.inputs[0])
    for op in graph.ops:
        name = op.outputs[0]
        if op.kind in ALIASES or name in source.pads or name in functions.roots:
            continue
        kernel: Kernel
        if op.kind in BINARY:
            inputs, kernel = lower_binary(source, op)
        else:
            kernel = LOWERINGS[op.kind](source, op)
            inputs = _activations(source, op)
        layers.append(Layer(op.kind, tuple(source.resolve(entry) for entry in inputs), name, kernel))
        ready.add(name)
        emit_functions(name)
    return layers


def _takes_table(kernel: Convolution | Binary) -> bool:
    return isinstance(kernel, Convolution) or kernel.kind in ("add", "multiply", "subtract")


def _activations(source: Source, op: Op) -> tuple[str, ...]:
    """The values among the inputs of an op, seen through a folded PAD."""
    names = [str(name) for name in op.inputs if name is not None]
    return tuple(source.padded(name)[0] for name in names if not source.graph.tensors[name].is_constant)


def _needed(source: Source, functions: _Functions) -> set[str]:
    """The tensors that must exist: outputs, and what ops read that are no functions of one value."""
    graph = source.graph
    needed = {source.resolve(name) for name in graph.outputs}
    for op in graph.ops:
        if op.kind in ALIASES or op.outputs[0] in source.pads or op.outputs[0] in functions.roots:
            continue
        needed.update(source.resolve(name) for name in _activations(source, op))
    return needed
