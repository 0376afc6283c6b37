"""Post-training quantization: READ `quantize_ptq` FIRST, it is the sequence."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from mnedge.errors import InputError
from mnedge.graph.heads import head_of
from mnedge.heap import give_back, large_blocks_apart
from mnedge.quantization.bias_correction import correct_biases
from mnedge.quantization.calibrate import check_finite, observe
from mnedge.quantization.equalize import equalize
from mnedge.quantization.gates import with_scalable_gates, worthwhile_gates
from mnedge.quantization.interpret import first_output
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.quantized import Quantized, measured_step
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.reconstruct import reconstruct
from mnedge.quantization.saturation import shrink_saturated
from mnedge.quantization.scheme import check_float, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.choices import Effort, Granularity
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels
    from mnedge.quantization.parameters import Parameters
    from mnedge.quantization.scheme import Scheme
    from mnedge.results.details import Step

MOST_IMAGES = 256
_RANGES = "output"
# Nats for each element of a gate: what a slower gate has to bring.
_LEAST_GATE_GAIN = 5e-8
_LEAST_TO_FIT = 32
# What fitting may hold, and how often it holds the largest activation, a byte a step: before and after a layer, and
# a third one around a residual.
_FITTING_BYTES = 2 << 30
_COPIES = 4
_ROWS = {"default": 8_000, "max": 48_000}


@dataclass(frozen=True)
class PostTraining:
    """Settings of quantization without training.

    Attributes:
        pixels: Pixels of the graph: its int8 input is then the pixel minus 128 (see `input_quantization`).
            The range of inputs that are no pictures is that of their samples; None where none is a picture.
        head: Kind of the first output, for the agreement of each step; None for what the graph shows.
        effort: "fast" equalizes channels, chooses ranges and corrects biases (with `ranges="min-max"` it is plain
            min-max and nothing else); "default" fits every layer to the float output, with rounding in which each
            weight takes up the error of those before; "max" also fits with more pixels, and takes slower gates that
            can be equalized for the hard-swishes that gain from them (see `gates`): a V3 small that is a fifth
            slower and loses half as much.
        granularity: Granularity of the weight scales.
        ranges: "min-max", "percentile", "mse" or "output"; None for "output".
        scalable_gates: Whether gates may become slower ones that can be equalized; None for what `effort` says.
        seed: Seed of everything random.
        allow_float: Op kinds that may stay float.
        wide: First outputs of the ops in int16 (16x8), see `int16_ops`.
        int4: Outputs of the layers whose weights have 4 bits, see `int4_layers`.
    """

    pixels: Pixels | None = None
    head: Head | None = None
    effort: Effort = "default"
    granularity: Granularity = "per-channel"
    ranges: str | None = None
    scalable_gates: bool | None = None
    seed: int = 0
    allow_float: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    int4: frozenset[str] = frozenset()


DEFAULT = PostTraining()


def quantize_ptq(
    graph: Graph,
    images: Samples,
    chosen: PostTraining = DEFAULT,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Quantized:
    """Makes a float graph int8 from unlabelled images, without training.

    Args:
        graph: Float graph; lowered for its target already.
        images: float32 (N, H, W, C) as the graph's input wants them, or a `Batch` for several inputs; the first 256
            are used.
        chosen: The choices of the quantization.
        progress: Called with what is being done and the fraction (0..1) of the whole that is behind.

    Raises:
        InputError: No images, or an unknown range method.
        UnsupportedError: An op has no int8 form and is not allowed to stay float.
    """
    scheme, parameters, log = post_training_parameters(graph, images, chosen, progress=progress)
    settings = {
        "method": "ptq",
        "effort": chosen.effort,
        "granularity": chosen.granularity,
        "ranges": chosen.ranges or _RANGES,
        "seed": chosen.seed,
        "images": len(log.images),
    }
    return Quantized(to_int8(scheme, parameters), tuple(log.steps), settings)


def post_training_parameters(
    graph: Graph,
    images: Samples,
    chosen: PostTraining,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Scheme, Parameters, Log]:
    """The steps of `quantize_ptq`, with its arguments; gives what training with fake quantization starts from."""
    if len(images) == 0:
        raise InputError("there are no calibration images; give at least one, 100 to 256 work well")
    check_float(graph, chosen.allow_float)
    images = images[:MOST_IMAGES]
    check_finite(graph, images)
    log = Log(graph, images, progress, chosen.head)
    # Threads of BLAS spin while they wait for each other, which takes the cores from all others, and what they add up
    # in which order depends on how many they are.
    with threadpool_limits(1, "blas"), large_blocks_apart():
        if chosen.effort == "fast" and chosen.ranges == "min-max":
            scheme, parameters = _calibrated(graph, images, chosen, log)
            log.done("ranges: min-max", scheme, parameters)
        else:
            scheme, parameters = _equalized(graph, images, chosen, log)
            parameters = (_corrected if chosen.effort == "fast" else _fitted)(scheme, parameters, images, chosen, log)
    log.begin("done", 1.0)
    return scheme, parameters, log


def _calibrated(
    graph: Graph,
    images: Samples,
    chosen: PostTraining,
    log: Log,
    sensitivity: Mapping[str, NDArray[np.float64]] | None = None,
) -> tuple[Scheme, Parameters]:
    """Ranges; weights rounded to nearest."""
    log.begin("calibrate", 0.0 if sensitivity is None else 0.2)
    scheme = scheme_of(graph, images, chosen.granularity, chosen.allow_float, chosen.pixels, chosen.wide, chosen.int4)
    ranges = choose_ranges(scheme, observe(scheme, images, chosen.seed), chosen.ranges or _RANGES, sensitivity)
    return scheme, initial_parameters(scheme, ranges)


def _equalized(graph: Graph, images: Samples, chosen: PostTraining, log: Log) -> tuple[Scheme, Parameters]:
    """Channels equalized, then ranges."""
    log.begin("equalize channels", 0.0)
    graph = shrink_saturated(graph, images)
    if chosen.effort == "max" if chosen.scalable_gates is None else chosen.scalable_gates:
        graph = with_scalable_gates(graph, worthwhile_gates(graph, images, _LEAST_GATE_GAIN))
    equal = equalize(graph, images, chosen.granularity, chosen.int4)
    scheme, parameters = _calibrated(equal.graph, images, chosen, log, equal.sensitivity)
    log.done(f"equalized channels, ranges: {chosen.ranges or _RANGES}", scheme, parameters)
    return scheme, parameters


def _corrected(scheme: Scheme, parameters: Parameters, images: Samples, chosen: PostTraining, log: Log) -> Parameters:
    """Rounded to nearest, biases corrected."""
    log.begin("correct biases", 0.5)
    parameters = correct_biases(scheme, parameters, images, chosen.seed)
    log.done("bias correction", scheme, parameters)
    return parameters


def _fitted(scheme: Scheme, parameters: Parameters, images: Samples, chosen: PostTraining, log: Log) -> Parameters:
    """Layers fitted one after the other."""
    parameters = reconstruct(
        scheme,
        parameters,
        _enough(scheme.graph, images),
        seed=chosen.seed,
        rows=_ROWS[chosen.effort],
        progress=lambda share: log.begin("fit layers", 0.3 + 0.7 * share),
    )
    log.done("layers fitted, rounding with feedback, bias correction", scheme, parameters)
    return parameters


def _enough(graph: Graph, images: Samples) -> Samples:
    """Returns as many pictures as fit the memory while a layer's steps are held for all of them."""
    largest = max(math.prod(graph.tensors[name].shape) for op in graph.ops for name in op.outputs)
    return images[: max(_LEAST_TO_FIT, _FITTING_BYTES // (_COPIES * largest))]


class Log:
    """Times the steps and measures what each one gains."""

    def __init__(
        self,
        graph: Graph,
        images: Samples,
        progress: Callable[[str, float], None] | None,
        head: Head | None = None,
    ) -> None:
        self.images = images
        self.head = head or head_of(graph, graph.outputs[0])
        self.progress = progress or (lambda _name, _fraction: None)
        self.reference = first_output(graph, images)
        self.steps: list[Step] = []
        self.stage = ""
        self.started = time.monotonic()

    def begin(self, name: str, fraction: float) -> None:
        """Reports what comes now."""
        if name != self.stage:
            give_back()
        self.stage = name
        self.progress(name, fraction)

    def done(self, name: str, scheme: Scheme, parameters: Parameters) -> None:
        """Adds the row of a finished step."""
        seconds = time.monotonic() - self.started
        int8 = to_int8(scheme, parameters)
        self.steps.append(measured_step(name, seconds, int8, self.head, self.reference, self.images))
        self.started = time.monotonic()
