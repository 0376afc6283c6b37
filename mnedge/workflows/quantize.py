"""`quantize`: a float model of anybody's to an int8 .tflite, with pictures or arrays but without its training code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import targets
from mnedge.artifact import check_file, deliver
from mnedge.data import open_dataset
from mnedge.data.arrays import is_arrays, open_arrays
from mnedge.data.calibration import calibration_of, open_calibration
from mnedge.errors import InputError
from mnedge.formats.pixels import with_pixels
from mnedge.formats.tflite_metadata import refitted
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import arguments_of
from mnedge.graph.heads import head_of, snr_db
from mnedge.graph.kept import check_kept
from mnedge.passes._pass import run_passes
from mnedge.passes.fold_preprocessing import pixel_input, shared_steps
from mnedge.pixels import Pixels
from mnedge.progress import telling
from mnedge.quantization.honesty import check_int8
from mnedge.quantization.interpret import all_outputs
from mnedge.quantization.io import with_io
from mnedge.quantization.ptq import PostTraining
from mnedge.quantization.quantized import agreement_of
from mnedge.results.quantization import OutputFidelity, QuantizedModel
from mnedge.runtimes import naming
from mnedge.silence import start_tensorflow
from mnedge.sources import open_source
from mnedge.workflows.activations import check_activations
from mnedge.workflows.settle_pixels import settle_pixels
from mnedge.workflows.weight_bits import Bits, check_weight_bits, quantize_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.batch import Samples
    from mnedge.choices import Activations, Effort, Granularity, IoDtype, Method, WeightBits
    from mnedge.data.dataset import Dataset
    from mnedge.graph.graph import Graph, Signature
    from mnedge.graph.heads import Head
    from mnedge.progress import Progress
    from mnedge.quantization.quantized import Quantized
    from mnedge.sources import Float

_IMAGES = 200
# Epochs of training with fake quantization where none are asked for.
_EPOCHS = 20


def quantize(
    model: Path | str,
    out: Path | str,
    data: str = "demo",
    *,
    calibration: str | None = None,
    pixels: Pixels | str | None = None,
    size: tuple[int, int] | None = None,
    signature: str | None = None,
    head: Head | None = None,
    positive: str | None = None,
    method: Method = "ptq",
    effort: Effort = "default",
    granularity: Granularity | None = None,
    ranges: str | None = None,
    activations: Activations = "int8",
    max_slowdown: float | None = None,
    weights_bits: WeightBits = "8",
    epochs: int | None = None,
    io: IoDtype = "int8",
    target: str = "cpu",
    allow_float: Sequence[str] = (),
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Brings a float model to int8 and writes it as .tflite.

    The int8 input is the pixel minus 128 (the pixel itself with uint8 ends) wherever one range serves all channels:
    what the model does to its pixels first is folded into the input. With float32 ends pictures are prepared as the
    float model wants them.

    Args:
        model: A .keras, .h5, SavedModel folder, float .tflite or float .onnx.
        out: The int8 .tflite.
        data: demo, a folder or a labels.csv; or a .npy or .npz of inputs as the model takes them, which a model of
            several inputs needs.
        calibration: Calibration set: a name, .yaml, folder or .npy; None for the calibration split of `data`.
        pixels: Range of pixels as `Pixels.parse` reads it; None for what the model says or labelled pictures show.
        size: Height and width in pixels, where the model leaves them open.
        signature: Signature of a SavedModel to take; None for its default or only one.
        head: Kind of the first output; None for what the model shows.
        positive: With one output, yes or no: the class of the data that is the yes.
        method: Quantization after training (ptq), or with fake quantization in training (qat).
        effort: Quantization effort; max (and qat, unless fast) may use slower hard-swishes that quantize better.
        granularity: Granularity of the weight scales; None for the target's.
        ranges: Method that chooses the ranges of activations; None for the default, by the output.
        activations: dtype of activations: int8, int16 with int8 weights (16x8), or mixed, int16 where it takes most of
            the error away within `max_slowdown`.
        max_slowdown: Highest ratio of a mixed file's latency to the int8 file's; None for 1.1.
        weights_bits: Bits of the weights of dense layers: 8, 4, or mixed, 4 in as many as together add no more noise
            than int8 has.
        epochs: Most epochs of qat; None for 20.
        io: dtype of the input and the outputs.
        target: Target whose passes lower the graph first.
        allow_float: Kinds of ops that may stay float.
        seed: Seed of everything random.
        force: Replace `out` although mnedge did not write it.
        progress: Called with the name of a stage and the share of it that is done, 0..1.

    Raises:
        InputError: The model or the data cannot be read or do not fit, or the range of pixels is not known.
        UnsupportedError: The model holds what has no int8 form, or is quantized already.
    """
    if epochs is not None and method == "ptq":
        raise InputError("--epochs is of training with fake quantization; give --method qat, or leave --epochs out")
    place, source, told = Path(out), Path(model), telling(progress)
    check_file(place, force=force)
    chosen = targets.get(target)
    check_activations(activations, max_slowdown, method, {target: chosen})
    bits = Bits(activations, max_slowdown, weights_bits)
    check_weight_bits(bits, method, granularity, {target: chosen})
    network = open_source(source, size, signature)
    asked = Pixels.parse(pixels) if isinstance(pixels, str) else pixels
    settings = PostTraining(
        head=head,
        effort=effort,
        granularity=granularity or chosen.granularity,
        ranges=ranges,
        seed=seed,
        allow_float=frozenset(allow_float),
    )
    notes = list(network.notes)

    def stage(_name: str, share: float) -> None:
        told("quantize to int8", share)

    start_tensorflow()
    if is_arrays(data):
        if method != "ptq":
            raise InputError("training with fake quantization takes pictures; with arrays leave --method qat out")
        if calibration is not None or positive is not None:
            which = "--calibration" if calibration is not None else "--positive"
            raise InputError(f"{which} is of pictures, and {data} holds arrays, which calibrate; leave {which} out")
        graph, images = _arrays_lowered(network, Path(data), asked, chosen.passes)
        known, settings = asked, replace(settings, pixels=asked)
        with naming(source):
            quantized = quantize_bits(graph, images, settings, bits, progress=stage)
    else:
        dataset = open_dataset(data)
        yes = None if positive is None else dataset.class_index(positive)
        settled = settle_pixels(source, network, dataset, asked, positive=yes, notice=notes.append, progress=told)
        graph, known = lowered(network.graph, settled, chosen.passes, io)
        settings = replace(settings, pixels=known)
        images = _calibration_images(graph, known, dataset, calibration)
        with naming(source):
            if method == "ptq":
                quantized = quantize_bits(graph, images, settings, bits, progress=stage)
            else:
                quantized = _in_training(graph, known, images, dataset, settings, epochs or _EPOCHS, told)
    allowed = check_int8(quantized.graph, allow_float)
    original = _as_told(read_tflite(source), network.graph) if source.suffix == ".tflite" else network.graph
    finished = refitted(original, with_io(quantized.graph, io))
    check_kept(original, finished)
    content = write_tflite(finished)
    with naming(source):
        fidelity = _fidelity(graph, quantized.graph, images, original.signatures)
    deliver(place, content, force=force)
    return QuantizedModel(
        source=str(source),
        out=str(place),
        bytes=len(content),
        ops=len(quantized.graph.ops),
        float_ops=tuple(op.kind for op in allowed),
        pixels=None if known is None else str(known),
        pixels_origin=_origin(network, asked, known),
        steps=quantized.steps,
        settings=quantized.settings,
        notes=tuple(notes),
        outputs=fidelity,
        layers=quantized.layers,
    )


def lowered(graph: Graph, pixels: Pixels, passes: Sequence[str], io: IoDtype) -> tuple[Graph, Pixels]:
    """The graph after a target's passes, and what a picture is to it: preprocessing goes into the int8 input.

    With float ends the caller goes on preparing pictures as the float model wants them, so what prepares them stays.
    """
    if io == "float32":
        graph = run_passes(graph, ("fold-preprocessing", *passes))
    else:
        graph, pixels = pixel_input(graph, pixels)
        graph, pixels = shared_steps(run_passes(graph, tuple(passes)), pixels)
    return replace(graph, metadata=with_pixels(graph.metadata, pixels)), pixels


def lowered_for_arrays(graph: Graph, pixels: Pixels | None, passes: Sequence[str]) -> tuple[Graph, Pixels | None]:
    """The graph after a target's passes, which goes on taking what the arrays hold, and what was told of pixels.

    Preparation that fits the first convolution exactly goes into it; the int8 input is then a step of what arrays hold.
    """
    graph = run_passes(graph, ("fold-preprocessing", *passes))
    return (graph if pixels is None else replace(graph, metadata=with_pixels(graph.metadata, pixels))), pixels


def _as_told(file: Graph, network: Graph) -> Graph:
    """The graph of a file with the height and width at its ends that --size gave where the file leaves them open."""
    ends = {name for name in (*file.inputs, *file.outputs) if file.tensors[name].is_open and name in network.tensors}
    shaped = [
        replace(file.tensors[name], shape=network.tensors[name].shape, open_shape=network.tensors[name].open_shape)
        for name in ends
    ]
    return file.replaced(tensors=shaped) if shaped else file


def _origin(network: Float, asked: Pixels | None, known: Pixels | None) -> str | None:
    if known is None:
        return None
    if asked is not None:
        return "told"
    return "shown" if network.pixels is None else network.pixels_origin


def _fidelity(
    graph: Graph, int8: Graph, images: Samples, signatures: tuple[Signature, ...]
) -> tuple[OutputFidelity, ...]:
    """Every output of an int8 graph against float, by the name that programs call it; () where there is one."""
    if len(graph.outputs) < 2:
        return ()
    called = {tensor: result for signature in reversed(signatures) for result, tensor in signature.outputs}
    said = [all_outputs(side, images) for side in (graph, int8)]
    rows = []
    for name in graph.outputs:
        reference, made = (outputs[name] for outputs in said)
        head = head_of(graph, name)
        same, noise = agreement_of(head, reference, made), snr_db(reference, made)
        rows.append(OutputFidelity(called.get(name, name), head, same, noise))
    return tuple(rows)


def _arrays_lowered(network: Float, path: Path, asked: Pixels | None, passes: Sequence[str]) -> tuple[Graph, Samples]:
    """The graph after a target's passes, and arrays as it takes them, at most 200 samples."""
    graph = network.graph
    values = open_arrays(path).batch([graph.tensors[name] for name in graph.inputs], arguments_of(graph.signatures))
    return lowered_for_arrays(graph, asked, passes)[0], values[:_IMAGES]


def _calibration_images(graph: Graph, pixels: Pixels, dataset: Dataset, calibration: str | None) -> Samples:
    """The calibration set as the graph takes it: float32, (n, height, width, channels), or a `Batch`."""
    shape = graph.tensors[graph.inputs[0]].shape
    chosen = calibration_of(dataset) if calibration is None else open_calibration(calibration)
    if chosen.arrays is not None:
        return chosen.batch([graph.tensors[name] for name in graph.inputs], arguments_of(graph.signatures))
    return pixels.real(pixels.arranged(chosen.pixels((shape[1], shape[2]))))


def _in_training(
    graph: Graph,
    pixels: Pixels,
    images: Samples,
    dataset: Dataset,
    settings: PostTraining,
    epochs: int,
    told: Progress,
) -> Quantized:
    from mnedge import cache
    from mnedge.quantization.qat import quantize_qat

    shape = graph.tensors[graph.inputs[0]].shape
    trained, labels = dataset.pixels(dataset.split("train"), (shape[1], shape[2]))
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    fits = classes > 1 and len(labels) > 0 and int(labels.max()) < classes
    return quantize_qat(
        graph,
        pixels.real(pixels.arranged(trained)),
        labels if fits else None,
        settings,
        calibration=images,
        checkpoint_dir=cache.checkpoints("qat"),
        epochs=epochs,
        progress=told,
    )
