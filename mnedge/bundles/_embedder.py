"""TFLite Metadata of an embedding: what MediaPipe's ImageEmbedder reads beside a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flatbuffers

from mnedge.bundles._metadata import (
    FEATURE_PROPERTIES,
    Description,
    picture,
    root_table,
    table,
    vector,
    with_buffer,
)
from mnedge.errors import InputError
from mnedge.formats.tflite_read import parse_tflite

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def with_embedder_metadata(tflite: bytes, description: Description) -> bytes:
    """Adds metadata to an embedding model, which has no labels.

    Args:
        tflite: Input uint8, (1, height, width, 3), RGB; output uint8 or float32, (1, dimensions).
        description: Content of the metadata.

    Returns:
        The .tflite.

    Raises:
        InputError: The output is no vector.
    """
    graph = parse_tflite(tflite, description.name)
    _check(graph, description)
    return with_buffer(graph, embedder_metadata_bytes(description))


def embedder_metadata_bytes(description: Description) -> bytes:
    """The metadata's FlatBuffer, root table ModelMetadata."""
    builder = flatbuffers.Builder(1 << 10)
    inputs = vector(builder, [picture(builder, description)])
    content = table(builder, {1: table(builder, {})}, enums={0: FEATURE_PROPERTIES})
    fields = {
        0: builder.CreateString("embedding"),
        1: builder.CreateString("Vector of length 1; the dot product of two is their cosine"),
        3: content,
    }
    outputs = vector(builder, [table(builder, fields)])
    return root_table(builder, description, table(builder, {2: inputs, 3: outputs}))


def _check(graph: Graph, description: Description) -> None:
    output = graph.tensors[graph.outputs[0]]
    is_vector = len(graph.outputs) == 1 and sum(extent > 1 for extent in output.shape) == 1
    if not is_vector or output.dtype not in ("uint8", "float32"):
        shape = "x".join(str(extent) for extent in output.shape)
        raise InputError(
            f"{description.name} gives {len(graph.outputs)} outputs, the first {output.dtype} {shape}; an image "
            "embedder gives one vector for a picture"
        )
