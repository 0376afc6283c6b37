"""A build's quantization: from the float graph to the integer one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge import cache
from mnedge.graph.graph import arguments_of
from mnedge.runtimes import naming
from mnedge.silence import start_tensorflow
from mnedge.workflows.quantize import lowered, lowered_for_arrays

if TYPE_CHECKING:
    from mnedge.batch import Samples
    from mnedge.choices import Granularity
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels
    from mnedge.progress import Progress
    from mnedge.quantization.quantized import Quantized
    from mnedge.workflows.build.job import Job

# Training pictures of qat: as float32 at 224 px, 2,000 take 1.2 GB.
_QAT_IMAGES = 2000


@dataclass(frozen=True)
class Lowering:
    """A way from a float graph to int8; targets that share it share one int8 artifact.

    Attributes:
        targets: The targets that share it, by name.
        passes: Names of the passes of the float graph, in order.
        tflite_passes: Names of the passes of the int8 graph on its way to .tflite, in order.
        granularity: Granularity of the weight scales.
    """

    targets: tuple[str, ...]
    passes: tuple[str, ...]
    tflite_passes: tuple[str, ...]
    granularity: Granularity


def quantized_graph(job: Job, source: Graph, lowering: Lowering, progress: Progress) -> Quantized:
    """Lowers a job's float graph for its targets and quantizes it as the recipe asks."""
    graph, pixels = _lowered(job, source, lowering)
    with naming(job.model.path if job.model is not None else job.slug):
        return _quantize(job, graph, pixels, lowering, progress)


def _lowered(job: Job, graph: Graph, lowering: Lowering) -> tuple[Graph, Pixels | None]:
    if job.arrays is not None or job.pixels is None:
        return lowered_for_arrays(graph, job.pixels, lowering.passes)
    return lowered(graph, job.pixels, lowering.passes, job.recipe.io)


def _quantize(job: Job, graph: Graph, pixels: Pixels | None, lowering: Lowering, progress: Progress) -> Quantized:
    from mnedge.quantization.ptq import PostTraining
    from mnedge.workflows.weight_bits import Bits, quantize_bits

    recipe = job.recipe
    start_tensorflow()
    images = _calibration(job, graph, pixels)
    chosen = PostTraining(
        pixels,
        _head(job),
        recipe.effort,
        lowering.granularity,
        seed=recipe.seed,
        allow_float=frozenset(recipe.allow_float),
    )
    if recipe.method == "qat":
        assert pixels is not None, "pictures have pixels, and arrays are not trained on"
        from mnedge.quantization.qat import quantize_qat

        numbers = job.dataset.split("train", _QAT_IMAGES)
        trained, labels = job.dataset.pixels(numbers, job.size)
        return quantize_qat(
            graph,
            pixels.real(pixels.arranged(trained)),
            labels if job.is_labelled and job.task.learns_labels and not (job.model and job.model.place) else None,
            chosen,
            calibration=images,
            checkpoint_dir=cache.checkpoints("qat"),
            progress=lambda stage, fraction: progress(f"train int8: {stage}", fraction),
        )
    quantized = quantize_bits(
        graph,
        images,
        chosen,
        Bits(recipe.activations, recipe.max_slowdown, recipe.weights_bits),
        progress=lambda _, fraction: progress("quantize to int8", min(fraction, 0.99)),
    )
    progress("quantize to int8", 1.0)
    return quantized


def _calibration(job: Job, graph: Graph, pixels: Pixels | None) -> Samples:
    """The calibration set as the graph takes it: float32, (n, height, width, channels), or a `Batch`."""
    if job.calibration.arrays is not None:
        return job.calibration.batch([graph.tensors[name] for name in graph.inputs], arguments_of(graph.signatures))
    assert pixels is not None, "pictures have pixels"
    return pixels.real(pixels.arranged(job.calibration.pixels(job.size)))


def _head(job: Job) -> Head | None:
    """Returns the head that the model or the task states; None where the output shows its own."""
    if job.model is not None and job.model.network.outputs[0].head != "map":
        return job.model.network.outputs[0].head
    return job.task.own_head
