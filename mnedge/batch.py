"""Batch: samples for the inputs of a graph, in the order of these inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray


class Input(Protocol):
    """An input of a network: of a graph, or of an artifact in its runtime."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape with batch 1."""
        ...

    @property
    def dtype(self) -> str:
        """Its dtype."""
        ...

    @property
    def quantization(self) -> object | None:
        """Quantization of its integers; None for real values and for plain whole numbers."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples for a graph of one or several inputs.

    Attributes:
        arrays: (samples, …) by the input's name, in the order of the graph's inputs: float32 for real inputs, whatever
            their dtype and steps, and whole numbers for inputs of whole numbers.
    """

    arrays: Mapping[str, AnyArray]

    def __len__(self) -> int:
        """Number of samples."""
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, which: slice) -> Batch:
        """Some of the samples."""
        return Batch({name: values[which] for name, values in self.arrays.items()})


# Argument of every function on samples: an array is the batch of a graph with one input.
Samples: TypeAlias = "NDArray[np.float32] | Batch"


def batch_of(inputs: Sequence[str], samples: Samples) -> Batch:
    """The samples by input name, in the order of a graph's inputs.

    Args:
        inputs: Names of the graph's inputs.
        samples: A batch, or the array of the only input.

    Raises:
        InputError: The names are not those of the graph's inputs.
    """
    if isinstance(samples, Batch):
        given = samples.arrays
    elif len(inputs) == 1:
        given = {inputs[0]: samples}
    else:
        raise InputError(
            f"the graph has {len(inputs)} inputs ({', '.join(inputs)}), and one array is given; "
            "give a Batch with an array for each"
        )
    if set(given) != set(inputs):
        raise InputError(f"the batch has {', '.join(given)}, and the graph's inputs are {', '.join(inputs)}")
    return Batch({name: given[name] for name in inputs})


def is_real(entry: Input) -> bool:
    """Returns whether an input takes real numbers, as float or quantized; False for indices and other whole numbers."""
    return entry.quantization is not None or entry.dtype.startswith("float")


def fed_dtype(entry: Input) -> str:
    """The dtype of an input's array in a `Batch`."""
    return "float32" if is_real(entry) else entry.dtype
