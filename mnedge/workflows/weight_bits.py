"""Weights of dense layers in 4 bits: all of them, or those that hardly add to the noise of int8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.batch import batch_of
from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.executor import execute
from mnedge.passes._pass import run_passes
from mnedge.quantization.interpret import first_output
from mnedge.quantization.ptq import quantize_ptq
from mnedge.quantization.scheme import layers_of, with_own_constants
from mnedge.results.report import LayerBits
from mnedge.workflows.activations import quantize_activations, scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.choices import Activations, Granularity, Method, WeightBits
    from mnedge.graph.graph import Graph
    from mnedge.progress import Progress
    from mnedge.quantization.ptq import PostTraining
    from mnedge.quantization.quantized import Quantized
    from mnedge.quantization.scheme import Layer
    from mnedge.targets import Target
    from mnedge.untyped import AnyArray

# Samples whose noise is measured.
_NOISE_IMAGES = 16
_MOST_STEPS = 7
_GRIDS = np.linspace(0.5, 1.0, 11)
# What puts layers into the form whose 4-bit kernels are fast.
_PASSES = ("pixel-conv-to-dense",)


@dataclass(frozen=True)
class Bits:
    """Bits of activations and weights.

    Attributes:
        activations: "int8", "int16" or "mixed".
        max_slowdown: Budget of mixed activations: latency of the file over that of the int8 file; None for 1.1.
        weights: "8"; "4" in every layer of `int4_layers`; or "mixed": 4 in as many of them as together add no more
            noise to the scores than int8 has already.
    """

    activations: Activations = "int8"
    max_slowdown: float | None = None
    weights: WeightBits = "8"


def check_weight_bits(
    bits: Bits, method: Method, granularity: Granularity | None, targets: Mapping[str, Target]
) -> None:
    """Makes sure that weights can have so many bits, before anything is computed.

    Raises:
        InputError: Options that do not go together.
        UnsupportedError: Training with fewer bits, or a target that has no kernels of them.
    """
    weights, activations = bits.weights, bits.activations
    if weights == "8":
        return
    if activations != "int8":
        raise InputError(
            f"--weights-bits {weights} goes with activations in int8, and --activations {activations} is asked for: "
            "LiteRT has no kernel of both; leave one of them out"
        )
    if granularity == "per-tensor":
        raise InputError(f"--weights-bits {weights} takes a scale a channel; leave --granularity per-tensor out")
    if method == "qat":
        raise UnsupportedError(
            f"training with fake quantization has weights of 8 bits, and --weights-bits {weights} is asked for; give "
            "--method ptq, or leave --weights-bits out"
        )
    accelerated = next((name for name, target in targets.items() if target.accelerator), None)
    if accelerated is not None:
        raise UnsupportedError(
            f"NPUs hold weights in 8 bits, so --weights-bits {weights} saves nothing on the target {accelerated}; "
            "leave it out there"
        )


def quantize_bits(
    graph: Graph, images: Samples, chosen: PostTraining, bits: Bits, *, progress: Progress | None = None
) -> Quantized:
    """Quantizes after training, with as many bits as asked for.

    Args:
        graph: Float graph; lowered for its target already.
        images: float32 (N, H, W, C), or a `Batch`.
        chosen: Choices of the quantization.
        bits: Bits of activations and weights.
        progress: Called with what is being done and the share of it that is done, 0..1.

    Raises:
        InputError: No images, or an unknown range method.
        UnsupportedError: An op has no int8 form, or no layer has kernels of 4-bit weights.
    """
    told = progress or (lambda _name, _share: None)
    if bits.weights == "8":
        return quantize_activations(graph, images, chosen, bits.activations, bits.max_slowdown, progress=told)
    graph = run_passes(graph, _PASSES)
    layers = int4_layers(graph)
    if not layers:
        raise UnsupportedError(
            "the model has no dense layer with an even number of inputs, the only ones that LiteRT has fast kernels of "
            "4-bit weights for; leave --weights-bits out"
        )
    if bits.weights == "4":
        narrow, noise = frozenset(layer.output for layer in layers), dict[str, float]()
    else:
        narrow, noise = _chosen(graph, images, chosen, layers, told)
    made = quantize_ptq(graph, images, replace(chosen, int4=narrow), progress=told)
    rows = tuple(
        LayerBits(
            layer.output,
            layer.op.kind,
            8,
            weights_bits=4 if layer.output in narrow else 8,
            weights_noise=noise.get(layer.output),
            weights_bytes_saved=_bytes_saved(graph, layer) if layer.output in narrow else None,
        )
        for layer in layers_of(graph)
    )
    return replace(made, layers=rows, settings={**made.settings, "weights_bits": bits.weights})


def int4_layers(graph: Graph) -> list[Layer]:
    """Layers for whose 4-bit weights LiteRT has fast kernels: FULLY_CONNECTED with an even number of inputs.

    A 1x1 CONV_2D with such weights stays outside the delegate and takes 3 to 5 times as long as one of int8.
    """
    return [
        layer
        for layer in layers_of(graph)
        if layer.op.kind == "FULLY_CONNECTED" and graph.tensors[layer.weights].shape[1] % 2 == 0
    ]


def _bytes_saved(graph: Graph, layer: Layer) -> int:
    """Bytes that a layer's weights take less in 4 bits."""
    return graph.tensors[layer.weights].real().size // 2


def _chosen(
    graph: Graph, images: Samples, chosen: PostTraining, layers: list[Layer], told: Progress
) -> tuple[frozenset[str], dict[str, float]]:
    """Layers of 4 bits, those first that save most bytes for their noise; and the noise of each, in that of int8."""
    int8 = quantize_ptq(graph, images, chosen, progress=told).graph
    seen = images[:_NOISE_IMAGES]
    scores = scores_of(graph)
    real = {name: np.asarray(value) for name, value in execute(scores, batch_of(graph.inputs, seen).arrays).items()}
    wanted = real[scores.outputs[0]]
    base = float(np.square(first_output(scores_of(int8), seen).reshape(wanted.shape) - wanted).mean()) or 1e-30
    noise, own = {}, with_own_constants(scores)
    told("noise of weights in 4 bits", 0.0)
    for number, layer in enumerate(layers):
        noise[layer.output] = _noise(own, layer, real) / base
        told("noise of weights in 4 bits", (number + 1) / len(layers))
    saved = {layer.output: _bytes_saved(graph, layer) for layer in layers}
    narrow, whole = set[str](), 0.0
    for name in sorted(noise, key=lambda name: noise[name] / saved[name]):
        if whole + noise[name] <= 1.0:
            narrow.add(name)
            whole += noise[name]
    return frozenset(narrow), noise


def _noise(graph: Graph, layer: Layer, real: Mapping[str, AnyArray]) -> float:
    """Power of what the rounding of a layer's weights to 4 bits adds to the first output of a float graph."""
    weights = graph.tensors[layer.weights]
    reached, rest = {layer.output}, []
    for op in graph.ops:
        if layer.output in op.outputs or reached & set(op.inputs):
            reached |= set(op.outputs)
            rest.append(op)
    made = {name for op in rest for name in op.outputs}
    fed = {str(name): real[str(name)] for op in rest for name in op.inputs if name in real and name not in made}
    output = graph.outputs[0]
    noisy = execute(graph, fed, values={weights.name: _rounded(weights.real(), layer.axis)}, ops=rest)[output]
    return float(np.square(np.asarray(noisy) - real[output]).mean())


def _rounded(weights: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Weights on the grid of 4 bits that has the least squared error, a grid a channel."""
    axes = tuple(place for place in range(weights.ndim) if place != axis)
    step = np.maximum(np.abs(weights).max(axis=axes, keepdims=True), 1e-12) / _MOST_STEPS
    tried = [np.clip(np.round(weights / (step * grid)), -_MOST_STEPS, _MOST_STEPS) * (step * grid) for grid in _GRIDS]
    errors = np.stack([np.square(one - weights).sum(axis=axes, keepdims=True) for one in tried])
    return np.asarray(np.choose(errors.argmin(axis=0), tried), np.float32)
