"""ARG_MAX over the channels, at the end of a model: the class of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import Whole
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class ArgMax(Whole):
    """The index of the first largest channel of each pixel, int32 or int64."""

    input: Value
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("arg_max",)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        runs = self.input.rows * self.input.columns
        wide = int(self.output.dtype == "int64")
        return f"arg_max({site.inputs[0]}, {site.output}, {runs}, {self.input.channels}, {wide});"


def lower_arg_max(source: Source, op: Op) -> ArgMax:
    """ARG_MAX over the innermost dimension of int8 scores.

    Raises:
        UnsupportedError: Another axis, or other scores.
    """
    x = source.value(str(op.inputs[0]))
    axis = source.axis(op, int(np.ravel(source.constant(str(op.inputs[1]), op))[0]), x.shape)
    if axis != len(x.shape) - 1 or x.dtype != "int8" or op.outputs[0] not in source.graph.outputs:
        raise UnsupportedError(
            f"{source.where(op)} is over axis {axis} of {x.dtype} {x.shape}; the channels of int8 scores, at the end "
            "of the model, are compiled"
        )
    return ArgMax(x, source.indices(op.outputs[0]))
