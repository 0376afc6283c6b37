"""Post-training quantization: READ `quantize_ptq` FIRST, it is the sequence."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError
from mnedge.graph.executor import predict, simulate
from mnedge.quantize.bias_correction import correct_biases
from mnedge.quantize.calibrate import observe
from mnedge.quantize.equalize import equalize
from mnedge.quantize.gates import with_scalable_gates, worthwhile_gates
from mnedge.quantize.parameters import initial_parameters, to_int8
from mnedge.quantize.quantized import Quantized, Step, int8_agreement
from mnedge.quantize.ranges import choose_ranges
from mnedge.quantize.reconstruct import reconstruct
from mnedge.quantize.scheme import Granularity, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph
    from mnedge.quantize.parameters import Parameters
    from mnedge.quantize.scheme import Scheme

Effort = Literal["fast", "default", "max"]
MOST_IMAGES = 256
_RANGES = {"fast": "mse", "default": "output", "max": "output"}
_LEAST_GATE_GAIN = 4e-7
_LEAST_TO_SPLIT = 32
# What fitting may hold, and how often it holds the largest activation: of both networks, before and after a layer.
_FITTING_BYTES = 2 << 30
_COPIES = 6
_ROWS = {"default": 8_000, "max": 48_000}


def quantize_ptq(
    graph: Graph,
    images: NDArray[np.float32],
    *,
    effort: Effort = "default",
    granularity: Granularity = "per-channel",
    ranges: str | None = None,
    seed: int = 0,
    allow_float: frozenset[str] = frozenset(),
    progress: Callable[[str, float], None] | None = None,
) -> Quantized:
    """Makes a float graph int8 from unlabelled images, without training.

    Args:
        graph: Float graph with one input; lowered for its target already.
        images: float32 (N, H, W, C) as the graph's input wants them; the first 256 are used.
        effort: "fast" chooses ranges and corrects biases (with `ranges="min-max"` it is plain min-max); "default"
            also rounds with feedback, tries equalized channels with every layer fitted to the float output, and
            keeps what agrees better with float on held-out pictures; "max" also tries for every hard-swish the
            slower gate that can be equalized (see `gates`), and fits with more pixels.
        granularity: Of the weight scales.
        ranges: "min-max", "percentile", "mse" or "output"; by default "mse" when fast and "output" otherwise.
        seed: Of everything random.
        allow_float: Op kinds that may stay float.
        progress: Called with what is being done and the fraction (0..1) of the whole that is behind.

    Raises:
        InputError: No images, or an unknown range method.
        UnsupportedError: An op has no int8 form and is not allowed to stay float.
    """
    scheme, parameters, log = post_training_parameters(
        graph,
        images,
        effort=effort,
        granularity=granularity,
        ranges=ranges,
        seed=seed,
        allow_float=allow_float,
        progress=progress,
    )
    settings = {
        "method": "ptq",
        "effort": effort,
        "granularity": granularity,
        "ranges": ranges or _RANGES[effort],
        "seed": seed,
        "images": len(log.images),
    }
    return Quantized(to_int8(scheme, parameters), tuple(log.steps), settings)


def post_training_parameters(
    graph: Graph,
    images: NDArray[np.float32],
    *,
    effort: Effort = "default",
    granularity: Granularity = "per-channel",
    ranges: str | None = None,
    seed: int = 0,
    allow_float: frozenset[str] = frozenset(),
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Scheme, Parameters, Log]:
    """The steps of `quantize_ptq`, with its arguments; gives what training with fake quantization starts from."""
    if len(images) == 0:
        raise InputError("there are no calibration images; give at least one, 100 to 256 work well")
    images = images[:MOST_IMAGES]
    log = Log(graph, images, progress)
    asked = Asked(effort, granularity, ranges, seed, allow_float)
    if effort == "fast":
        scheme, parameters = _corrected(graph, images, asked, log, ranges or _RANGES[effort])
        return scheme, parameters, log
    fitted_on, held_out = _split(images)
    candidates = [_rounded(graph, fitted_on, asked, log), _fitted(graph, fitted_on, asked, log)]
    # A network that barely suffers learns its calibration pictures by heart when its layers are fitted to them.
    errors = [_output_error(graph, *candidate, held_out) for candidate in candidates]
    scheme, parameters = candidates[int(np.argmin(errors))]
    log.done("what agrees best with float on held-out pictures", scheme, parameters)
    log.begin("done", 1.0)
    return scheme, parameters, log


@dataclass(frozen=True)
class Asked:
    """The choices of a call of `quantize_ptq`; see there."""

    effort: Effort
    granularity: Granularity
    ranges: str | None
    seed: int
    allow_float: frozenset[str]


def _split(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures to fit on and pictures to judge by: every fourth, or all for both where there are few."""
    if len(images) < _LEAST_TO_SPLIT:
        return images, images
    held_out = np.arange(len(images)) % 4 == 3
    return images[~held_out], images[held_out]


def _enough(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """As many pictures as fit the memory when a layer's activations are held in float for all of them."""
    largest = max(math.prod(graph.tensors[name].shape) for op in graph.ops for name in op.outputs)
    return images[: max(_LEAST_TO_SPLIT, _FITTING_BYTES // (_COPIES * 4 * largest))]


def _output_error(graph: Graph, scheme: Scheme, parameters: Parameters, images: NDArray[np.float32]) -> float:
    """Mean squared difference of the first output from float."""
    int8 = to_int8(scheme, parameters)
    return float(np.mean((predict(graph, images) - predict(int8, images, on_tensor=simulate(int8))) ** 2))


def _corrected(
    graph: Graph, images: NDArray[np.float32], asked: Asked, log: Log, method: str
) -> tuple[Scheme, Parameters]:
    """Ranges, rounding to nearest, biases corrected."""
    log.begin("calibrate", 0.0)
    scheme = scheme_of(graph, images, asked.granularity, asked.allow_float)
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images, asked.seed), method))
    log.done(f"ranges: {method}", scheme, parameters)
    if method != "min-max":
        log.begin("correct biases", 0.1)
        parameters = correct_biases(scheme, parameters, images)
        log.done("bias correction", scheme, parameters)
    return scheme, parameters


def _rounded(graph: Graph, images: NDArray[np.float32], asked: Asked, log: Log) -> tuple[Scheme, Parameters]:
    """The network as it is: rounding in which each weight takes up the error of those before, biases corrected."""
    log.begin("calibrate", 0.0)
    scheme = scheme_of(graph, images, asked.granularity, asked.allow_float)
    method = asked.ranges or "mse"
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images, asked.seed), method))
    log.done(f"ranges: {method}", scheme, parameters)
    parameters = reconstruct(
        scheme,
        parameters,
        _enough(graph, images),
        seed=asked.seed,
        rows=_ROWS[asked.effort],
        refit=math.inf,
        told=lambda share: log.begin("round with feedback", 0.05 + 0.4 * share),
    )
    log.done("rounding with feedback, bias correction", scheme, parameters)
    return scheme, parameters


def _fitted(graph: Graph, images: NDArray[np.float32], asked: Asked, log: Log) -> tuple[Scheme, Parameters]:
    """Channels equalized, ranges by what the consumers lose, layers fitted one after the other."""
    log.begin("equalize channels", 0.45)
    gates = worthwhile_gates(graph, images, _LEAST_GATE_GAIN if asked.effort == "default" else 0.0)
    equalized = equalize(with_scalable_gates(graph, gates), images, asked.granularity)
    scheme = scheme_of(equalized, images, asked.granularity, asked.allow_float)
    method = asked.ranges or _RANGES[asked.effort]
    parameters = initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images, asked.seed), method))
    log.done(f"instead: equalized channels, ranges: {method}", scheme, parameters)
    parameters = reconstruct(
        scheme,
        parameters,
        _enough(graph, images),
        seed=asked.seed,
        rows=_ROWS[asked.effort],
        told=lambda share: log.begin("fit layers", 0.55 + 0.4 * share),
    )
    log.done("layers fitted, rounding with feedback, bias correction", scheme, parameters)
    return scheme, parameters


class Log:
    """Times the steps and measures what each one gains."""

    def __init__(
        self, graph: Graph, images: NDArray[np.float32], progress: Callable[[str, float], None] | None
    ) -> None:
        self.images = images
        self.progress = progress or (lambda _name, _fraction: None)
        self.reference = predict(graph, images)
        self.steps: list[Step] = []
        self.started = time.monotonic()

    def begin(self, name: str, fraction: float) -> None:
        """Reports what comes now."""
        self.progress(name, fraction)

    def done(self, name: str, scheme: Scheme, parameters: Parameters) -> None:
        """Adds the row of a finished step."""
        seconds = time.monotonic() - self.started
        agreement = int8_agreement(to_int8(scheme, parameters), self.reference, self.images)
        self.steps.append({"name": name, "seconds": round(seconds, 2), "agreement": round(agreement, 4)})
        self.started = time.monotonic()
