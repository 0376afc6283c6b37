"""Program -> Program: faster kernels that want the output apart from the input, where that makes no arena larger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.codegen.ops.convolution import Convolution

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.codegen.plan import Plan
    from mnedge.codegen.program import KernelSet, Program


def quicken(program: Program, kernels: KernelSet, plan: Callable[[Program], Plan]) -> tuple[Program, Plan]:
    """Lets layers read their input twice, all at once or one by one, as far as no arena grows.

    Args:
        program: Program to quicken.
        kernels: Kernel set.
        plan: Makes the plan of a program.

    Returns:
        The program and its plan.
    """
    memory = plan(program)
    places = [
        place
        for place, layer in enumerate(program.layers)
        if isinstance(layer.kernel, Convolution) and layer.kernel.can_be_shallow(kernels)
    ]
    if not places:
        return program, memory
    for some in (places, *([place] for place in places)):
        freed = _freed(program, some)
        other = plan(freed)
        if other.arena_bytes <= memory.arena_bytes:
            program, memory = freed, other
            if some is places:
                break
    return program, memory


def with_narrow_weights(program: Program) -> Program:
    """The program with weights of one byte: on Armv7E-M dense layers of many pixels otherwise have them in int16.

    That is faster by about a tenth, and takes twice the flash for those layers.
    """
    layers = [
        replace(layer, kernel=replace(layer.kernel, may_widen=False))
        if isinstance(layer.kernel, Convolution)
        else layer
        for layer in program.layers
    ]
    return replace(program, layers=tuple(layers))


def _freed(program: Program, places: list[int]) -> Program:
    layers = list(program.layers)
    for place in places:
        kernel = layers[place].kernel
        assert isinstance(kernel, Convolution)
        layers[place] = replace(layers[place], kernel=replace(kernel, may_read_twice=True))
    return replace(program, layers=tuple(layers))
