"""Post-processing inside the file: from the scores of each pixel to its class."""

from __future__ import annotations

import numpy as np

from mnedge.graph.graph import Graph, Op, Tensor, constant

LOGITS, CLASSES = "logits", "classes"
# TensorType of the schema.
_INT32 = 2


def apply(graph: Graph) -> Graph:
    """Puts an ARG_MAX behind the scores of a segmentation: int32 (1, H, W), of two equal scores the lower class.

    Exact, in int8 too: one scale holds for all classes. All before it stays one delegate partition. A graph that gives
    no such scores is left alone.
    """
    if graph.outputs != (LOGITS,) or len(graph.tensors[LOGITS].shape) != 4:
        return graph
    axis = constant(graph.fresh_name("class_axis"), np.array(3, np.int32))
    classes = Tensor(graph.fresh_name(CLASSES), graph.tensors[LOGITS].shape[:3], "int32")
    found = Op("ARG_MAX", (LOGITS, axis.name), (classes.name,), {"output_type": _INT32})
    return graph.replaced(tensors=[axis, classes], ops=[*graph.ops, found], outputs=[classes.name])
