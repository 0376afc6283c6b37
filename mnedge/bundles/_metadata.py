"""TFLite Metadata: what MediaPipe Tasks and ML Kit read beside a model.

A FlatBuffer of its own (metadata_schema.fbs, identifier M001) in the model's metadata buffer TFLITE_METADATA, and the
labels as a ZIP behind the model. The tables are written field by field: plain `flatbuffers` is enough for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np

from mnedge.errors import InputError
from mnedge.formats.tflite_metadata import BUFFER, IMAGE_PROPERTIES, NORMALIZATION_OPTIONS, RGB, TENSOR_AXIS_LABELS
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph
    from mnedge.pixels import Pixels

LABELS = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"
FEATURE_PROPERTIES = 1


@dataclass(frozen=True)
class Description:
    """Metadata of a classifier.

    Attributes:
        name: Name of the model.
        text: Purpose of the model.
        version: Version of the model.
        author: Author of the model.
        license: Licence of the weights.
        size: Height and width of the input in pixels.
        pixels: Pixels of a picture at the input.
        labels: Class names, one an output.
    """

    name: str
    text: str
    version: str
    author: str
    license: str
    size: tuple[int, int]
    pixels: Pixels
    labels: tuple[str, ...]


def with_metadata(tflite: bytes, description: Description) -> bytes:
    """Adds metadata and labels to a classifier with uint8 ends.

    Args:
        tflite: Input uint8, (1, height, width, 3), RGB; output uint8, (1, labels).
        description: Content of the metadata.

    Returns:
        The .tflite, which is a ZIP of labels.txt as well.

    Raises:
        InputError: There are more or fewer labels than outputs.
    """
    graph = parse_tflite(tflite, description.name)
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    if classes != len(description.labels):
        raise InputError(f"{description.name} has {classes} outputs, but labels.txt {len(description.labels)} lines")
    return with_labels(graph, metadata_bytes(description), description.labels)


def with_labels(graph: Graph, metadata: bytes, labels: Sequence[str]) -> bytes:
    """The .tflite of a graph with the FlatBuffer of its metadata, and with labels.txt in a ZIP behind it."""
    text = "".join(f"{label}\n" for label in labels).encode()
    return with_buffer(replace(graph, associated={LABELS: text}), metadata)


def with_buffer(graph: Graph, metadata: bytes) -> bytes:
    """The .tflite of a graph with the FlatBuffer of its metadata."""
    return write_tflite(replace(graph, metadata={**graph.metadata, BUFFER: metadata}))


def metadata_bytes(description: Description) -> bytes:
    """The metadata's FlatBuffer, root table ModelMetadata."""
    builder = flatbuffers.Builder(1 << 10)
    inputs, outputs = vector(builder, [picture(builder, description)]), vector(builder, [_output(builder)])
    return root_table(builder, description, table(builder, {2: inputs, 3: outputs}))


def root_table(builder: flatbuffers.Builder, description: Description, subgraph: int) -> bytes:
    """Closes the FlatBuffer with ModelMetadata of one subgraph."""
    root = table(
        builder,
        {
            0: builder.CreateString(description.name),
            1: builder.CreateString(description.text),
            2: builder.CreateString(description.version),
            3: vector(builder, [subgraph]),
            4: builder.CreateString(description.author),
            5: builder.CreateString(description.license),
            7: builder.CreateString(_PARSER),
        },
    )
    builder.Finish(root, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def picture(builder: flatbuffers.Builder, description: Description) -> int:
    """TensorMetadata of an RGB picture.

    The normalization is the float network's, (pixel - mean) / deviation. The steps of uint8 ends contain it, so that
    MediaPipe and ML Kit, which normalize for float inputs only, hand the pixels over as they are.
    """
    height, width = description.size
    size = table(builder, {}, uints={0: width, 1: height})
    image = table(builder, {1: size}, enums={0: RGB})
    content = table(builder, {1: image}, enums={0: IMAGE_PROPERTIES})
    mean, deviation = (_floats(builder, values) for values in (description.pixels.mean, description.pixels.deviation))
    options = table(builder, {0: mean, 1: deviation})
    unit = table(builder, {1: options}, enums={0: NORMALIZATION_OPTIONS})
    fields = {
        0: builder.CreateString("image"),
        1: builder.CreateString("RGB picture, 0 to 255"),
        3: content,
        4: vector(builder, [unit]),
        5: stats(builder),
    }
    return table(builder, fields)


def _output(builder: flatbuffers.Builder) -> int:
    """TensorMetadata of the scores, with the labels of its last axis."""
    content = table(builder, {1: table(builder, {})}, enums={0: FEATURE_PROPERTIES})
    labels = label_file(builder)
    fields = {
        0: builder.CreateString("probability"),
        1: builder.CreateString("Probability of each class"),
        3: content,
        5: stats(builder),
        6: vector(builder, [labels]),
    }
    return table(builder, fields)


def label_file(builder: flatbuffers.Builder, kind: int = TENSOR_AXIS_LABELS) -> int:
    """AssociatedFile of the labels, of a tensor's last axis or of its values."""
    names = {0: builder.CreateString(LABELS), 1: builder.CreateString("Class names, one a class")}
    return table(builder, names, enums={2: kind})


def stats(builder: flatbuffers.Builder) -> int:
    return table(builder, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})


def table(
    builder: flatbuffers.Builder,
    offsets: dict[int, int],
    *,
    enums: dict[int, int] | None = None,
    uints: dict[int, int] | None = None,
    reals: dict[int, float] | None = None,
) -> int:
    """Writes a table from its fields by number: offsets to other objects, enumerations and flags, uint32, float32."""
    builder.StartObject(max([*offsets, *(enums or {}), *(uints or {}), *(reals or {})], default=-1) + 1)
    for slot, real in (reals or {}).items():
        builder.PrependFloat32Slot(slot, real, 0.0)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (uints or {}).items():
        builder.PrependUint32Slot(slot, value, 0)
    for slot, value in (enums or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    return int(builder.EndObject())


def vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    return int(builder.CreateNumpyVector(np.asarray(values, np.float32)))
