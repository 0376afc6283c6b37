"""The options of custom ops, which a .tflite holds as a FlexBuffer; nothing in them is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.graph.graph import Graph, Op

DETECTION = "TFLite_Detection_PostProcess"
_LARGEST_BYTES = 1 << 16
_SCALARS = (bool, int, float, str)


def decode_custom_options(data: bytes) -> dict[str, bool | float | str]:
    """Reads a FlexBuffer that is a map of names to numbers, flags and texts (https://flatbuffers.dev/flexbuffers).

    Args:
        data: `custom_options` of a custom op.

    Returns:
        The map in the order of the file, float32 numbers with the digits that they have; {} for other content, and
        where the bytes are damaged.
    """
    from flatbuffers import flexbuffers

    if not 3 <= len(data) <= _LARGEST_BYTES:
        return {}
    try:
        root = flexbuffers.GetRoot(data)
        found = root.AsMap.Value if root.IsMap else {}
    except Exception:  # noqa: BLE001 - the decoder has no error of its own: damage ends in any of Python's
        return {}
    return {
        str(name): float(f"{value:.7g}") if isinstance(value, float) else value
        for name, value in found.items()
        if isinstance(value, _SCALARS)
    }


def encode_custom_options(options: Mapping[str, bool | float | str]) -> bytes:
    """Writes a FlexBuffer that is a map of names to numbers and flags, floats as float32 as the converter does."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in sorted(options.items()):
            builder.Key(name)
            if isinstance(value, float):
                builder.Float(value, byte_width=4)
            else:
                builder.Add(value)
    return bytes(builder.Finish())


def detection_shapes(op: Op) -> list[tuple[int, ...]]:
    """Shapes that TFLite_Detection_PostProcess gives its outputs when it runs: boxes, classes, scores, count.

    A file leaves them open. The kernel keeps `max_detections` boxes with `max_classes_per_detection` classes each.

    Returns:
        One shape per output; [] where the options do not say.
    """
    options = decode_custom_options(op.options.get("custom_options", b""))
    count = options.get("max_detections")
    if op.kind != DETECTION or not isinstance(count, int) or len(op.outputs) != 4:
        return []
    count *= int(options.get("max_classes_per_detection", 1))
    return [(1, count, 4), (1, count), (1, count), (1,)]


def detection_order(graph: Graph) -> tuple[int, ...]:
    """Returns the places of boxes, classes, scores and count among the outputs: exporters sort them by name, too.

    Returns:
        Four places; () where the outputs are not those of one TFLite_Detection_PostProcess.
    """
    for op in graph.ops:
        if op.kind == DETECTION and sorted(op.outputs) == sorted(graph.outputs):
            return tuple(graph.outputs.index(name) for name in op.outputs)
    return ()
