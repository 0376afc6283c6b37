"""Reads of lowering from a Graph: values with their quantization, constants, and the pads folded away."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.program import Value
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.untyped import AnyArray

_MAX_BYTES = 1 << 30


@dataclass
class Source:
    """A graph under lowering.

    Attributes:
        graph: The whole graph.
        aliases: Tensors that hold the same bytes as another one (RESHAPE, SQUEEZE), to that other one.
        pads: Outputs of folded PADs: the tensor under the padding, and the rows above and columns left of it.
    """

    graph: Graph
    aliases: dict[str, str] = field(default_factory=dict)
    pads: dict[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)

    def where(self, op: Op) -> str:
        """Names an op in a message."""
        return f"{op.kind} (op {list(self.graph.ops).index(op)}, output {op.outputs[0]})"

    def resolve(self, name: str) -> str:
        """The tensor that holds the bytes of `name`."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def padded(self, name: str) -> tuple[str, tuple[int, int]]:
        """The tensor under a folded PAD and its padding (top, left); (0, 0) where there is none."""
        if name in self.pads:
            inner, padding = self.pads[name]
            return inner, padding
        return name, (0, 0)

    def value(self, name: str) -> Value:
        """An activation with the shape that its reader sees.

        Raises:
            UnsupportedError: It is not int8, uint8 or int16 with one scale and a sane size; or int16 has a zero point.
        """
        tensor = self.graph.tensors[name]
        quantization = tensor.quantization
        if tensor.dtype not in ("int8", "uint8", "int16") or quantization is None or quantization.scale.size != 1:
            raise UnsupportedError(
                f"tensor {name} is {tensor.dtype}{'' if quantization else ' without a scale'}; C is made of "
                "quantized models only: convert it with `mnedge quantize` first"
            )
        if tensor.dtype == "int16" and quantization.zero_point.any():
            raise UnsupportedError(
                f"tensor {name} is int16 with the zero point {int(quantization.zero_point[0])}; TFLite's int16 has 0"
            )
        if math.prod(tensor.shape) > _MAX_BYTES:
            raise UnsupportedError(f"tensor {name} of shape {tensor.shape} is larger than {_MAX_BYTES:,} bytes")
        scale = float(quantization.scale[0])
        if scale <= 0.0:
            raise UnsupportedError(f"tensor {name} has the scale {scale:g}; it must be above 0")
        return Value(name, tensor.shape, tensor.dtype, scale, int(quantization.zero_point[0]))

    def is_wide(self, op: Op) -> bool:
        """Whether an op reads or makes int16 activations."""
        names = [name for name in (*op.inputs, *op.outputs) if name is not None]
        tensors = [self.graph.tensors[name] for name in names]
        return any(tensor.dtype == "int16" for tensor in tensors)

    def kept(self, name: str) -> Value:
        """A value that lives from one call to the next: int8, or int16 as an op keeps it for itself."""
        tensor = self.graph.tensors[name]
        if tensor.dtype != "int16" or tensor.quantization is None:
            return self.value(name)
        return Value(name, tensor.shape, tensor.dtype, float(tensor.quantization.scale[0]), 0)

    def indices(self, name: str) -> Value:
        """An output that holds indices, which have no scale.

        Raises:
            UnsupportedError: It is neither int32 nor int64.
        """
        tensor = self.graph.tensors[name]
        if tensor.dtype not in ("int32", "int64"):
            raise UnsupportedError(f"tensor {name} is {tensor.dtype}; indices are int32 or int64")
        return Value(name, tensor.shape, tensor.dtype, 1.0, 0)

    def constant(self, name: str, op: Op) -> AnyArray:
        """The elements of a constant.

        Raises:
            UnsupportedError: The tensor is computed at run time.
        """
        data = self.graph.tensors[name].data
        if data is None:
            raise UnsupportedError(
                f"{self.where(op)} reads {name}, which is computed at run time; it must be a constant"
            )
        return data

    def axis(self, op: Op, axis: int, shape: tuple[int, ...]) -> int:
        """An axis along which an op works, counted from the front.

        Raises:
            UnsupportedError: The value has no such axis.
        """
        if not -len(shape) <= axis < len(shape):
            raise UnsupportedError(f"{self.where(op)} works along axis {axis} of a value of the shape {shape}")
        return axis % len(shape)

    def weights(self, op: Op, place: int = 1) -> NDArray[np.int64]:
        """The weights of an op as int64, without their zero point: of uint8 ones -255 … 255.

        Args:
            op: The op.
            place: Index of the weights among its inputs.

        Raises:
            UnsupportedError: Not constant, or int8 and not symmetric.
        """
        name = str(op.inputs[place])
        tensor = self.graph.tensors[name]
        data = self.constant(name, op)
        if tensor.dtype == "uint8" and tensor.quantization is not None and tensor.quantization.scale.size == 1:
            return data.astype(np.int64) - int(tensor.quantization.zero_point[0])
        if tensor.dtype != "int8" or tensor.quantization is None or tensor.quantization.zero_point.any():
            raise UnsupportedError(
                f"{self.where(op)} has {tensor.dtype} weights{'' if tensor.dtype != 'int8' else ' with a zero point'}; "
                "symmetric int8 weights are required, as the TFLite converter and `mnedge quantize` write them"
            )
        return data.astype(np.int64)
