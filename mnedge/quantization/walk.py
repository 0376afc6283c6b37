"""Fits the layers in order; each sees the outputs of the quantized layers before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnedge.batch import Batch
from mnedge.quantization.interpret import input_steps, interpret, sample_shape
from mnedge.quantization.parameters import Parameters, layer_tensors, to_int8
from mnedge.quantization.pixels import draw_pixels, float_targets, has_taps, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Op
    from mnedge.quantization.pixels import Problem
    from mnedge.quantization.scheme import Layer, Scheme
    from mnedge.untyped import AnyArray

# Bytes of an activation, of one image, from which a second interpreter pays.
_LEAST_BYTES = 1 << 21


class Settled(NamedTuple):
    """A layer: weights in the op's layout, weight scales (channels,) or (1,), and bias (channels,); float32."""

    weights: NDArray[np.float32]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]


def settle_layers(
    scheme: Scheme,
    parameters: Parameters,
    images: Samples,
    settle: Callable[[Layer, Problem, Settled], Settled],
    *,
    rows: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Parameters:
    """Goes through the layers in order of execution and replaces the parameters of each.

    The float network runs once, and of every layer's output a few pixels are kept. The quantized one runs piece
    by piece in LiteRT's integer kernels, a piece being a layer and the ops up to the next; only steps, a byte each,
    are kept between the pieces.

    Args:
        scheme: Quantization scheme of the graph.
        parameters: Ranges, weights and biases so far.
        images: float32 (N, H, W, C), or a `Batch`.
        settle: From a layer, its least squares and its parameters so far to those that it gets.
        rows: Pixels of a layer's least squares, over all images.
        seed: Seed of the choice of pixels.
        progress: Called with the share of the layers that is done.
    """
    drawn = draw_pixels(scheme, len(images), rows, seed)
    skips = _skips(scheme)
    aims = {output: skips[output][0] if output in skips else output for output in drawn}
    found = float_targets(scheme, images, {aims[output]: pixels for output, pixels in drawn.items()})
    targets = {output: found.pop(aim) for output, aim in aims.items()}
    weights, scales, biases = (dict(part) for part in (parameters.weights, parameters.weight_scales, parameters.biases))
    int8 = to_int8(scheme, parameters)
    layer_of = {layer.output: layer for layer in scheme.layers}
    steps: dict[str, AnyArray] = input_steps(int8, images)
    pieces = _pieces(int8, layer_of)
    for number, ops in enumerate(pieces):
        layer = layer_of.get(ops[0].outputs[0])
        if layer is not None:
            quantization = int8.tensors[layer.data].quantization
            made_by = int8.tensors[layer.output].quantization
            assert quantization is not None, layer.data
            assert made_by is not None, layer.output
            ends = (float(quantization.scale[0]), float(made_by.scale[0]))
            now = Settled(weights[layer.weights], scales[layer.weights], biases[layer.bias])
            if layer.output in skips:
                targets[layer.output] -= _drawn(int8, steps, skips[layer.output][1], drawn[layer.output])
            if has_taps(scheme.graph, layer):
                pixels = drawn[layer.output]
                problem = problem_of(scheme, layer, steps[layer.data], quantization, pixels, targets.pop(layer.output))
                now = settle(layer, problem, now)
            else:
                made = _run(int8, ops[:1], (layer.output,), steps)[layer.output]
                now = now._replace(bias=now.bias + _shift(int8, layer, made, drawn[layer.output], targets))
            weights[layer.weights], scales[layer.weights], biases[layer.bias] = now
            settled = replace(parameters, weights=weights, weight_scales=scales, biases=biases)
            int8 = int8.replaced(tensors=layer_tensors(scheme, layer, settled, ends))
        read_later = {name for piece in pieces[number + 1 :] for op in piece for name in op.inputs}
        wanted = tuple(name for op in ops for name in op.outputs if name in read_later)
        if wanted:
            steps.update(_run(int8, ops, wanted, steps))
        steps = {name: value for name, value in steps.items() if name in read_later}
        if progress is not None:
            progress((number + 1) / len(pieces))
    return replace(parameters, weights=weights, weight_scales=scales, biases=biases)


def _skips(scheme: Scheme) -> dict[str, tuple[str, str]]:
    """Maps a layer's output that only a sum reads to that sum and its other summand, which is made before it.

    Such a layer is settled on what the float sum lacks, so that it takes back what the quantized network lost on the
    way around it: the block's output is what counts (Li et al. 2021, BRECQ, section 3.2, arXiv:2102.05426).
    """
    graph, consumers, found = scheme.graph, scheme.graph.consumers(), {}
    made = dict.fromkeys(graph.inputs, -1) | {name: at for at, op in enumerate(graph.ops) for name in op.outputs}
    for layer in scheme.layers:
        output, readers = layer.output, consumers[layer.output]
        if len(readers) != 1 or output in graph.outputs or layer.op.options.get("activation", "NONE") != "NONE":
            continue
        total = readers[0]
        others = [str(name) for name in total.inputs if name != output]
        if total.kind != "ADD" or total.options.get("activation", "NONE") != "NONE" or len(others) != 1:
            continue
        other, shape = others[0], graph.tensors[output].shape
        if scheme.is_float(total) or graph.tensors[other].shape != shape or other not in scheme.group:
            continue
        if made.get(other, len(graph.ops)) < made[output]:
            found[output] = (total.outputs[0], other)
    return found


def _pieces(graph: Graph, layers: Iterable[str]) -> list[tuple[Op, ...]]:
    """The ops in order, cut before every layer, which is known by its output."""
    pieces: list[list[Op]] = [[]]
    for op in graph.ops:
        if op.outputs[0] in layers and pieces[-1]:
            pieces.append([])
        pieces[-1].append(op)
    return [tuple(piece) for piece in pieces]


def _run(graph: Graph, ops: tuple[Op, ...], wanted: tuple[str, ...], steps: dict[str, AnyArray]) -> dict[str, AnyArray]:
    feeds = tuple(dict.fromkeys(name for op in ops for name in op.inputs if name in steps))
    piece = graph.replaced(ops=ops, inputs=feeds, outputs=wanted)
    values = Batch({name: steps[name] for name in feeds})
    count = len(values)
    shapes = {name: sample_shape(graph.tensors[name].shape) for name in wanted}
    made = {name: np.empty((count, *shapes[name]), graph.tensors[name].dtype) for name in wanted}

    def keep(number: int, outputs: list[AnyArray]) -> None:
        for name, output in zip(wanted, outputs, strict=True):
            made[name][number] = output.reshape(shapes[name])

    size = max(value[0].nbytes for value in (*values.arrays.values(), *made.values()))
    interpret(piece, values, keep, least=_LEAST_BYTES // size)
    return made


def _shift(
    int8: Graph, layer: Layer, steps: AnyArray, pixels: NDArray[np.intp], targets: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(channels,) mean of the float output minus the quantized one."""
    made = _drawn(int8, {layer.output: steps}, layer.output, pixels)
    return np.asarray((targets.pop(layer.output) - made).mean(axis=0), np.float32)


def _drawn(int8: Graph, steps: dict[str, AnyArray], name: str, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
    """(rows, channels) real values of an activation at the drawn pixels."""
    quantization = int8.tensors[name].quantization
    assert quantization is not None, name
    by_pixel = steps[name].reshape(len(steps[name]), -1, steps[name].shape[-1])
    picked = by_pixel[np.arange(len(by_pixel))[:, None], pixels].reshape(-1, by_pixel.shape[-1])
    return quantization.dequantize(picked)
