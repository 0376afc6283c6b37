"""A float .onnx, as torch.onnx.export, timm, tf2onnx and Keras write it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.formats.onnx_file import load_onnx
from mnedge.formats.onnx_metadata import labels_told, pixels_told
from mnedge.formats.onnx_read import graph_of, inputs_of
from mnedge.formats.pixels import with_pixels
from mnedge.passes._pass import run_passes
from mnedge.passes.fuse_quantization import int8_ends
from mnedge.sources._float import float_of
from mnedge.sources._heads import with_labels
from mnedge.sources._pixels import picture_order
from mnedge.sources._source import Float, Source, sized

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph

# The form in which the TFLite converter gives a graph: batch norm, activations and padding are parts of convolutions.
_PASSES = ("fold-constants", "fold-pad", "fuse-activation", "drop-identities")
# Makers whose networks take the mean and deviation of ImageNet, where a name says them.
_HINTS = ("torchvision", "timm", "imagenet")


def _accepts(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".onnx"


def read_int8(path: Path) -> Graph:
    """Reads a QDQ or QOperator int8 .onnx, as quantize_static writes it, scales and zero points as they are.

    Returns:
        An int8 graph with int8 ends, batch 1. Ops that the file leaves float stay between QUANTIZE and DEQUANTIZE.

    Raises:
        InputError: Damage, or open extents beside the batch.
        UnsupportedError: The file is float, or holds what no Graph holds.
    """
    file = load_onnx(path)
    shapes = [sized(entry.shape, entry.name, str(path), None) for entry in inputs_of(file)]
    graph = int8_ends(run_passes(graph_of(file, shapes)[0], (*_PASSES, "fuse-quantization")))
    if not any(tensor.dtype == "int8" and not tensor.is_constant for tensor in graph.tensors.values()):
        raise UnsupportedError(
            f"{path} is a float model; `mnedge quantize {path} -o NAME.int8.tflite` brings it to int8"
        )
    order = picture_order(graph)
    told = None if order is None else pixels_told(file.metadata, order)
    return graph if told is None else replace(graph, metadata=with_pixels(graph.metadata, told))


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    """Reads a float .onnx; see `Source.read`."""
    file = load_onnx(path)
    shapes = [sized(entry.shape, entry.name, str(path), size) for entry in inputs_of(file)]
    graph, notes = graph_of(file, shapes)
    graph = run_passes(graph, _PASSES)
    order = picture_order(graph)
    told = None if order is None else pixels_told(file.metadata, order)
    if told is not None:
        graph = replace(graph, metadata=with_pixels(graph.metadata, told))
    network = float_of(graph, str(path), notes)
    if network.pixels is None and order is not None:
        hint = next((word for word in _HINTS if word in path.name.lower()), None)
        if hint is not None:
            note = f"The name says {hint}, whose networks take --pixels imagenet; a name alone settles nothing"
            network = replace(network, notes=(*network.notes, note))
    labels = labels_told(file.metadata)
    if not labels:
        return network
    first = network.outputs[0]
    if first.shape[-1:] != (len(labels),) or first.head == "map":
        note = f"{len(labels)} labels in the file do not fit its output {first.name} of the shape {first.shape}"
        return replace(network, notes=(*network.notes, f"{note} and are ignored"))
    return with_labels(network, labels)


SOURCE = Source(what="a float .onnx", suffixes=(".onnx",), accepts=_accepts, read=_read)
