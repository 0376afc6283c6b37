"""TFLite Metadata of a detector: what MediaPipe's ObjectDetector reads beside a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from mnedge.bundles._metadata import (
    FEATURE_PROPERTIES,
    Description,
    label_file,
    picture,
    root_table,
    table,
    vector,
    with_labels,
)
from mnedge.data.anchors import CENTRE_SCALE, EXTENT_SCALE
from mnedge.data.detections import METADATA, of_metadata
from mnedge.errors import InputError
from mnedge.formats.custom_options import detection_order
from mnedge.formats.tflite_metadata import TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS
from mnedge.formats.tflite_read import parse_tflite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph

_CUSTOM, _CUSTOM_IDENTIFIER = "DETECTOR_METADATA", b"V001"
_BOX_PROPERTIES = 3
_BOUNDARIES = 1
# Top, left, bottom, right, where the schema's own order is left, top, right, bottom.
_ORDER = (1, 0, 3, 2)
_POSTPROCESSED = ("location", "category", "score", "number of detections")
_COORDINATES = 4


def with_detector_metadata(tflite: bytes, description: Description) -> bytes:
    """Adds metadata and labels to a detector.

    With post-processing inside, ObjectDetector takes the four outputs as they are; without, it decodes the boxes by
    the anchors, which the metadata carries, and suppresses overlaps itself.

    Args:
        tflite: Input uint8, (1, height, width, 3), RGB; outputs boxes, classes, scores and count of
            TFLite_Detection_PostProcess, or scores (1, anchors, labels) and boxes (1, anchors, 4).
        description: Content of the metadata.

    Returns:
        The .tflite, which is a ZIP of labels.txt as well.

    Raises:
        InputError: The outputs are neither, or there are more or fewer labels than classes.
    """
    graph = parse_tflite(tflite, description.name)
    return with_labels(graph, detector_metadata_bytes(graph, description), description.labels)


def detector_metadata_bytes(graph: Graph, description: Description) -> bytes:
    """The metadata's FlatBuffer, root table ModelMetadata."""
    builder = flatbuffers.Builder(1 << 16)
    inputs = vector(builder, [picture(builder, description)])
    if len(graph.outputs) == len(_POSTPROCESSED):
        order = detection_order(graph) or tuple(range(len(_POSTPROCESSED)))
        return root_table(builder, description, _postprocessed(builder, inputs, order))
    anchors = _anchors(graph, description)
    return root_table(builder, description, _raw(builder, inputs, anchors, len(description.labels)))


def _anchors(graph: Graph, description: Description) -> NDArray[np.float32]:
    """Centre y, centre x, height and width of each anchor, float32 (anchors, 4), that raw outputs go with."""
    shapes = [graph.tensors[name].shape for name in graph.outputs]
    told = graph.metadata.get(METADATA)
    is_raw = len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[1][2] == _COORDINATES
    if not is_raw or told is None:
        shown = ", ".join("x".join(map(str, shape)) for shape in shapes)
        raise InputError(
            f"{description.name} is no detector: its outputs are {shown}; they are scores and boxes with the anchors "
            "in the file, or boxes, classes, scores and count"
        )
    if shapes[0][2] != len(description.labels):
        raise InputError(
            f"{description.name} tells {shapes[0][2]} classes apart, but labels.txt has {len(description.labels)} lines"
        )
    return of_metadata(told).anchors


def _postprocessed(builder: flatbuffers.Builder, inputs: int, order: tuple[int, ...]) -> int:
    """SubGraphMetadata of the four outputs, each at its place in the file; the first three belong together."""
    outputs = [
        _location(builder, pairs=True),
        _tensor(builder, _POSTPROCESSED[1], labels=TENSOR_VALUE_LABELS),
        _tensor(builder, _POSTPROCESSED[2]),
        _tensor(builder, _POSTPROCESSED[3], pairs=False),
    ]
    names = vector(builder, [builder.CreateString(name) for name in _POSTPROCESSED[:3]])
    group = table(builder, {0: builder.CreateString("detection_result"), 1: names})
    placed = [output for _, output in sorted(zip(order, outputs, strict=True))]
    return table(builder, {2: inputs, 3: vector(builder, placed), 8: vector(builder, [group])})


def _raw(builder: flatbuffers.Builder, inputs: int, anchors: NDArray[np.float32], classes: int) -> int:
    """SubGraphMetadata of scores and boxes, with the anchors in a FlatBuffer of their own."""
    outputs = [_tensor(builder, "score", labels=TENSOR_AXIS_LABELS, pairs=False), _location(builder, pairs=False)]
    data = builder.CreateByteVector(_options(anchors, classes))
    custom = table(builder, {0: builder.CreateString(_CUSTOM), 1: data})
    return table(builder, {2: inputs, 3: vector(builder, outputs), 9: vector(builder, [custom])})


def _location(builder: flatbuffers.Builder, *, pairs: bool) -> int:
    order = builder.CreateNumpyVector(np.array(_ORDER, np.uint32))
    properties = table(builder, {0: order}, enums={1: _BOUNDARIES})
    content = _content(builder, properties, _BOX_PROPERTIES, pairs=pairs)
    fields = {0: builder.CreateString(_POSTPROCESSED[0]), 1: builder.CreateString("Boxes"), 3: content}
    return table(builder, fields)


def _tensor(builder: flatbuffers.Builder, name: str, *, labels: int = 0, pairs: bool = True) -> int:
    content = _content(builder, table(builder, {}), FEATURE_PROPERTIES, pairs=pairs)
    fields = {0: builder.CreateString(name), 1: builder.CreateString(f"The {name}"), 3: content}
    if labels:
        fields[6] = vector(builder, [label_file(builder, labels)])
    return table(builder, fields)


def _content(builder: flatbuffers.Builder, properties: int, kind: int, *, pairs: bool) -> int:
    """Content, one element for each detection where `pairs`: the second dimension counts them."""
    fields = {1: properties}
    if pairs:
        fields[2] = table(builder, {}, uints={0: 2, 1: 2})
    return table(builder, fields, enums={0: kind})


def _options(anchors: NDArray[np.float32], classes: int) -> bytes:
    """The FlatBuffer within, object_detector_metadata_schema.fbs: anchors, and how the boxes are coded."""
    builder = flatbuffers.Builder(1 << 16)
    rows = [
        table(builder, {}, reals={0: float(x), 1: float(y), 2: float(width), 3: float(height)})
        for y, x, height, width in anchors
    ]
    fixed = table(builder, {0: vector(builder, rows)})
    placed = table(builder, {0: fixed})
    decoding = table(
        builder,
        {},
        # There are no keypoints; each would have two values, which the reader wants to be told.
        uints={0: classes, 1: len(anchors), 2: _COORDINATES, 3: _COORDINATES, 5: 2},
        reals={6: CENTRE_SCALE, 7: CENTRE_SCALE, 8: EXTENT_SCALE, 9: EXTENT_SCALE},
        # Sizes are exponentials; scores are shares already.
        enums={10: 1},
    )
    builder.Finish(table(builder, {1: placed, 2: decoding}), file_identifier=_CUSTOM_IDENTIFIER)
    return bytes(builder.Output())
