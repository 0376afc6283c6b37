"""Post-processing inside the file: from raw boxes and scores to objects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.data.anchors import CENTRE_SCALE, EXTENT_SCALE
from mnedge.data.detections import METADATA, of_metadata
from mnedge.formats.custom_options import DETECTION, encode_custom_options
from mnedge.graph.graph import Op, Tensor, constant

if TYPE_CHECKING:
    from mnedge.data.detections import Decoding
    from mnedge.graph.graph import Graph

BOXES, SCORES = "boxes", "scores"
# As TensorFlow's object detection names them, and as MediaPipe and Coral read them: by their order.
OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "detection_count")


def apply(graph: Graph) -> Graph:
    """Puts TFLite_Detection_PostProcess behind the raw outputs of a detector.

    Exact against `data.detections.detect`, whose anchors and limits it takes from the graph's metadata. The kernel
    computes in float32, so an int8 graph gets a DEQUANTIZE for each branch, which keeps its own range up to there;
    all before it stays one delegate partition. A graph that is no detector, or has its post-processing, is left alone.
    """
    if METADATA not in graph.metadata or set(graph.outputs) != {BOXES, SCORES}:
        return graph
    decoding = of_metadata(graph.metadata[METADATA])
    tensors, ops = [], []
    real = []
    for name in (BOXES, SCORES):
        tensor = graph.tensors[name]
        if tensor.quantization is not None:
            tensor = replace(tensor, name=graph.fresh_name(f"{name}/real"), dtype="float32", quantization=None)
            tensors.append(tensor)
            ops.append(Op("DEQUANTIZE", (name,), (tensor.name,)))
        real.append(tensor.name)
    anchors = constant(graph.fresh_name("anchors"), decoding.anchors)
    shapes = ((1, decoding.most, 4), (1, decoding.most), (1, decoding.most), (1,))
    found = [Tensor(name, shape, "float32") for name, shape in zip(OUTPUTS, shapes, strict=True)]
    classes = graph.tensors[SCORES].shape[2]
    options = {"custom_options": encode_custom_options(_options(decoding, classes))}
    ops.append(Op(DETECTION, (*real, anchors.name), OUTPUTS, options))
    return graph.replaced(tensors=[*tensors, anchors, *found], ops=[*graph.ops, *ops], outputs=OUTPUTS)


def _options(decoding: Decoding, classes: int) -> dict[str, int | float | bool]:
    return {
        "max_detections": decoding.most,
        "max_classes_per_detection": 1,
        "detections_per_class": decoding.most,
        # Suppression class by class, as the reference does it: of two classes in one place both may be right.
        "use_regular_nms": True,
        "nms_score_threshold": decoding.least_score,
        "nms_iou_threshold": decoding.overlap,
        "num_classes": classes,
        "y_scale": CENTRE_SCALE,
        "x_scale": CENTRE_SCALE,
        "h_scale": EXTENT_SCALE,
        "w_scale": EXTENT_SCALE,
    }
