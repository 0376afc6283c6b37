"""Nodes whose inputs are all known, computed now by onnx's reference evaluator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from mnedge.formats._onnx_values import Node, Reading
    from mnedge.untyped import AnyArray

_MOST_VALUES = 1 << 26
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


def array_of(node: Node, tensor: onnx.TensorProto) -> AnyArray:
    """The values of a constant."""
    from onnx import numpy_helper

    if math.prod(tensor.dims) > _MOST_VALUES << 3 or any(extent < 0 for extent in tensor.dims):
        node.damaged(f"a constant has the shape {tuple(tensor.dims)}")
    try:
        array: AnyArray = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, IndexError) as exc:
        node.damaged(f"the constant {tensor.name[:80]} does not hold what it says ({exc})")
    if array.dtype in (np.float64, np.float16) or str(array.dtype) == "bfloat16":
        array = array.astype(np.float32)
    return array


def constant_of(node: Node) -> Known:
    """The value of a Constant node."""
    for name, value in node.attributes.items():
        if name == "value":
            return Known(array_of(node, value))
        if name in ("value_float", "value_floats"):
            return Known(np.array(value, np.float32))
        if name in ("value_int", "value_ints"):
            return Known(np.array(value, np.int64))
    return node.refuse("its value is sparse or text", "Export the model with plain constants")


def folded(reading: Reading, node: Node, message: onnx.NodeProto) -> Sequence[Known]:
    """Folds a node of constants.

    Args:
        reading: Its inputs are in the values.
        node: The node; none of its inputs is computed.
        message: As the file has it.
    """
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.kind in _RANDOM:
        node.refuse("its values are random", "Export the model in inference mode")
    feeds = {}
    for place, name in enumerate(node.inputs):
        array = reading.known(node, place)
        if array is not None:
            feeds[name] = array
    _check_size(node, list(feeds.values()))
    ends = [helper.make_value_info(name, helper.make_tensor_type_proto(
        helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)) for name, array in feeds.items()]  # fmt: skip
    outputs = [helper.make_empty_tensor_value_info(name) for name in message.output if name]
    graph = helper.make_graph([message], "node", ends, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", reading.opset)])
    try:
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(model).run(None, feeds)
    except Exception as exc:  # noqa: BLE001 - what its kernels raise on inputs that do not fit is of many kinds
        node.damaged(f"it cannot be computed from its constants ({str(exc)[:200]})")
    arrays = [np.asarray(array) for array in made]
    return [Known(array.astype(np.float32) if array.dtype in (np.float64, np.float16) else array) for array in arrays]


def _check_size(node: Node, arrays: list[AnyArray]) -> None:
    """Refuses to make a value that no memory holds from a few numbers."""
    count = 0.0
    if node.kind in ("ConstantOfShape", "Expand", "Tile", "Resize", "Upsample", "Pad") and arrays:
        numbers = np.abs(arrays[-1 if node.kind != "Pad" else min(1, len(arrays) - 1)].astype(np.float64)).ravel()
        factor = arrays[0].size if node.kind in ("Tile", "Upsample", "Resize") else 1
        count = float(np.prod(np.maximum(numbers + (node.kind == "Pad") * max(arrays[0].shape, default=1), 1))) * factor
        if node.kind == "Pad":
            count = math.sqrt(count)
    if node.kind == "Range" and len(arrays) == 3:
        start, end, step = (float(array.ravel()[0]) for array in arrays)
        count = abs(end - start) / abs(step) if step else math.inf
    if count > _MOST_VALUES:
        node.damaged(f"it would make {count:.3g} values of constants")
