"""TFLite_Detection_PostProcess as ONNX nodes around NonMaxSuppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.formats.custom_options import decode_custom_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.formats._onnx_layout import Writer
    from mnedge.graph.graph import Op
    from mnedge.untyped import AnyArray


def detections(writer: Writer, op: Op) -> tuple[str, str, str, str]:
    """Values of the four outputs, of the shapes that TFLite's kernel gives them: unused rows are zeros.

    Args:
        writer: Writer that the nodes are added to.
        op: TFLite_Detection_PostProcess with suppression class by class (`use_regular_nms`).

    Raises:
        UnsupportedError: Options that NonMaxSuppression has no counterpart of.
    """
    options = decode_custom_options(op.options.get("custom_options", b""))
    anchors, scores = (writer.graph.tensors[str(op.inputs[place])] for place in (2, 1))
    if anchors.data is None or not options.get("use_regular_nms") or scores.shape[2] != options.get("num_classes"):
        raise UnsupportedError(
            f"{op.kind} that makes {op.outputs[0]} goes to ONNX with constant anchors, use_regular_nms and no "
            f"background class; its options are {options}"
        )
    corners = _corners(writer, writer.real(op.inputs[0]), anchors.real(), options)
    by_class = writer.node("Transpose", (writer.real(op.inputs[1]),), "scores/by_class", perm=[0, 2, 1])
    # ONNX takes what is above the threshold, TFLite what is at it too.
    threshold = np.nextafter(np.float32(options["nms_score_threshold"]), np.float32(-1))
    limits = (
        _int(writer, [int(options.get("detections_per_class", 100))], "most_per_class"),
        writer.values(np.array([options["nms_iou_threshold"]], np.float32), "overlap"),
        writer.values(np.array([threshold], np.float32), "least_score"),
    )
    chosen = writer.node("NonMaxSuppression", (corners, by_class, *limits), "chosen")
    return _ranked(writer, chosen, corners, by_class, int(options["max_detections"]))


def _corners(writer: Writer, codes: str, anchors: AnyArray, options: dict[str, bool | float | str]) -> str:
    """Decodes boxes (https://arxiv.org/abs/1512.02325, eq. 2 backwards): y1, x1, y2, x2, (1, anchors, 4)."""
    scales = [np.array([options[f"{one}_scale"] for one in pair], np.float32) for pair in ("yx", "hw")]
    axis = _int(writer, [2], "axis")
    centre, extent = (
        writer.node(
            "Slice", (codes, _int(writer, [start], "start"), _int(writer, [start + 2], "end"), axis), f"codes/{name}"
        )
        for start, name in ((0, "centre"), (2, "extent"))
    )
    extents = anchors[:, 2:].astype(np.float32)
    moved = writer.node("Mul", (centre, writer.values(extents / scales[0], "anchors/step")), "moved")
    centres = writer.node("Add", (moved, writer.values(anchors[:, :2].astype(np.float32), "anchors/centre")), "centres")
    logarithm = writer.node("Mul", (extent, writer.values(1 / scales[1], "anchors/scale")), "logarithm")
    grown = writer.node("Exp", (logarithm,), "grown")
    halves = writer.node("Mul", (grown, writer.values(extents / 2, "anchors/half")), "halves")
    ends = [writer.node(kind, (centres, halves), f"corners/{kind.lower()}") for kind in ("Sub", "Add")]
    return writer.node("Concat", ends, "corners", axis=2)


def _ranked(writer: Writer, chosen: str, corners: str, by_class: str, most: int) -> tuple[str, str, str, str]:
    """The surest ones first, and zeros behind them; `chosen` holds rows of batch, class and box."""
    first = _int(writer, [0], "first")
    classes, places = (
        writer.node("Gather", (chosen, writer.values(np.array(column, np.int64), "column")), f"chosen/{name}", axis=1)
        for column, name in ((1, "classes"), (2, "places"))
    )
    rows = writer.node("Gather", (writer.node("Squeeze", (corners, first), "corners/rows"), places), "chosen/corners")
    scores = writer.node("GatherND", (by_class, chosen), "chosen/scores")
    padded = [
        writer.node("Concat", (value, writer.values(np.zeros(shape, dtype), "padding")), f"{value}/padded", axis=0)
        for value, shape, dtype in (
            (rows, (most, 4), np.float32),
            (writer.node("Cast", (classes,), "chosen/classes/real", to=1), (most,), np.float32),
            (scores, (most,), np.float32),
        )
    ]
    best, order = writer.node_of_several("TopK", (padded[2], _int(writer, [most], "most")), ("best", "best/places"))
    found = [writer.node("Gather", (value, order), f"{value}/ranked") for value in padded[:2]]
    is_found = writer.node("Greater", (best, writer.values(np.array(0, np.float32), "zero")), "is_found")
    numbers = writer.node("Cast", (is_found,), "is_found/real", to=1)
    count = writer.node("ReduceSum", (numbers, first), "count", keepdims=1)
    boxes, labels, ranked = (writer.node("Unsqueeze", (value, first), f"{value}/batch") for value in (*found, best))
    return boxes, labels, ranked, count


def _int(writer: Writer, numbers: Sequence[int], hint: str) -> str:
    return writer.values(np.array(numbers, np.int64), hint)
