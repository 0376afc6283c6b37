"""Interface of the writer for emitters of ONNX nodes, and the layout of NHWC tensors in NCHW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph, Op, Tensor
    from mnedge.untyped import AnyArray

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)
# Where the axes of an NHWC tensor stand in NCHW.
_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}


Attribute: TypeAlias = "float | str | bytes | Sequence[int] | Sequence[float]"


class Writer(Protocol):
    """Interface of the writer for an emitter. Values of rank 4 are NCHW, all others as in the graph.

    Attributes:
        pads: Rows and columns, (top, bottom) and (left, right), that the convolutions behind a PAD add themselves.
    """

    graph: Graph
    pads: dict[str, tuple[tuple[int, int], tuple[int, int]]]

    def node(self, kind: str, inputs: Sequence[str], hint: str, **attributes: Attribute) -> str:
        """Adds a node of one output and returns the name of its value."""
        ...

    def node_of_several(
        self,
        kind: str,
        inputs: Sequence[str],
        hints: Sequence[str],
        **attributes: Attribute,
    ) -> tuple[str, ...]:
        """Adds a node of several outputs and returns the names of their values."""
        ...

    def values(self, array: AnyArray, hint: str) -> str:
        """Adds an initializer and returns its name."""
        ...

    def real(self, name: str | None) -> str:
        """The value of a tensor in float32."""
        ...

    def weights(self, name: str, order: tuple[int, ...] | None, channel_axis: int) -> str:
        """The value of a constant in float32, its axes reordered, channels along `channel_axis` then."""
        ...

    def bias(self, op: Op, place: int) -> tuple[str, ...]:
        """The value of an op's bias, or nothing where it has none."""
        ...

    def zero(self, tensor: Tensor) -> tuple[str, ...]:
        """The step that stands for 0, or nothing where a tensor holds real values."""
        ...


def tensor_of(writer: Writer, name: str | None) -> Tensor:
    return writer.graph.tensors[str(name)]


def static(writer: Writer, name: str | None, op: Op) -> AnyArray:
    data = tensor_of(writer, name).data
    if data is None:
        raise UnsupportedError(f"{op.kind} that makes {op.outputs[0]} has a computed {name}; ONNX needs a constant")
    return data


def axes(positions: Sequence[int], rank: int) -> list[int]:
    """Axes of the value that hold the given axes of the tensor."""
    positive = [int(axis) % rank for axis in positions]
    return sorted(_AXIS[axis] for axis in positive) if rank == 4 else sorted(positive)
