"""Check of a graph from a file: passes and quantizers may trust a graph that it accepts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.ops import ACTIVATION_LIMITS, LAYERS, OPS, info, operands, weights_of
from mnedge.graph.shapes import kept_count, made_shapes

if TYPE_CHECKING:
    from collections.abc import Collection

    from mnedge.graph.graph import Graph, Op, Quantization, State, Tensor
    from mnedge.graph.shapes import Shape

# dtypes of weights, and of biases, for each dtype of the data.
_WEIGHTS = {"float32": ("float32", "int8", "uint8"), "int8": ("int8",), "uint8": ("uint8",), "int16": ("int8",)}
_BIASES = {"float32": ("float32",), "int8": ("int32",), "uint8": ("int32",), "int16": ("int32", "int64")}
_INDICES = ("int32", "int64")
# Fused activations that the kernels compute; the schema knows two more.
# Their activation is that of their cells.
# Runtimes multiply a window's steps in 32 bits.
_LARGEST_STEP = 1 << 15
_RECURRENT = ("LSTM", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")
# Ops whose sums have the product of their operands' scales.
_PRODUCTS = (*LAYERS, "BATCH_MATMUL", "MUL")
_MOST_FACTOR = 2.0**30
_STEPS = ("int8", "uint8", "int16")
# Ops whose output has another dtype than their input, or that read several.
_MIXED = ("BATCH_MATMUL", "CAST", "DEQUANTIZE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "QUANTIZE",
          "SELECT", "SELECT_V2", "SHAPE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHERE", "ARG_MAX",
          "ARG_MIN")  # fmt: skip


def check_graph(graph: Graph, source: str, unknown: Collection[str] = ()) -> Graph:
    """Checks arity, order, dtypes, shapes, options and scales of every op against its row in OPS.

    A rank of 0 of an activation says in a file that its shape is unknown: it is what the op's inputs make.

    Args:
        graph: The graph as read.
        source: Name of the file, for messages.
        unknown: Tensors whose height, width or other dimension but the first the file leaves open.

    Returns:
        The graph, with the shapes that its file does not say where they follow from the others.

    Raises:
        InputError: The graph is damaged; the message names the op's number and kind, and the tensor.
        UnsupportedError: The graph is sound, but of a kind that is not read.
    """
    check = _Check(graph, source, unknown)
    check.run()
    tensors = graph.tensors
    found = [replace(tensors[name], shape=shape) for name, shape in check.found.items()]
    return replace(graph, tensors={**tensors, **{tensor.name: tensor for tensor in found}}) if found else graph


def _loses_values(tensor: Tensor, quantization: Quantization) -> bool:
    """Returns whether a scale of 0 stands for anything but zeros; exporters write it for a channel without weights."""
    if np.all(quantization.scale != 0):
        return False
    if tensor.data is None or (quantization.axis is not None and quantization.axis >= tensor.data.ndim):
        return True
    scale, zero_point = quantization.broadcast(tensor.data.ndim)
    return bool(np.any((scale == 0) & (tensor.data != zero_point)))


class _Check:
    """A check of a graph.

    Attributes:
        made: Tensors that are there when the op at hand runs.
        shapes: Shapes of the tensors whose shape is known.
        found: Shapes that the file does not say.
    """

    def __init__(self, graph: Graph, source: str, unknown: Collection[str]) -> None:
        self.graph = graph
        self.source = source
        self.made = {*graph.inputs, *(name for name, tensor in graph.tensors.items() if tensor.is_constant)}
        self.made.update(state.name for state in graph.states)
        self.shapes = {
            name: tensor.shape
            for name, tensor in graph.tensors.items()
            if tensor.is_constant or (tensor.shape and name not in unknown)
        }
        self.found: dict[str, Shape] = {}

    def run(self) -> None:
        self._ends()
        for tensor in self.graph.tensors.values():
            self._tensor(tensor)
        for place, op in enumerate(self.graph.ops):
            where = f"op {place} ({op.kind})"
            self._arity(where, op)
            self._order(where, op)
            if "custom_options" not in op.options:
                self._options(where, op)
                self._dtypes(where, op)
                self._scales(where, op)
                if op.kind in LAYERS:
                    self._layer(where, op)
                self._shapes(where, op)
        for name in self.graph.outputs:
            if name not in self.made:
                self._refuse(f"output {name}", "no op makes it")
        for state in self.graph.states:
            self._state(state)

    def _refuse(self, where: str, what: str) -> NoReturn:
        raise InputError(f"{self.source} is damaged: {where}: {what}; copy or convert it again")

    def _ends(self) -> None:
        for kind, names in (("input", self.graph.inputs), ("output", self.graph.outputs)):
            if not names:
                raise UnsupportedError(f"{self.source} has no {kind}; a model with at least one is read")
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                self._refuse(f"{kind} {twice}", f"it is listed {names.count(twice)} times; each may be listed once")
        fixed = next((name for name in self.graph.inputs if self.graph.tensors[name].is_constant), None)
        if fixed is not None:
            self._refuse(f"input {fixed}", "it is a constant; an input holds no values")

    def _state(self, state: State) -> None:
        tensor = self.graph.tensors[state.name]
        if state.initial.shape != tensor.shape or str(state.initial.dtype) != tensor.dtype:
            start = f"{state.initial.dtype} {state.initial.shape}"
            self._refuse(f"state {state.name}", f"it starts as {start}; {tensor.dtype} {tensor.shape} is allowed")
        if state.written is None:
            return
        after = self.graph.tensors[state.written]
        if state.written not in self.made:
            self._refuse(f"state {state.name}", f"no op makes {state.written}, which is written to it")
        if (after.shape, after.dtype) != (tensor.shape, tensor.dtype):
            self._refuse(f"state {state.name}", f"{after.dtype} {after.shape} is written to it; {tensor.dtype} "
                         f"{tensor.shape} is allowed")  # fmt: skip

    def _tensor(self, tensor: Tensor) -> None:
        where = f"tensor {tensor.name}"
        if not tensor.is_constant and 0 in tensor.shape:
            self._refuse(where, f"the shape {tensor.shape} holds no value")
        found = tensor.quantization
        if found is None:
            return
        if not np.all(np.isfinite(found.scale)) or np.any(found.scale < 0) or _loses_values(tensor, found):
            self._refuse(where, f"scale {float(found.scale.min()):g}; positive numbers are allowed")
        limits = np.iinfo(tensor.dtype) if tensor.dtype in _STEPS else None
        if limits is not None and not np.all((found.zero_point >= limits.min) & (found.zero_point <= limits.max)):
            self._refuse(where, f"zero point {int(found.zero_point[0])} is outside {limits.min}..{limits.max}")
        if found.axis is not None and not tensor.is_constant:
            self._refuse(where, f"an activation has {found.scale.size} scales; one is allowed")
        along = () if found.axis is None else tensor.shape[found.axis : found.axis + 1]
        if found.scale.size > 1 and along != found.scale.shape:
            self._refuse(where, f"{found.scale.size} scales do not fit axis {found.axis} of the shape {tensor.shape}")

    def _arity(self, where: str, op: Op) -> None:
        if "custom_options" in op.options and (not op.kind or op.kind in OPS):
            raise UnsupportedError(
                f"{self.source}: {where} is a custom op under the name {op.kind!r}; a name that no builtin op has is "
                "allowed"
            )
        row = info(op)
        for what, names, (least, most) in (("inputs", op.inputs, row.inputs), ("outputs", op.outputs, row.outputs)):
            if len(names) < least or (most is not None and len(names) > most):
                allowed = f"{least}" if least == most else f"{least} to {most or 'any number'}"
                self._refuse(where, f"{len(names)} {what}; {allowed} are allowed")
        for index, name in enumerate(op.inputs):
            if name is None and index not in row.optional and "custom_options" not in op.options:
                self._refuse(where, f"input {index} is left out; it is required")

    def _order(self, where: str, op: Op) -> None:
        for name in op.inputs:
            if name is not None and name not in self.made:
                self._refuse(where, f"it reads {name}, which no op before it makes")
        for name in op.outputs:
            if name in self.made:
                self._refuse(where, f"it makes {name}, which is there already")
            self.made.add(name)

    def _options(self, where: str, op: Op) -> None:
        for name, value in op.options.items():
            if isinstance(value, float) and not math.isfinite(value):
                self._refuse(where, f"{name} is {value}; a finite number is allowed")
        activation = op.options.get("activation", "NONE")
        if activation not in ACTIVATION_LIMITS and op.kind not in _RECURRENT:
            raise UnsupportedError(
                f"{self.source}: {where} has a fused {activation}, which LiteRT's kernels pass over in silence; "
                f"{', '.join(ACTIVATION_LIMITS)} are read: convert the model with the {activation} as an op of its own"
            )
        if not info(op).window:
            return
        for name in ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor", "filter_height", "filter_width"):
            value = int(op.options.get(name, 1))
            if not 1 <= value <= _LARGEST_STEP:
                self._refuse(where, f"{name} is {value}; at least 1 and at most {_LARGEST_STEP:,} is allowed")

    def _dtypes(self, where: str, op: Op) -> None:
        row = info(op)
        for index in row.parameters:
            name = op.inputs[index] if index < len(op.inputs) else None
            if name is not None and self.graph.tensors[name].dtype not in _INDICES and op.kind != "ONE_HOT":
                self._refuse(where, f"{name} is {self.graph.tensors[name].dtype}; {' or '.join(_INDICES)} is allowed")
        if op.kind in _MIXED:
            return
        dtypes = {self.graph.tensors[name].dtype for name in operands(op)}
        if len(dtypes) > 1:
            self._refuse(where, f"it reads {', '.join(sorted(dtypes))} together; one dtype is allowed")
        keeps = row.moves or row.homogeneous or row.fused_activation or row.fixed_scale or row.needs_scale
        for name in op.outputs[:1]:
            if keeps and dtypes and self.graph.tensors[name].dtype not in dtypes:
                self._refuse(where, f"{name} is {self.graph.tensors[name].dtype}; {dtypes.pop()} is allowed")

    def _scales(self, where: str, op: Op) -> None:
        if not info(op).needs_scale:
            return
        for name in (*operands(op), *op.outputs):
            tensor = self.graph.tensors[name]
            if tensor.dtype in ("int8", "uint8") and tensor.quantization is None:
                self._refuse(where, f"{name} is {tensor.dtype} without a scale; one is required")
        self._multiplier(where, op)
        if op.kind == "QUANTIZE" and self.graph.tensors[op.outputs[0]].dtype not in (*_STEPS, "int32"):
            self._refuse(where, f"{op.outputs[0]} is {self.graph.tensors[op.outputs[0]].dtype}; an integer is allowed")
        if op.kind == "DEQUANTIZE" and not self.graph.tensors[op.outputs[0]].dtype.startswith("float"):
            self._refuse(where, f"{op.outputs[0]} is {self.graph.tensors[op.outputs[0]].dtype}; float32 is allowed")

    def _multiplier(self, where: str, op: Op) -> None:
        """Makes sure that the factor from the operands' steps to the output's has a multiplier and shift of 32 bits."""
        names = [*operands(op), *filter(None, [weights_of(op)])]
        found = [self.graph.tensors[name].quantization for name in names]
        made = self.graph.tensors[op.outputs[0]].quantization
        given = [1.0 if one is None else float(one.scale.max()) for one in found]
        if made is None or not given:
            return
        factor = (math.prod(given) if op.kind in _PRODUCTS else max(given)) / float(made.scale.min())
        if not factor < _MOST_FACTOR:
            self._refuse(where, f"its scales ask for a multiplier of {factor:.3g}; less than 2^30 is allowed")

    def _layer(self, where: str, op: Op) -> None:
        row = LAYERS[op.kind]
        weights, data = (self.graph.tensors[str(op.inputs[index])] for index in (row.weights, row.data))
        allowed = _WEIGHTS.get(data.dtype, ())
        if weights.dtype not in allowed:
            wanted = f"{' or '.join(allowed)} weights" if allowed else f"data of {', '.join(_WEIGHTS)}"
            self._refuse(where, f"weights {weights.name} are {weights.dtype}, data {data.dtype}; {wanted} are allowed")
        if len(weights.shape) != row.weights_rank or 0 in weights.shape:
            self._refuse(where, f"weights {weights.name} have the shape {weights.shape}; {row.weights_rank} dimensions "
                         "are allowed")  # fmt: skip
        if weights.dtype != "float32" and weights.quantization is None:
            self._refuse(where, f"weights {weights.name} are {weights.dtype} without a scale; one is required")
        if weights.quantization is not None and weights.quantization.axis not in (None, row.channel_axis):
            raise UnsupportedError(
                f"{self.source}: {where}: weights {weights.name} have a scale for each place along axis "
                f"{weights.quantization.axis}; scales along axis {row.channel_axis} are read"
            )
        channels = weights.shape[row.channel_axis]
        name = op.inputs[row.bias] if len(op.inputs) > row.bias else None
        if name is not None:
            self._bias(where, self.graph.tensors[name], channels, _BIASES[data.dtype])
        made = self.shapes.get(op.outputs[0])
        if made is not None and made[-1] != channels:
            self._refuse(where, f"{op.outputs[0]} has {made[-1]} channels, the weights {weights.name} have {channels}")

    def _bias(self, where: str, bias: Tensor, channels: int, allowed: tuple[str, ...]) -> None:
        if bias.dtype not in allowed:
            self._refuse(where, f"bias {bias.name} is {bias.dtype}; {' or '.join(allowed)} is allowed")
        if math.prod(bias.shape) != channels or not bias.shape or bias.shape[-1] != channels:
            self._refuse(where, f"bias {bias.name} has the shape {bias.shape}; {(channels,)} is allowed")
        if bias.quantization is not None and bias.quantization.scale.size not in (1, channels):
            self._refuse(where, f"bias {bias.name} has {bias.quantization.scale.size} scales; {channels} are allowed")

    def _shapes(self, where: str, op: Op) -> None:
        try:
            made, count = made_shapes(op, self.shapes, self._parameters(op)), kept_count(op, self.shapes)
        except ValueError as exc:
            self._refuse(where, str(exc))
        for name, shape in zip(op.outputs, made or (), strict=False):
            if name in self.shapes and self.shapes[name] != shape:
                self._refuse(where, f"{name} has the shape {self.shapes[name]}; {shape} is what its inputs make")
            if not self.graph.tensors[name].shape:
                if 0 in shape:
                    self._refuse(where, f"{name} would have the shape {shape}, which holds no value")
                self.shapes[name] = self.found[name] = shape
        name = op.outputs[0]
        if count is not None and name in self.shapes and math.prod(self.shapes[name]) != count:
            self._refuse(where, f"{name} has the shape {self.shapes[name]}; {count} values are what its inputs make")

    def _parameters(self, op: Op) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.integer]]]:
        found = {}
        for index in info(op).parameters:
            name = op.inputs[index] if index < len(op.inputs) else None
            data = None if name is None else self.graph.tensors[name].data
            if name is not None and data is not None:
                found[name] = data
        return found
