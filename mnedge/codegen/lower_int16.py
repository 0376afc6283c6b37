"""Lowering of ops on int16 activations with int8 weights (16x8): which have a kernel, and what each becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.codegen.ops.int16 import (
    lower_leaky_relu_16,
    lower_requantize_16,
    lower_sigmoid_16,
    lower_softmax_16,
)
from mnedge.codegen.ops.layout import lower_concatenation, lower_pack, lower_pad
from mnedge.codegen.ops.lstm import lower_lstm
from mnedge.codegen.ops.move import lower_gather, lower_slice, lower_strided_slice, lower_tile, lower_transpose
from mnedge.codegen.ops.pooling import lower_mean, lower_pool
from mnedge.codegen.ops.reduce import lower_reduction
from mnedge.codegen.ops.resize import lower_resize
from mnedge.codegen.ops.svdf import lower_svdf
from mnedge.codegen.ops.weighted import lower_convolution, lower_fully_connected
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import nearest_power

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.codegen.program import Kernel
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

LOWERINGS_16: dict[str, Callable[[Source, Op], Kernel]] = {
    "AVERAGE_POOL_2D": lower_pool,
    "CONCATENATION": lower_concatenation,
    "CONV_2D": lower_convolution,
    "DEPTHWISE_CONV_2D": lower_convolution,
    "FULLY_CONNECTED": lower_fully_connected,
    "GATHER": lower_gather,
    "LEAKY_RELU": lower_leaky_relu_16,
    "LOGISTIC": lower_sigmoid_16,
    "MAX_POOL_2D": lower_pool,
    "MEAN": lower_mean,
    "PACK": lower_pack,
    "PAD": lower_pad,
    "PADV2": lower_pad,
    "QUANTIZE": lower_requantize_16,
    "REDUCE_MAX": lower_reduction,
    "REDUCE_MIN": lower_reduction,
    "RELU": lower_requantize_16,
    "RELU6": lower_requantize_16,
    "RELU_N1_TO_1": lower_requantize_16,
    "RESIZE_BILINEAR": lower_resize,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize,
    "SLICE": lower_slice,
    "SOFTMAX": lower_softmax_16,
    "STRIDED_SLICE": lower_strided_slice,
    "SUM": lower_reduction,
    "TANH": lower_sigmoid_16,
    "TILE": lower_tile,
    "TRANSPOSE": lower_transpose,
    # They keep int16 for themselves.
    "SVDF": lower_svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lower_lstm,
}
# They are lowered to several layers.
_BINARY = ("ADD", "MAXIMUM", "MINIMUM", "MUL", "SUB")
_SPLITTING = ("SPLIT", "SPLIT_V", "UNPACK")
_OF_BOTH = ("QUANTIZE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")


def check_kernel_16(source: Source, op: Op) -> None:
    """Checks that an op on int16 activations has a kernel.

    Raises:
        UnsupportedError: It has none, or works on int16 and others, or LiteRT has another one for powers of two.
    """
    known = sorted({*LOWERINGS_16, *_BINARY, *_SPLITTING})
    tensors = [source.graph.tensors[name] for name in (*op.inputs, *op.outputs) if name is not None]
    activations = [tensor for tensor in tensors if not tensor.is_constant or op.kind in _BINARY]
    dtypes = list(dict.fromkeys(tensor.dtype for tensor in activations))
    if op.kind not in known or (len(dtypes) > 1 and op.kind not in _OF_BOTH):
        raise UnsupportedError(
            f"{source.where(op)} is on {' and '.join(dtypes)}; the ops with a kernel for int16 activations are "
            f"{', '.join(known)}, and all but QUANTIZE are on int16 alone"
        )
    in_powers = op.kind in ("ADD", "SUB") and bool(op.options.get("pot_scale_int16"))
    if in_powers and all(nearest_power(source.value(tensor.name).scale) is not None for tensor in tensors):
        raise UnsupportedError(
            f"{source.where(op)} is on int16 at scales in powers of two under pot_scale_int16, which LiteRT computes "
            "in its own way; convert the model again without that option"
        )
