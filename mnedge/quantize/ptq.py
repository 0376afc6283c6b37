"""Post-training quantization: READ `quantize_ptq` FIRST, it is the sequence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from mnedge.errors import InputError
from mnedge.graph.executor import predict
from mnedge.quantize.calibrate import observe
from mnedge.quantize.parameters import initial_parameters, to_int8
from mnedge.quantize.quantized import Quantized, Step, int8_agreement
from mnedge.quantize.ranges import choose_ranges
from mnedge.quantize.scheme import Granularity, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph
    from mnedge.quantize.parameters import Parameters
    from mnedge.quantize.scheme import Scheme

Effort = Literal["fast", "default", "max"]
Progress = "Callable[[str, float], None]"
MOST_IMAGES = 256


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
        effort: "fast" chooses ranges and nothing more; "default" and "max" also correct and learn.
        granularity: Of the weight scales.
        ranges: "min-max", "percentile", "mse" or "output"; by default "min-max" when fast and "output" otherwise.
        seed: Of everything random.
        allow_float: Op kinds that may stay float.
        progress: Called with what is being done and the fraction (0..1) of the whole that is behind.

    Raises:
        InputError: No images, or an unknown range method.
        UnsupportedError: An op has no int8 form and is not allowed to stay float.
    """
    if len(images) == 0:
        raise InputError("there are no calibration images; give at least one, 100 to 256 work well")
    images = images[:MOST_IMAGES]
    scheme = scheme_of(graph, images, granularity, allow_float)
    log = Log(scheme, images, progress)
    method = ranges or ("min-max" if effort == "fast" else "mse")
    log.begin("calibrate", 0.0)
    statistics = observe(scheme, images, seed)
    parameters = initial_parameters(scheme, choose_ranges(scheme, statistics, method))
    log.done(f"ranges: {method}", parameters)
    settings = {"method": "ptq", "effort": effort, "granularity": granularity, "ranges": method, "seed": seed}
    return Quantized(to_int8(scheme, parameters), tuple(log.steps), {**settings, "images": len(images)})


class Log:
    """Times the steps and measures what each one gains."""

    def __init__(
        self, scheme: Scheme, images: NDArray[np.float32], progress: Callable[[str, float], None] | None
    ) -> None:
        self.scheme = scheme
        self.images = images
        self.progress = progress or (lambda _name, _fraction: None)
        self.reference = predict(scheme.graph, images)
        self.steps: list[Step] = []
        self.started = time.monotonic()

    def begin(self, name: str, fraction: float) -> None:
        """Reports what comes now."""
        self.progress(name, fraction)

    def done(self, name: str, parameters: Parameters) -> None:
        """Adds the row of a finished step."""
        seconds = time.monotonic() - self.started
        agreement = int8_agreement(to_int8(self.scheme, parameters), self.reference, self.images)
        self.steps.append({"name": name, "seconds": round(seconds, 2), "agreement": round(agreement, 4)})
        self.started = time.monotonic()
