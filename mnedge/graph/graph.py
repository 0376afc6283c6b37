"""Graph: the one data structure between the Keras model and every artifact.

A graph is a value: passes are functions `Graph -> Graph` that build a new one. Ops are TFLite's builtin ops under
TFLite's names, tensors are NHWC, convolution weights OHWI (depthwise 1HWC, fully connected OI).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray, AnyFloats


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real = scale * (q - zero_point). Jacob et al. 2018, eq. 1, arXiv:1712.05877.

    Attributes:
        scale: float32, shape (1,) per tensor or (channels,) per channel; finite and above 0.
        zero_point: int64, the shape of `scale`.
        axis: Dimension that the channels run along; None per tensor.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int | None = None

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int) -> Quantization:
        """Builds the quantization of a whole tensor from one scale and zero point."""
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @classmethod
    def per_channel(cls, scale: NDArray[np.float32], axis: int) -> Quantization:
        """Builds a symmetric quantization, one scale a channel, zero points 0."""
        return cls(scale.astype(np.float32), np.zeros(scale.shape, np.int64), axis)

    def broadcast(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scale and zero point, shaped to broadcast against a tensor of `rank` dimensions."""
        if self.axis is None:
            shape: tuple[int, ...] = (1,) * rank
        else:
            shape = tuple(self.scale.size if dim == self.axis else 1 for dim in range(rank))
        return self.scale.reshape(shape), self.zero_point.reshape(shape)

    def quantize(self, real: AnyFloats, dtype: str) -> AnyArray:
        """Rounds real values to the nearest step, ties to even, and saturates to `dtype`'s range."""
        scale, zero_point = self.broadcast(real.ndim)
        limits = np.iinfo(dtype)
        steps = np.round(real.astype(np.float64) / scale) + zero_point
        return np.clip(steps, limits.min, limits.max).astype(dtype)

    def dequantize(self, steps: AnyArray) -> NDArray[np.float32]:
        """Real values, float32, of integer steps."""
        scale, zero_point = self.broadcast(steps.ndim)
        return ((steps.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant or an activation.

    Attributes:
        name: Unique in its graph.
        shape: Static; the batch dimension is 1 unless the file said otherwise. () is a scalar.
        dtype: NumPy's name: float32, int8, uint8, int16, int32, int64 or bool.
        quantization: Scale and zero point of the integers; None for real or index tensors.
        data: The values of a constant, of `shape` and `dtype`; None for an activation.
        open_shape: `shape` with -1 for every extent that the file leaves open; () where it leaves none.
        is_int4: The values of an int8 constant lie in -8 … 7, and a .tflite holds two of them in a byte.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: AnyArray | None = None
    open_shape: tuple[int, ...] = ()
    is_int4: bool = False

    @property
    def is_constant(self) -> bool:
        """Returns whether the values are known."""
        return self.data is not None

    @property
    def stored_dtype(self) -> str:
        """The dtype in a .tflite: `dtype`, or int4."""
        return "int4" if self.is_int4 else self.dtype

    @property
    def is_open(self) -> bool:
        """Returns whether an extent beside the batch is unknown; `shape` has 1 there."""
        return -1 in self.open_shape[1:]

    def reshaped(self, shape: tuple[int, ...], name: str | None = None) -> Tensor:
        """An activation like this one of another shape, which leaves its batch open where this one does.

        Args:
            shape: The new shape; the batch stays first.
            name: The new name; None for the same.
        """
        open_shape = (-1, *shape[1:]) if self.open_shape[:1] == (-1,) and shape else ()
        return replace(self, name=name or self.name, shape=shape, open_shape=open_shape)

    def real(self) -> NDArray[np.float32]:
        """The values of a constant as float32 real numbers."""
        assert self.data is not None, self.name
        if self.quantization is None:
            return self.data.astype(np.float32)
        return self.quantization.dequantize(self.data)


def constant(name: str, data: AnyArray, quantization: Quantization | None = None) -> Tensor:
    """Builds a constant tensor from its values."""
    return Tensor(name, tuple(data.shape), str(data.dtype), quantization, data)


def fresh_name(wish: str, taken: Container[str], first: int = 1) -> str:
    """`wish`, or `wish` with a number from `first` on where that name is taken."""
    name, number = wish, first
    while name in taken:
        name, number = f"{wish}_{number}", number + 1
    return name


# The fields of an op's options table, whose types its kind decides; the passes and kernels of that kind read them.
Options: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, eq=False)
class Op:
    """An operation.

    Attributes:
        kind: TFLite's builtin name, e.g. "CONV_2D"; for a custom op the name in its file.
        inputs: Tensor names; None where an optional input is left out.
        outputs: Tensor names.
        options: The fields of TFLite's options table in snake case, e.g. `stride_h`, `padding` ("SAME" or
            "VALID"), `activation` ("NONE", "RELU", "RELU6", …); for a custom op `custom_options` in bytes.
        version: TFLite's op version as read; the writer raises it to what the dtypes need.
    """

    kind: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    options: Options = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def with_options(self, **changes: object) -> Op:
        """A copy with some options changed."""
        return replace(self, options={**self.options, **changes})

    def with_inputs(self, renamed: Mapping[str, str]) -> Op:
        """A copy whose inputs follow a renaming of tensors."""
        return replace(self, inputs=tuple(name and renamed.get(name, name) for name in self.inputs))


@dataclass(frozen=True)
class Signature:
    """A way in which programs call a graph by names of their own, as TensorFlow's serving signatures do.

    Attributes:
        key: Its name, e.g. "serving_default".
        inputs: (argument, tensor), in the file's order.
        outputs: (result, tensor), in the file's order.
    """

    key: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]

    def fits(self, inputs: Iterable[str], outputs: Iterable[str]) -> bool:
        """Returns whether every tensor that it names is one of these ends."""
        return {name for _, name in self.inputs} <= {*inputs} and {name for _, name in self.outputs} <= {*outputs}


def arguments_of(signatures: Iterable[Signature]) -> dict[str, str]:
    """The tensor that each argument of signatures stands for; of equal arguments of several, the first one's."""
    found: dict[str, str] = {}
    for signature in signatures:
        for argument, tensor in signature.inputs:
            found.setdefault(argument, tensor)
    return found


@dataclass(frozen=True, eq=False)
class State:
    """A tensor that lives from one call to the next.

    Attributes:
        name: The tensor that ops read; no op makes it.
        initial: Its values before the first call.
        written: The tensor whose values it has in the next call; None where the op that reads it changes it in place.
    """

    name: str
    initial: AnyArray
    written: str | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """Ops in an order in which every input is made before it is used.

    Attributes:
        tensors: Every tensor by name.
        ops: In order of execution.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        metadata: The file's metadata buffers by name.
        signatures: Names of inputs and outputs for programs.
        associated: The files that travel behind the model (labels and the like), by name.
        states: State between two calls; only `compile` takes graphs that have any.
    """

    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    signatures: tuple[Signature, ...] = ()
    associated: Mapping[str, bytes] = field(default_factory=dict)
    states: tuple[State, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def producers(self) -> dict[str, Op]:
        """The op that makes each activation; graph inputs and constants have none."""
        return {name: op for op in self.ops for name in op.outputs}

    def consumers(self) -> dict[str, list[Op]]:
        """The ops that read each tensor, in order; every tensor has an entry."""
        readers: dict[str, list[Op]] = {name: [] for name in self.tensors}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                if name is not None:
                    readers[name].append(op)
        return readers

    def replaced(
        self,
        *,
        tensors: Iterable[Tensor] = (),
        ops: Iterable[Op] | None = None,
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
    ) -> Graph:
        """A copy in which some tensors are added or replaced by name, and the ops or ends are new ones.

        Tensors that nothing reads or makes any more are dropped, and so are signatures of ends that are gone.
        """
        table = {**self.tensors, **{tensor.name: tensor for tensor in tensors}}
        new_ops = self.ops if ops is None else tuple(ops)
        new_inputs = self.inputs if inputs is None else tuple(inputs)
        new_outputs = self.outputs if outputs is None else tuple(outputs)
        used = {name for op in new_ops for name in (*op.inputs, *op.outputs) if name is not None}
        used.update(new_inputs, new_outputs)
        used.update(name for state in self.states for name in (state.name, state.written) if name is not None)
        kept = {name: tensor for name, tensor in table.items() if name in used}
        signatures = tuple(item for item in self.signatures if item.fits(new_inputs, new_outputs))
        return replace(self, tensors=kept, ops=new_ops, inputs=new_inputs, outputs=new_outputs, signatures=signatures)

    def fresh_name(self, wish: str) -> str:
        """`wish`, or `wish` with a number where a tensor has that name."""
        return fresh_name(wish, self.tensors)

    def check(self) -> None:
        """Asserts the invariants between stages: names resolve, order holds, one producer a tensor."""
        made = {*self.inputs, *(name for name, tensor in self.tensors.items() if tensor.is_constant)}
        made.update(state.name for state in self.states)
        for op in self.ops:
            for name in op.inputs:
                assert name is None or name in made, f"{op.kind} reads {name} before it is made"
            for name in op.outputs:
                assert name in self.tensors, f"{op.kind} makes the unknown tensor {name}"
                assert name not in made, f"{op.kind} makes {name} a second time"
                made.add(name)
        for name in self.outputs:
            assert name in made, f"output {name} is never made"
        for state in self.states:
            assert state.written is None or state.written in made, f"state {state.name} is never written"
        for signature in self.signatures:
            assert signature.fits(self.inputs, self.outputs), f"signature {signature.key} names no end of the graph"
        for tensor in self.tensors.values():
            if tensor.data is not None:
                assert tensor.data.shape == tensor.shape, tensor.name
                assert str(tensor.data.dtype) == tensor.dtype, tensor.name
            assert not tensor.is_int4 or (tensor.dtype == "int8" and tensor.is_constant), tensor.name
