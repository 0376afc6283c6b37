"""Arena and flash of a candidate from the compiler's own plan; cached for each candidate.

The network is built with random weights, lowered and quantized as a build does it, and compiled. Where everything lies
and how large the code is does not depend on the weights' values, with one exception: channels that turn out constant in
training are pruned, which makes a trained network smaller, never larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache, targets
from mnedge.devices import _boards, _emulated
from mnedge.errors import BudgetError
from mnedge.files import size_bytes, write_bytes, write_text
from mnedge.models.variant import CLASSIFIER, check_compiles, trace
from mnedge.pixels import SYMMETRIC
from mnedge.results.stored import read, to_json
from mnedge.silence import start_tensorflow

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.models import Variant
    from mnedge.workflows.search.candidates import Candidate

_PICTURES = 2
_MODEL = "int8.tflite"
# As `build` calls it; the length of a C name does not change the code.
NAME = "model"
_HOST_CORE = "cortex-m3"


@dataclass(frozen=True)
class Footprint:
    """Memory that a candidate needs on a target.

    Attributes:
        size_bytes: Size of the int8 .tflite.
        arena_bytes: Working memory; None where the target's runtime decides it.
        ram_bytes: Arena, input and output; None likewise.
        flash_bytes: Code and constants; None likewise, or without a cross compiler.
        estimate_ms: Vela's estimate of the latency; None for other targets.
        stack_bytes: Stack of a run on the emulated core; None where none was asked for or it does not fit there.
        macs: Multiply-adds of a picture, of a network whose head no table counts; None for a classifier.
        parameters: Trained numbers, likewise.
    """

    size_bytes: int
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    estimate_ms: float | None = None
    stack_bytes: int | None = None
    macs: int | None = None
    parameters: int | None = None

    @property
    def ram_with_stack_bytes(self) -> int | None:
        """Arena, input, output and stack; without the stack where that is unknown."""
        return None if self.ram_bytes is None else self.ram_bytes + (self.stack_bytes or 0)


def least_bytes(variant: Variant) -> int:
    """The weights alone, one byte each: no int8 file and no flash image is smaller; 0 for heads without a table."""
    if variant.head != CLASSIFIER:
        return 0
    return sum(math.prod(layer.kernel_shape) for layer in trace(variant) if layer.kernel_shape)


def int8_tflite(candidate: Candidate, target: str) -> Path:
    """The int8 .tflite of a candidate with random weights, lowered for a target."""
    chosen = targets.get(target)
    key = {**candidate.key, "passes": chosen.passes}

    def make(folder: Path) -> None:
        from mnedge.formats.keras import keras_to_graph
        from mnedge.formats.tflite_write import write_tflite
        from mnedge.models.build import build_model
        from mnedge.passes._pass import run_passes
        from mnedge.quantization.ptq import PostTraining, quantize_ptq

        start_tensorflow()
        graph = run_passes(keras_to_graph(build_model(candidate.variant, "random")), chosen.passes)
        side = candidate.variant.resolution
        pictures = np.random.default_rng(0).uniform(-1, 1, (_PICTURES, side, side, 3)).astype(np.float32)
        plain = PostTraining(SYMMETRIC, effort="fast", granularity=candidate.granularity, ranges="min-max")
        quantized = quantize_ptq(graph, pictures, plain)
        write_bytes(folder / _MODEL, write_tflite(quantized.graph))

    return cache.stage("search-int8", key, make) / _MODEL


def footprint(candidate: Candidate, target: str, *, with_stack: bool = False) -> Footprint:
    """Builds, quantizes and compiles a candidate for a target, once, and reads its memory.

    Args:
        candidate: The candidate.
        target: Name of the target.
        with_stack: Run generated C on the emulated core to measure its stack.

    Raises:
        UnsupportedError: An op has no kernel on the target.
        ToolError: A compiler failed, or Vela is missing.
    """
    check_compiles(candidate.variant, target)
    key = {
        **candidate.key,
        "target": target,
        "missing": _boards.missing_tools(),
        **({"stack": True} if with_stack else {}),
    }

    def make(folder: Path) -> None:
        tflite = int8_tflite(candidate, target)
        found = _measured(tflite, target, folder / "compiled", with_stack)
        if candidate.variant.head != CLASSIFIER:
            found = _counted(found, tflite)
        write_text(folder / "footprint.json", to_json(found))

    return read(cache.stage("search-footprint", key, make) / "footprint.json", Footprint)


def _counted(found: Footprint, tflite: Path) -> Footprint:
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.graph.macs import graph_macs, graph_parameters

    graph = read_tflite(tflite)
    return replace(found, macs=graph_macs(graph), parameters=graph_parameters(graph))


def _measured(tflite: Path, target: str, scratch: Path, with_stack: bool) -> Footprint:
    import shutil

    chosen = targets.get(target)
    try:
        if chosen.accelerator:
            from mnedge.codegen.vela import compile_vela

            compiled = compile_vela(tflite.read_bytes(), name=NAME, target=target, out=scratch)
            return Footprint(
                size_bytes(tflite),
                compiled.arena_bytes,
                compiled.arena_bytes,
                compiled.flash_bytes,
                compiled.inference_ms,
            )
        if not chosen.kernels:
            return Footprint(size_bytes(tflite))
        from mnedge.codegen.compile import compile_c
        from mnedge.formats.tflite_read import read_tflite

        manifest = compile_c(read_tflite(tflite), name=NAME, target=target, out=scratch, measure=False)
        flash_bytes = None
        if "arm-none-eabi-gcc" not in _boards.missing_tools():
            flash_bytes = _emulated.measure_size(scratch / f"{NAME}.c", core_of(target)).flash_bytes
        found = Footprint(size_bytes(tflite), manifest.arena_bytes, manifest.ram_bytes, flash_bytes)
        return replace(found, stack_bytes=_stack_bytes(scratch, manifest.input_bytes, target)) if with_stack else found
    finally:
        # The sources are several times the model; the figures are what is kept.
        shutil.rmtree(scratch, ignore_errors=True)


def _stack_bytes(folder: Path, input_bytes: int, target: str) -> int | None:
    """Stack of one run on the emulated core; None if the board has too little memory."""
    from mnedge.codegen.vectors import noise

    try:
        return _emulated.run_inputs(folder, noise(input_bytes, count=1), core=core_of(target)).stack_bytes
    except BudgetError:
        return None


def core_of(target: str) -> str:
    """The core whose compiler flags a target's C is measured with, as `compile` measures it."""
    device = targets.get(target).device
    return device.removeprefix("qemu://") if device else _HOST_CORE
