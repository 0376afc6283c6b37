"""Makes a Float of the graph of any source: float32 ends, constant values, and the facts that the graph shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.formats.tflite_metadata import GREY, labels_of, metadata_of
from mnedge.graph.graph import constant
from mnedge.graph.ops import LAYERS
from mnedge.passes.fold_shapes import apply as fold_shapes
from mnedge.pixels import CHANNELS, METADATA, Order, Pixels
from mnedge.sources._family import family_of_graph
from mnedge.sources._heads import outputs_of, with_labels
from mnedge.sources._pixels import picture_order, pixels_of_graph
from mnedge.sources._source import Float, Origin
from mnedge.sources._turned import without_turn

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op, Tensor

_WEIGHTED = (*LAYERS, "BATCH_MATMUL")
_INT8_STEP_OF_PIXEL_0 = -128


def float_of(graph: Graph, source: str, notes: tuple[str, ...] = (), first: Graph | None = None) -> Float:
    """Brings a graph to float32 and reads from it all that it shows.

    float16 constants, and int8 ones that only store weights, become float32 constants; CAST, QUANTIZE and DEQUANTIZE at
    the ends go, so that the ends are float32 under their own names. Channels that are turned around first go into the
    first convolutions.

    Args:
        graph: Batch 1, every extent known.
        source: The file, in errors.
        notes: Changes that reading has made so far.
        first: The arithmetic behind the inputs before conversion, which may have folded it.

    Raises:
        UnsupportedError: The graph computes in integers already.
        InputError: Its metadata or labels are damaged.
    """
    graph, more = _with_float_constants(graph)
    graph, taken = _with_float_inputs(graph)
    graph = without_turn(fold_shapes(_with_float_outputs(graph)))
    _check_float(graph, source)
    pixels, origin = _pixels(graph, taken or (None if first is None else pixels_of_graph(first)))
    family = family_of_graph(graph)
    network = Float(
        graph,
        pixels,
        origin,
        outputs_of(graph),
        family=family and family[0],
        alpha=family and family[1],
        notes=(*notes, *more),
    )
    labels, place = labels_of(graph)
    if not labels:
        return network
    values = network.outputs[place].shape[-1:]
    if values != (len(labels),) and network.outputs[place].head != "sigmoid":
        note = f"{len(labels)} labels in the file do not fit the {values[0] if values else 1} values of its output"
        return replace(network, notes=(*network.notes, f"{note} and are ignored"))
    return with_labels(network, labels, place=place)


def _with_float_constants(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Constants as float32, and a note on those that were stored in int8."""
    made: dict[str, Tensor] = {}
    ops: list[Op] = []
    rounded = 0
    for op in graph.ops:
        source = made.get(str(op.inputs[0])) or graph.tensors.get(str(op.inputs[0])) if op.inputs else None
        is_cast = op.kind == "CAST" and graph.tensors[op.outputs[0]].dtype == "float32"
        if source is not None and source.is_constant and (op.kind == "DEQUANTIZE" or is_cast):
            rounded += source.quantization is not None
            made[op.outputs[0]] = constant(op.outputs[0], source.real().reshape(graph.tensors[op.outputs[0]].shape))
        else:
            ops.append(op)
    graph = graph.replaced(tensors=made.values(), ops=ops) if made else graph
    stored = {
        name
        for op in graph.ops
        if op.kind in _WEIGHTED and graph.tensors[op.outputs[0]].dtype == "float32"
        for name in op.inputs[1:]
        if name is not None and graph.tensors[name].is_constant and graph.tensors[name].quantization is not None
    }
    tensors = [constant(name, graph.tensors[name].real()) for name in stored]
    rounded += len(stored)
    halves = [tensor for tensor in graph.tensors.values() if tensor.is_constant and tensor.dtype == "float16"]
    tensors += [constant(tensor.name, tensor.real()) for tensor in halves]
    words = f"{rounded} constants are stored in int8 (dynamic-range quantization); float32 weights carry their rounding"
    return graph.replaced(tensors=tensors) if tensors else graph, (words,) if rounded else ()


def _with_float_inputs(graph: Graph) -> tuple[Graph, Pixels | None]:
    """The graph without a CAST or DEQUANTIZE right behind its inputs, and the pixels that 8-bit inputs prove."""
    pixels = None
    order = picture_order(graph)
    for name in graph.inputs:
        tensor, readers = graph.tensors[name], graph.consumers()[name]
        if tensor.dtype == "float32" or not readers:
            continue
        ends = [op for op in readers if op.kind in ("CAST", "DEQUANTIZE")]
        if len(ends) != len(readers) or any(graph.tensors[op.outputs[0]].dtype != "float32" for op in ends):
            continue
        if order is not None and len(tensor.shape) == 4:
            pixels = _pixels_of_steps(tensor, order)
        made = {op.outputs[0]: name for op in ends}
        ops = [op.with_inputs(made) for op in graph.ops if op not in ends]
        outputs = [made.get(output, output) for output in graph.outputs]
        graph = graph.replaced(tensors=[replace(tensor, dtype="float32", quantization=None)], ops=ops, outputs=outputs)
    return graph, pixels


def _pixels_of_steps(tensor: Tensor, order: Order) -> Pixels | None:
    """What an 8-bit input is to the float32 values behind it: uint8 holds the pixel, int8 the pixel minus 128."""
    quantization = tensor.quantization
    if quantization is None:
        return Pixels((1.0,), (0.0,), order) if tensor.dtype == "uint8" else None
    if tensor.dtype not in ("uint8", "int8") or quantization.axis is not None:
        return None
    scale = float(quantization.scale[0])
    first = 0 if tensor.dtype == "uint8" else _INT8_STEP_OF_PIXEL_0
    return Pixels((scale,), (scale * (first - int(quantization.zero_point[0])),), order) if scale > 0 else None


def _with_float_outputs(graph: Graph) -> Graph:
    """The graph without QUANTIZE or a narrowing CAST right before its outputs; these keep their names."""
    producers = graph.producers()
    for name in graph.outputs:
        op = producers.get(name)
        if op is None or op.kind not in ("QUANTIZE", "CAST") or graph.consumers()[name]:
            continue
        source = graph.tensors[str(op.inputs[0])]
        is_half = op.kind == "CAST" and graph.tensors[name].dtype == "float16"
        if source.dtype != "float32" or source.name not in producers or not (op.kind == "QUANTIZE" or is_half):
            continue
        if source.name in graph.outputs:
            continue
        renamed = {source.name: name}
        ops = [
            replace(item.with_inputs(renamed), outputs=tuple(renamed.get(made, made) for made in item.outputs))
            for item in graph.ops
            if item is not op
        ]
        graph = graph.replaced(tensors=[replace(graph.tensors[name], dtype="float32", quantization=None)], ops=ops)
        producers = graph.producers()
    return graph


def _check_float(graph: Graph, source: str) -> None:
    for op in graph.ops:
        for name in op.outputs:
            tensor = graph.tensors[name]
            if tensor.quantization is not None and tensor.dtype in ("int8", "uint8", "int16"):
                raise UnsupportedError(
                    f"{source} is quantized already: {op.kind} makes {tensor.dtype} values ({name[:80]}). Give the "
                    "float model that it was made from; `mnedge optimize --int8` brings uint8 to int8, and inspect, "
                    "validate, bench and compile take it as it is"
                )


def _pixels(graph: Graph, taken: Pixels | None) -> tuple[Pixels | None, Origin]:
    """Pixels from the metadata, from the dtype of the input, or from the first ops."""
    order = picture_order(graph)
    if METADATA in graph.metadata:
        return Pixels.from_bytes(graph.metadata[METADATA]), "metadata"
    if order is not None:
        for name, entry in zip(graph.inputs, metadata_of(graph).inputs, strict=False):
            if entry.is_picture or len(graph.tensors[name].shape) == 4:
                told = _normalization(entry.mean, entry.std, "GREY" if entry.color_space == GREY else order)
                if told is not None:
                    return told, "metadata"
    shown = taken or pixels_of_graph(graph)
    return shown, "unknown" if shown is None else "graph"


def _normalization(mean: tuple[float, ...], std: tuple[float, ...], order: Order) -> Pixels | None:
    """Pixels from NormalizationOptions; None where they are absent or no normalization."""
    values = np.array([*mean, *std])
    if not mean or len(mean) != len(std) or not np.all(np.isfinite(values)) or min(std) <= 0:
        return None
    return Pixels.normalized(mean, std, order) if len(mean) in (1, CHANNELS[order]) else None
