"""State of reading an .onnx: nodes, constants, activations with the order of their axes, and the graph so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.graph import Op, Quantization, Tensor, constant, fresh_name
from mnedge.graph.ops import info
from mnedge.graph.shapes import made_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.graph.graph import Options
    from mnedge.untyped import AnyArray

    Array: TypeAlias = AnyArray

Shape: TypeAlias = tuple[int, ...]
# The dimension j of a tensor is ONNX's axis order[j].
Order: TypeAlias = tuple[int, ...]

NHWC: Order = (0, 2, 3, 1)
# Options of an op that no activation is fused into.
NO_ACTIVATION = {"activation": "NONE"}
_MOST_ELEMENTS = 1 << 28


@dataclass(frozen=True, eq=False)
class Known:
    """A constant.

    Attributes:
        array: Its values as ONNX has them; integers where it is quantized.
        quantization: Quantization of its integers; None where they stand for themselves.
    """

    array: Array
    quantization: Quantization | None = None

    @property
    def shape(self) -> Shape:
        """Shape as ONNX has it."""
        return tuple(self.array.shape)

    def real(self) -> NDArray[np.float32]:
        """The values that it stands for."""
        return self.array.astype(np.float32) if self.quantization is None else self.quantization.dequantize(self.array)


@dataclass(frozen=True, eq=False)
class Held:
    """An activation: a tensor of the graph, and where ONNX's axes lie in it.

    Attributes:
        name: The tensor.
        shape: Shape as ONNX has it.
        order: The tensor's dimension j is ONNX's axis order[j].
        mixed: (C, H, W) where ONNX's axis 1 of two runs over these, and the tensor's over (H, W, C); () elsewhere.
    """

    name: str
    shape: Shape
    order: Order
    mixed: Shape = ()

    @property
    def rank(self) -> int:
        """Number of ONNX's axes."""
        return len(self.shape)

    def place(self, axis: int) -> int:
        """The tensor's dimension that holds an axis of ONNX's, which may be counted from the end."""
        return self.order.index(axis % self.rank)


Value: TypeAlias = "Known | Held"


@dataclass(frozen=True, eq=False)
class Node:
    """A node of an .onnx.

    Attributes:
        kind: Operator, e.g. "Conv"; those of other domains with the domain before it, e.g. "com.microsoft.Gelu".
        name: Own name, or that of the node's first output.
        inputs: Names of values; "" where one is left out.
        outputs: Likewise.
        attributes: By name, as onnx decodes them: int, float, bytes, lists of these, TensorProto, GraphProto.
        source: The file, in errors.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    source: str

    @property
    def where(self) -> str:
        """Name in messages."""
        return f"{self.source}: node {self.name[:80]} ({self.kind})"

    def refuse(self, why: str, way: str) -> NoReturn:
        """Raises: the node is sound, but has no form in a Graph."""
        raise UnsupportedError(f"{self.where}: {why}. {way}")

    def damaged(self, what: str) -> NoReturn:
        """Raises: the node cannot be what an exporter wrote."""
        raise InputError(f"{self.where} is damaged: {what}; export the model again")

    def whole(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else self.damaged(f"{name} is no whole number")

    def real(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            self.damaged(f"{name} is no finite number")
        return float(value)

    def wholes(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
        """An attribute that is a list of whole numbers; the default where it is left out."""
        value = self.attributes.get(name, default)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, int) for item in value):
            self.damaged(f"{name} is no list of whole numbers")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        value = self.attributes.get(name, default)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value if isinstance(value, str) else self.damaged(f"{name} is no text")


@dataclass(eq=False)
class Reading:
    """The state of reading one .onnx: values by ONNX's names, and the graph that they make.

    Attributes:
        source: The file, in errors.
        opset: Version of the operators.
        values: Values that are known so far, by ONNX's names.
        tensors: Tensors of the graph, by name.
        ops: Ops of the graph, in order.
        reserved: Names of ONNX's values; new tensors get other names.
        notes: Notes of the reader, a sentence each.
    """

    source: str
    opset: int
    values: dict[str, Value] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    reserved: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    # Inputs of nodes

    def value(self, node: Node, place: int) -> Value:
        """The value of an input that is required."""
        found = self.optional(node, place)
        return node.damaged(f"input {place} is left out") if found is None else found

    def optional(self, node: Node, place: int) -> Value | None:
        """The value of an input; None where it is left out."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.values:
            node.damaged(f"it reads {name[:80]}, which no node before it makes")
        return self.values[name]

    def held(self, node: Node, place: int) -> Held:
        """The activation of an input; a constant becomes one only where an op joins it with others."""
        found = self.value(node, place)
        if isinstance(found, Known):
            node.refuse(f"input {place} is a constant, an activation is read there", "Export the model without it")
        return found

    def known(self, node: Node, place: int) -> Array | None:
        """The values of an input that must be constant; None where it is left out."""
        found = self.optional(node, place)
        if found is None:
            return None
        if isinstance(found, Held):
            node.refuse(
                f"input {node.inputs[place][:80]} is computed from the picture, a constant is read there",
                "Export the model with fixed shapes and weights (torch.onnx.export with dynamic_axes for the batch "
                "alone; onnxsim folds what is left)",
            )
        return found.array if found.quantization is None else found.real()

    def ints(self, node: Node, place: int) -> tuple[int, ...] | None:
        """The whole numbers of a constant input; None where it is left out."""
        array = self.known(node, place)
        if array is None:
            return None
        if array.dtype.kind not in "iu" and array.size:
            node.damaged(f"input {place} is no list of whole numbers")
        return tuple(int(item) for item in array.ravel())

    # The graph

    def fresh(self, wish: str) -> str:
        """A name that neither the graph nor ONNX has."""
        return fresh_name(wish, {*self.tensors, *self.reserved} if wish in self.reserved else self.tensors)

    def fixed(self, array: Array, wish: str, quantization: Quantization | None = None) -> str:
        """Adds a constant and returns the name of its values: float32 for real ones, int32 for whole numbers.

        A quantized one stays as it is, and a DEQUANTIZE makes its real values.
        """
        if quantization is None and array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif quantization is None and array.dtype == np.int64:
            array = np.clip(array, -(1 << 31), (1 << 31) - 1).astype(np.int32)
        # Not np.ascontiguousarray, which makes a scalar a row of one.
        tensor = constant(self.fresh(wish), np.array(array, order="C"), quantization)
        self.tensors[tensor.name] = tensor
        if quantization is None:
            return tensor.name
        real = self.fresh(f"{tensor.name}/real")
        self.tensors[real] = Tensor(real, tensor.shape, "float32")
        self.ops.append(Op("DEQUANTIZE", (tensor.name,), (real,)))
        return real

    def operand(self, value: Known, order: Order, wish: str, *, whole: bool = False) -> str:
        """Adds a constant that is joined with an activation, its axes in an order; without leading ones unless `whole`.

        One that has a scale a channel becomes real.
        """
        quantization = value.quantization
        # A bias in 32 bits that is added by an Add, as tf2onnx writes it, is real: no op dequantizes 32 bits.
        if quantization is None or quantization.axis is not None or value.array.dtype == np.int32:
            array, quantization = value.real(), None
        else:
            array, quantization = signed(value.array, quantization)
        return self.fixed(array.transpose(order) if whole else self.laid(array, order), wish, quantization)

    def emit(
        self,
        node: Node,
        kind: str,
        inputs: Sequence[str | None],
        name: str,
        options: Options | None = None,
        *,
        shape: Shape | None = None,
        dtype: str | None = None,
        outputs: int = 1,
    ) -> list[str]:
        """Adds an op and returns the names of its outputs.

        Args:
            node: The node that it comes from, for errors.
            kind: TFLite's name.
            inputs: Tensor names.
            name: Wish for the output's name.
            options: Options of the op.
            shape: Shape of the output, where no rule says it.
            dtype: dtype of the output; None for that of the first activation among the inputs.
            outputs: Number of outputs.
        """
        names = [name if place == 0 else f"{name}/{place}" for place in range(outputs)]
        made = [wish if wish not in self.tensors else self.fresh(f"{wish}/again") for wish in names]
        op = Op(kind, tuple(inputs), tuple(made), options or {})
        needed = [self.tensors[item] for item in inputs if item is not None]
        try:
            parameters = {tensor.name: tensor.data for tensor in needed if tensor.data is not None}
            shapes = made_shapes(op, {tensor.name: tensor.shape for tensor in needed}, parameters)
        except ValueError as exc:
            node.damaged(str(exc))
        found = [shape] * outputs if shape is not None else shapes
        assert found is not None, kind
        if any(math.prod(item or ()) > _MOST_ELEMENTS for item in found):
            node.damaged(f"it makes a value of the shape {found[0]}")
        row = info(op)
        first = next((self.tensors[item] for index, item in enumerate(inputs)
                      if item is not None and index not in row.parameters), None)  # fmt: skip
        # Steps that are only moved stand for what they stood for.
        steps = first.quantization if first is not None and row.moves else None
        for item, extent in zip(made, found, strict=True):
            assert extent is not None
            self.tensors[item] = Tensor(item, extent, dtype or (first.dtype if first else "float32"), steps)
        self.ops.append(op)
        return made

    def make(
        self,
        node: Node,
        kind: str,
        inputs: Sequence[str | None],
        order: Order,
        options: Options | None = None,
        *,
        name: str = "",
        shape: Shape | None = None,
        dtype: str | None = None,
    ) -> Held:
        """Adds an op of one output, whose dimensions are ONNX's axes in some order."""
        made = self.emit(node, kind, inputs, name or node.outputs[0], options, shape=shape, dtype=dtype)[0]
        return self.hold(made, order)

    def hold(self, name: str, order: Order) -> Held:
        """The activation that a tensor is, with its axes in some order."""
        lying = self.tensors[name].shape
        shape = tuple(lying[order.index(axis)] for axis in range(len(order)))
        return Held(name, shape, order)

    # Layout

    def ordered(self, node: Node, value: Held, order: Order) -> str:
        """Returns the tensor with a value's axes in an order: itself, or a RESHAPE or TRANSPOSE of it."""
        value = self.unmixed(node, value)
        if value.order == order:
            return value.name
        lying = tuple(value.shape[axis] for axis in order)
        long = [axis for axis in value.order if value.shape[axis] > 1]
        if long == [axis for axis in order if value.shape[axis] > 1]:
            return self.reshaped(node, value.name, lying)
        axes = np.array([value.order.index(axis) for axis in order], np.int32)
        wish = self.fresh(f"{value.name}/transposed")
        return self.emit(node, "TRANSPOSE", (value.name, self.fixed(axes, f"{wish}/order")), wish)[0]

    def plain(self, node: Node, value: Held) -> str:
        """The tensor that has a value's axes as ONNX has them."""
        return self.ordered(node, value, tuple(range(value.rank)))

    def reshaped(self, node: Node, name: str, shape: Shape) -> str:
        """The tensor with the same values in another shape."""
        if self.tensors[name].shape == shape:
            return name
        wish = self.fresh(f"{name}/reshaped")
        target = self.fixed(np.array(shape, np.int32), f"{wish}/shape")
        return self.emit(node, "RESHAPE", (name, target), wish, {"new_shape": shape}, shape=shape)[0]

    def unmixed(self, node: Node, value: Held) -> Held:
        """Brings two axes back into their order."""
        if not value.mixed:
            return value
        channels, height, width = value.mixed
        square = self.reshaped(node, value.name, (value.shape[0], height, width, channels))
        turned = self.ordered(node, self.hold(square, NHWC), (0, 1, 2, 3))
        return Held(self.reshaped(node, turned, value.shape), value.shape, (0, 1))

    def like(self, value: Held, name: str) -> Held:
        """Returns the value after an elementwise op."""
        return replace(value, name=name)

    def laid(self, array: Array, order: Order) -> Array:
        """The values of a constant that is joined with an activation: axes in its order, leading ones gone."""
        array = array.reshape((1,) * (len(order) - array.ndim) + array.shape).transpose(order)
        if array.size == 1:
            return array.reshape(())
        while array.shape[0] == 1:
            array = array[0]
        return array


def signed(array: Array, quantization: Quantization) -> tuple[Array, Quantization]:
    """uint8 as the int8 that stands for the same real values; other integers as they are."""
    if array.dtype != np.uint8:
        return array, quantization
    moved = replace(quantization, zero_point=quantization.zero_point - 128)
    return (array.astype(np.int16) - 128).astype(np.int8), moved


Handler: TypeAlias = "Callable[[Reading, Node], Sequence[Value]]"
