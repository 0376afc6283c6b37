"""TFLite Metadata of a segmenter: what MediaPipe's ImageSegmenter reads beside a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers

from mnedge.bundles._metadata import (
    Description,
    label_file,
    picture,
    root_table,
    stats,
    table,
    vector,
    with_labels,
)
from mnedge.errors import InputError
from mnedge.formats.tflite_read import parse_tflite

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

_CUSTOM = "SEGMENTER_METADATA"
# image_segmenter_metadata_schema.fbs: the scores are logits, and ImageSegmenter makes shares of them.
_CUSTOM_IDENTIFIER = b"V001"
_SOFTMAX = 2
_GRAYSCALE, _IMAGE_PROPERTIES = 2, 2
_HEIGHT_AND_WIDTH = (1, 2)


def with_segmenter_metadata(tflite: bytes, description: Description) -> bytes:
    """Adds metadata and labels to a segmenter.

    Args:
        tflite: Input uint8, (1, height, width, 3), RGB; output uint8 or float32, (1, H, W, labels), a score
            for each class at each pixel.
        description: Content of the metadata.

    Returns:
        The .tflite, which is a ZIP of labels.txt as well.

    Raises:
        InputError: The output is no such map, or there are more or fewer labels than classes.
    """
    graph = parse_tflite(tflite, description.name)
    _check(graph, description)
    return with_labels(graph, segmenter_metadata_bytes(description), description.labels)


def segmenter_metadata_bytes(description: Description) -> bytes:
    """The metadata's FlatBuffer, root table ModelMetadata."""
    builder = flatbuffers.Builder(1 << 10)
    inputs, outputs = vector(builder, [picture(builder, description)]), vector(builder, [_masks(builder)])
    options = builder.CreateByteVector(_options())
    custom = table(builder, {0: builder.CreateString(_CUSTOM), 1: options})
    subgraph = table(builder, {2: inputs, 3: outputs, 9: vector(builder, [custom])})
    return root_table(builder, description, subgraph)


def _check(graph: Graph, description: Description) -> None:
    output = graph.tensors[graph.outputs[0]]
    is_map = len(output.shape) == 4 and output.dtype in ("uint8", "float32")
    if len(graph.outputs) != 1 or not is_map:
        shape = "x".join(str(extent) for extent in output.shape)
        raise InputError(
            f"{description.name} gives {len(graph.outputs)} outputs, the first {output.dtype} {shape}; an image "
            "segmenter gives a score for each class at each pixel: build it with argmax outside the file"
        )
    if output.shape[3] != len(description.labels):
        raise InputError(
            f"{description.name} tells {output.shape[3]} classes apart, but labels.txt has "
            f"{len(description.labels)} lines"
        )


def _masks(builder: flatbuffers.Builder) -> int:
    """TensorMetadata of the masks: a grey picture for each class, named by the labels."""
    grey = table(builder, {}, enums={0: _GRAYSCALE})
    first, last = _HEIGHT_AND_WIDTH
    extent = table(builder, {}, uints={0: first, 1: last})
    content = table(builder, {1: grey, 2: extent}, enums={0: _IMAGE_PROPERTIES})
    fields = {
        0: builder.CreateString("segmentation masks"),
        1: builder.CreateString("Score of each class at each pixel"),
        3: content,
        5: stats(builder),
        6: vector(builder, [label_file(builder)]),
    }
    return table(builder, fields)


def _options() -> bytes:
    """The FlatBuffer within: root table ImageSegmenterOptions."""
    builder = flatbuffers.Builder(64)
    builder.Finish(table(builder, {}, enums={0: _SOFTMAX}), file_identifier=_CUSTOM_IDENTIFIER)
    return bytes(builder.Output())
