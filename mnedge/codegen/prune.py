"""Dead channels: a channel that is the same constant whatever the input is folded into the biases behind it.

Training leaves channels whose weights are all zero after quantization, and everything that only they feed. Taking
them out changes no output bit: a constant step c under weight w adds c * w to the accumulator, and so to the bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.ops.pooling import Mean, Pool
from mnedge.codegen.ops.rescale import settled
from mnedge.graph.arithmetic import clamp, multiply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.program import Kernel, Layer, Program, Value

# Kept channels come in multiples of this, which every kernel set likes.
_MULTIPLE = 8


@dataclass
class _Group:
    """Values whose channels belong together: a dense layer's output, and what depthwise layers and pools make of it.

    Attributes:
        producer: Index of the dense layer.
        tied: Indices of the one-to-one layers.
        behind: Indices of the dense layers that read any of the values.
        dead: Channels that are constant in all of the values, bool, (channels,).
        constants: The steps of each value's constant channels, by name.
    """

    producer: int
    tied: list[int]
    behind: list[int]
    dead: NDArray[np.bool_]
    constants: dict[str, NDArray[np.int64]]


def prune(program: Program) -> tuple[Program, int]:
    """Takes dead channels out until none is left that can go.

    Returns:
        The program, and how many channels of dense layers went.
    """
    removed = 0
    while True:
        for index, layer in enumerate(program.layers):
            if isinstance(layer.kernel, Convolution) and not layer.kernel.depthwise:
                group = _group(program, index)
                if group is not None:
                    program = _without(program, group)
                    removed += int(group.dead.sum())
                    break
        else:
            return program, removed


def _constant_outputs(kernel: Convolution) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns the output channels without weights, and the step that every channel would have without input."""
    axes = (0, 1) if kernel.depthwise else (1, 2, 3)
    steps = kernel.rescale.steps(np.zeros(kernel.output_channels, np.int64))
    dead: NDArray[np.bool_] = ~np.any(kernel.weights, axis=axes)
    return dead, steps


def _group(program: Program, index: int) -> _Group | None:
    """The group that a dense layer starts, with what can go; None where nothing can."""
    producer = program.layers[index]
    kernel = producer.kernel
    assert isinstance(kernel, Convolution)
    dead, steps = _constant_outputs(kernel)
    if not dead.any():
        return None
    group = _Group(index, [], [], dead, {producer.output: steps})
    waiting = [producer.output]
    while waiting:
        name = waiting.pop()
        if name in program.outputs:
            return None
        for position, layer in enumerate(program.layers):
            if name in layer.inputs and not _join(group, position, layer, name, waiting):
                return None
    keep = -(-int((~group.dead).sum()) // _MULTIPLE) * _MULTIPLE
    surplus = max(keep, _MULTIPLE) - int((~group.dead).sum())
    group.dead[np.flatnonzero(group.dead)[:surplus]] = False
    return group if group.dead.any() else None


def _join(group: _Group, position: int, layer: Layer, name: str, waiting: list[str]) -> bool:
    """Takes a reader of `name` into the group; False where it needs every channel."""
    kernel, steps = layer.kernel, group.constants[name]
    if isinstance(kernel, Convolution) and not kernel.depthwise:
        if kernel.input_channels != steps.size:
            return False
        if not kernel.window.is_pointwise:
            # Taps in the padding see the zero point.
            group.dead &= steps == kernel.input.zero_point
        group.behind.append(position)
        return True
    if isinstance(kernel, Convolution) and kernel.output_channels == steps.size:
        group.dead &= steps == kernel.input.zero_point
        sums = steps * kernel.weights.sum(axis=(0, 1))
        moved = replace(kernel, rescale=replace(kernel.rescale, bias=kernel.rescale.bias + sums))
        results = _constant_outputs(moved)[1]
    elif isinstance(kernel, Pool):
        # A maximum with the padding is no constant where that is larger.
        group.dead &= steps >= kernel.pad_step
        results = clamp(steps, kernel.low, kernel.high)
    elif isinstance(kernel, Mean):
        fields = kernel.fields
        centred = (steps - fields["input_zero_point"]) * fields["pixels"]
        results = clamp(multiply(centred, fields["multiplier"], fields["shift"]) + fields["zero_point"])
    else:
        return False
    group.tied.append(position)
    group.constants[layer.output] = results
    waiting.append(layer.output)
    return True


def _without(program: Program, group: _Group) -> Program:
    """The program without a group's dead channels."""
    keep = ~group.dead
    layers, values = list(program.layers), dict(program.values)
    for name in group.constants:
        value = values[name]
        values[name] = replace(value, shape=(*value.shape[:-1], int(keep.sum())))
    for index in (group.producer, *group.tied):
        layer = layers[index]
        layers[index] = replace(layer, kernel=_narrowed(layer.kernel, keep, values, layer))
    for index in group.behind:
        layer = layers[index]
        kernel = layer.kernel
        assert isinstance(kernel, Convolution)
        steps = group.constants[layer.inputs[0]]
        sums = (kernel.weights[..., group.dead] * steps[group.dead]).sum(axis=(1, 2, 3))
        weights = kernel.weights[..., keep]
        rescale = settled(weights, 0, replace(kernel.rescale, bias=kernel.rescale.bias + sums))
        entry = _narrow_value(kernel.input, int(keep.sum()), group.dead.size)
        layers[index] = replace(
            layer,
            kernel=replace(kernel, weights=weights, rescale=rescale, input=entry, input_channels=int(keep.sum())),
        )
    return replace(program, layers=tuple(layers), values=values)


def _narrow_value(value: Value, kept: int, before: int) -> Value:
    return replace(
        value,
        shape=tuple(
            kept if axis == len(value.shape) - 1 and extent == before else extent
            for axis, extent in enumerate(value.shape)
        ),
    )


def _narrowed(kernel: object, keep: NDArray[np.bool_], values: dict[str, Value], layer: Layer) -> Kernel:
    """A dense producer with fewer outputs, or a one-to-one layer with fewer channels."""
    output = values[layer.output]
    if isinstance(kernel, Convolution):
        rescale = kernel.rescale
        narrow = replace(
            rescale, bias=rescale.bias[keep], multiplier=rescale.multiplier[keep], shift=rescale.shift[keep]
        )
        if not kernel.depthwise:
            return replace(kernel, weights=kernel.weights[keep], rescale=narrow, output=output)
        entry = values[layer.inputs[0]]
        return replace(
            kernel,
            weights=kernel.weights[..., keep],
            rescale=narrow,
            input=entry,
            output=output,
            input_channels=entry.channels,
        )
    if isinstance(kernel, Pool):
        return replace(kernel, input=values[layer.inputs[0]], output=output)
    assert isinstance(kernel, Mean)
    fields = {**kernel.fields, "channels": int(keep.sum())}
    return replace(kernel, fields=fields, input=values[layer.inputs[0]], output=output)
