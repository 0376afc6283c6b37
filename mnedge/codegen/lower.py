"""Graph to Program: integer parameters for every op, tables for chains of elementwise ops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.lower_int16 import LOWERINGS_16, check_kernel_16
from mnedge.codegen.obstacles import check_kernels
from mnedge.codegen.ops.arg_max import lower_arg_max
from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.ops.elementwise import BINARY, UNARY, Binary, Table, evaluate, lower_binary
from mnedge.codegen.ops.layout import Copy, Pad, lower_concatenation, lower_pack, lower_pad, lower_uint8_concatenation
from mnedge.codegen.ops.lstm import lower_lstm
from mnedge.codegen.ops.move import (
    lower_gather,
    lower_slice,
    lower_split,
    lower_strided_slice,
    lower_tile,
    lower_transpose,
    lower_unpack,
)
from mnedge.codegen.ops.normalize import lower_l2_normalization
from mnedge.codegen.ops.pooling import lower_mean, lower_pool
from mnedge.codegen.ops.prelu import lower_prelu
from mnedge.codegen.ops.reduce import lower_reduction
from mnedge.codegen.ops.resize import lower_resize
from mnedge.codegen.ops.softmax import lower_log_softmax, lower_softmax
from mnedge.codegen.ops.svdf import lower_svdf
from mnedge.codegen.ops.weighted import lower_convolution, lower_fully_connected
from mnedge.codegen.prepare import WAS_UINT8, prepare, signed
from mnedge.codegen.program import Layer, Program, State, Value
from mnedge.codegen.source import Source
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    "GATHER": lower_gather,
    "L2_NORMALIZATION": lower_l2_normalization,
    "MAX_POOL_2D": lower_pool,
    "LOG_SOFTMAX": lower_log_softmax,
    "MEAN": lower_mean,
    "PACK": lower_pack,
    "PAD": lower_pad,
    "PADV2": lower_pad,
    "PRELU": lower_prelu,
    "REDUCE_MAX": lower_reduction,
    "REDUCE_MIN": lower_reduction,
    "RESIZE_BILINEAR": lower_resize,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize,
    "SLICE": lower_slice,
    "SOFTMAX": lower_softmax,
    "STRIDED_SLICE": lower_strided_slice,
    "SUM": lower_reduction,
    "SVDF": lower_svdf,
    "TILE": lower_tile,
    "TRANSPOSE": lower_transpose,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lower_lstm,
}
SPLITTING: dict[str, Callable[[Source, Op], Sequence[Kernel]]] = {
    "SPLIT": lower_split,
    "SPLIT_V": lower_split,
    "UNPACK": lower_unpack,
}
# Ops that take a PAD in front as padding of their own; positions in it have the zero point.
_PADDING = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")
ALIASES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
SUPPORTED = tuple(sorted({*LOWERINGS, *SPLITTING, *ALIASES, *UNARY, *BINARY}))


def lower(graph: Graph) -> Program:
    """Lowers an int8 graph to layers with integer parameters.

    Raises:
        UnsupportedError: An op, dtype or shape that C is not made for; the message names the op.
    """
    graph = prepare(graph)
    check_kernels(graph, SUPPORTED, _lowers)
    graph = signed(graph)
    source = Source(graph)
    _check_ends(source)
    _fold(source)
    functions = _find_functions(source)
    layers = _layers(source, functions)
    values = {layer.output: layer.kernel.output for layer in layers}
    values.update({name: source.value(name) for name in graph.inputs})
    values.update({state.name: source.kept(state.name) for state in graph.states})
    outputs, early, late = _outputs(source, values)
    written = {state.name: source.resolve(state.written) for state in graph.states if state.written is not None}
    alive = _alive((*early, *layers, *late), (*outputs, *written.values()))
    layers, homes = _with_states(alive, written, values, outputs)
    values.update({layer.output: layer.kernel.output for layer in layers})
    states = tuple(State(state.name, state.initial) for state in graph.states)
    return Program(values, tuple(layers), graph.inputs, outputs, states, homes)


def _with_states(
    layers: Sequence[Layer], written: dict[str, str], values: dict[str, Value], outputs: Sequence[str]
) -> tuple[list[Layer], dict[str, str]]:
    """Returns the layers, copies of values that the next call finds in a state, and the values in the place of a state.

    A value lies there from the start where its layer makes it in one call, after all that read the state. Anything else
    is copied there behind the last layer that reads the state.

    Raises:
        UnsupportedError: Two states take each other's value.
    """
    done, homes = list(layers), dict[str, str]()
    for state, value in written.items():
        if value == state:
            continue
        made = next((index for index, layer in enumerate(done) if layer.output == value), -1)
        last = max((index for index, layer in enumerate(done) if state in layer.inputs), default=-1)
        is_free = value not in outputs and value not in homes and made >= 0
        if is_free and made > last and done[made].kernel.form == "whole":
            homes[value] = state
            continue
        name = f"{state} (next)"
        copy = Layer("ASSIGN_VARIABLE", (value,), name, Copy(replace(values[state], name=name)))
        done.insert(max(made, last) + 1, copy)
        homes[name] = state
    for value, state in homes.items():
        writes = next(index for index, layer in enumerate(done) if layer.output == value)
        if any(state in layer.inputs for layer in done[writes + 1 :]):
            raise UnsupportedError(f"the state {state} is read after it was written; export the model without that")
    return done, homes


def _lowers(graph: Graph) -> bool:
    """Returns whether a graph can be lowered."""
    try:
        return bool(lower(graph).layers)
    except UnsupportedError:
        return False


def _outputs(source: Source, values: dict[str, Value]) -> tuple[tuple[str, ...], list[Layer], list[Layer]]:
    """Returns the values for the caller, and layers that copy those that are there at first or handed out twice."""
    names: list[str] = []
    early: list[Layer] = []
    late: list[Layer] = []
    there = {*source.graph.inputs, *(state.name for state in source.graph.states)}
    for name in source.graph.outputs:
        place = source.resolve(name)
        if place in there or place in names:
            made = f"{name} (copy {len(names)})"
            copies = early if place in there else late
            copies.append(Layer("copy", (place,), made, Copy(replace(values[place], name=made))))
            place = made
        names.append(place)
    return tuple(names), early, late


def _alive(layers: Sequence[Layer], outputs: Sequence[str]) -> tuple[Layer, ...]:
    """The layers that an output needs."""
    needed, kept = set(outputs), []
    for layer in reversed(layers):
        if layer.output in needed:
            needed.update(layer.inputs)
            kept.append(layer)
    return tuple(reversed(kept))


def _check_ends(source: Source) -> None:
    graph = source.graph
    for name in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[name]
        if tensor.shape and tensor.shape[0] != 1:
            raise UnsupportedError(f"tensor {name} has the batch size {tensor.shape[0]}; export the model with batch 1")
        if tensor.is_constant:
            raise UnsupportedError(f"output {name} is a constant; there is nothing to compute")
        if tensor.dtype not in ("int32", "int64") or name in graph.inputs:
            source.value(name)
    for ends, what in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        dtypes = sorted({graph.tensors[name].dtype for name in ends})
        if "int16" in dtypes and len(dtypes) > 1:
            raise UnsupportedError(
                f"the {what} are {', '.join(dtypes)}; int16 ends are compiled where all {what} are int16: cut the "
                "model with --outputs"
            )


def _fold(source: Source) -> None:
    """Notes which tensors share bytes, and which PADs become the padding of the windows behind them."""
    graph = source.graph
    readers = graph.consumers()
    for op in graph.ops:
        if op.kind in ALIASES:
            source.aliases[op.outputs[0]] = str(op.inputs[0])
        elif op.kind == "PAD" and op.outputs[0] not in graph.outputs:
            behind = readers[op.outputs[0]]
            if not all(reader.kind in _PADDING and reader.options.get("padding") == "VALID" for reader in behind):
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
        """Returns the root and table of a tensor; its own identity if it is no function of another."""
        if name in self.roots:
            return self.roots[name], self.tables[name]
        limits = np.iinfo(value.dtype)
        return name, np.arange(limits.min, limits.max + 1, dtype=np.int64)


def _find_functions(source: Source) -> _Functions:
    functions = _Functions()
    for op in source.graph.ops:
        if (op.kind not in UNARY and op.kind not in BINARY) or source.is_wide(op):
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
    outputs = {source.resolve(name) for name in _taken(graph)}
    layers: list[Layer] = []

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
                return
        for name in derived:
            kernel = Table(functions.tables[name], source.value(root), source.value(name))
            layers.append(Layer("table", (root,), name, kernel))

    for name in (*graph.inputs, *(state.name for state in graph.states)):
        emit_functions(name)
    for op in graph.ops:
        if op.kind in ALIASES or op.outputs[0] in source.pads or op.outputs[0] in functions.roots:
            continue
        for step in _steps(source, op):
            layers.append(replace(step, inputs=tuple(source.resolve(entry) for entry in step.inputs)))
            emit_functions(step.output)
    return _with_late_pads(layers)


def _with_late_pads(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with each PAD of channels right in front of the first one that reads it.

    What it reads is smaller and waits in its place; side by side the two pass rows on, and the padded value never
    exists whole.
    """
    ordered = list(layers)
    for layer in layers:
        if not isinstance(layer.kernel, Pad) or layer.kernel.form != "pixels":
            continue
        reader = next((place for place, other in enumerate(ordered) if layer.output in other.inputs), None)
        if reader is not None:
            place = ordered.index(layer)
            ordered[place:reader] = [*ordered[place + 1 : reader], layer]
    return ordered


def _steps(source: Source, op: Op) -> list[Layer]:
    """The layers of an op: one, or one an output, or what brings an operand to its shape and what uses it."""
    is_wide = source.is_wide(op)
    if is_wide:
        check_kernel_16(source, op)
    if op.kind in BINARY:
        return lower_binary(source, op)
    if op.kind == "CONCATENATION" and op.options.get(WAS_UINT8):
        return lower_uint8_concatenation(source, op)
    if op.kind in SPLITTING:
        data = str(op.inputs[1 if op.kind == "SPLIT" else 0])
        kernels = SPLITTING[op.kind](source, op)
        return [Layer(op.kind, (data,), name, kernel) for name, kernel in zip(op.outputs, kernels, strict=True)]
    kernel = (LOWERINGS_16 if is_wide else LOWERINGS)[op.kind](source, op)
    return [Layer(op.kind, _activations(source, op), op.outputs[0], kernel)]


def _taken(graph: Graph) -> tuple[str, ...]:
    """The tensors that the caller or the next call gets."""
    return (*graph.outputs, *(state.written for state in graph.states if state.written is not None))


def _takes_table(kernel: Convolution | Binary) -> bool:
    return isinstance(kernel, Convolution) or kernel.kind in ("add", "multiply", "subtract")


def _activations(source: Source, op: Op) -> tuple[str, ...]:
    """The values among the inputs of an op, seen through a folded PAD."""
    names = [str(name) for name in op.inputs if name is not None]
    return tuple(source.padded(name)[0] for name in names if not source.graph.tensors[name].is_constant)


def _needed(source: Source, functions: _Functions) -> set[str]:
    """Returns the tensors that must exist: outputs, and inputs of ops that are no functions of one value."""
    graph = source.graph
    needed = {source.resolve(name) for name in _taken(graph)}
    for op in graph.ops:
        if op.kind in ALIASES or op.outputs[0] in source.pads or op.outputs[0] in functions.roots:
            continue
        needed.update(source.resolve(name) for name in _activations(source, op))
    return needed
