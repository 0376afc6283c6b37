"""OPS: what each TFLite op is, one row an op. Readers, passes, quantizer and code generators ask here.

A row states facts of TFLite's schema, its int8 specification (https://ai.google.dev/edge/litert/models/quantization_spec)
and LiteRT's kernels. What a pass or kernel chooses to support stands there, not here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.graph.graph import Op


@dataclass(frozen=True)
class Layer:
    """Places of weights and bias among an op's inputs, and the layout of the weights.

    Attributes:
        weights: Index of the weights among the inputs.
        bias: Index of the bias, which may be left out.
        channel_axis: Dimension of the weights along which output channels, and scales a channel, run.
        input_axis: Dimension of the weights along which input channels run.
        weights_rank: Dimensions of the weights.
        data: Index of the activation.
        spreads: Whether each input value is spread over a kernel, instead of each output value gathered from one.
    """

    weights: int
    bias: int
    channel_axis: int
    input_axis: int
    weights_rank: int
    data: int = 0
    spreads: bool = False


@dataclass(frozen=True)
class OpInfo:
    """The facts of one op.

    Attributes:
        inputs: Least and greatest number of inputs; None is no limit.
        outputs: Least and greatest number of outputs.
        optional: Indices of inputs that may be left out (-1 in the file, None in a Graph).
        parameters: Indices of inputs that hold shapes, axes, sizes or places: integers that stand for themselves.
        layer: Places of weights and bias, for an op that has them.
        elementwise: Each output value depends on the input values at its own place alone, inputs broadcast.
        channelwise: Each output channel depends on the same channel of the activations alone, as long as the last
            dimension stays as it is.
        commutative: Its two inputs may change places.
        homogeneous: f(k x) = k f(x) for every k > 0, with k applied to every input that is no parameter.
        moves: Each output value is one of the input values, or 0 where it pads.
        shared_scale: Indices of inputs that have the output's scale and zero point in int8; "all" is every input.
        needs_scale: The 8-bit kernel computes with the scales of its activations.
        fixed_scale: Scale and zero point that int8 fixes for the output.
        fixed_scale_16: Scale that int16 fixes for the output, whose zero point is 0 as everywhere in int16.
        fused_activation: The options have a fused activation.
        window: The options have strides and padding, over height and width.
    """

    inputs: tuple[int, int | None]
    outputs: tuple[int, int | None] = (1, 1)
    optional: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()
    layer: Layer | None = None
    elementwise: bool = False
    channelwise: bool = False
    commutative: bool = False
    homogeneous: bool = False
    moves: bool = False
    shared_scale: tuple[int, ...] | Literal["all"] = ()
    needs_scale: bool = False
    fixed_scale: tuple[float, int] | None = None
    fixed_scale_16: float | None = None
    fused_activation: bool = False
    window: bool = False


def _unary(
    *, homogeneous: bool = False, needs_scale: bool = False, fixed_scale: tuple[float, int] | None = None,
    fixed_scale_16: float | None = None,
) -> OpInfo:  # fmt: skip
    return OpInfo((1, 1), elementwise=True, channelwise=True, homogeneous=homogeneous, needs_scale=needs_scale,
                  fixed_scale=fixed_scale, fixed_scale_16=fixed_scale_16)  # fmt: skip


def _binary(
    *, commutative: bool = False, homogeneous: bool = False, needs_scale: bool = False, fused_activation: bool = False,
    moves: bool = False,
) -> OpInfo:  # fmt: skip
    return OpInfo((2, 2), elementwise=True, channelwise=True, commutative=commutative, homogeneous=homogeneous,
                  needs_scale=needs_scale, fused_activation=fused_activation, moves=moves,
                  shared_scale="all" if moves else ())  # fmt: skip


def _moving(
    inputs: tuple[int, int | None], parameters: tuple[int, ...] = (), data: int = 0, *,
    outputs: tuple[int, int | None] = (1, 1), channelwise: bool = False,
) -> OpInfo:  # fmt: skip
    """An op of one activation that only moves or chooses values."""
    return OpInfo(inputs, outputs, parameters=parameters, homogeneous=True, moves=True, shared_scale=(data,),
                  channelwise=channelwise)  # fmt: skip


def _reduction(*, homogeneous: bool, moves: bool = False, needs_scale: bool = False) -> OpInfo:
    return OpInfo((2, 2), parameters=(1,), homogeneous=homogeneous, moves=moves, needs_scale=needs_scale,
                  shared_scale=(0,) if moves else ())  # fmt: skip


def _pool(*, moves: bool) -> OpInfo:
    return OpInfo((1, 1), channelwise=True, homogeneous=True, moves=moves, shared_scale=(0,), needs_scale=True,
                  fused_activation=True, window=True)  # fmt: skip


def _resize(*, moves: bool) -> OpInfo:
    return OpInfo((2, 2), parameters=(1,), channelwise=True, homogeneous=True, moves=moves, shared_scale=(0,))


_CONVOLUTION = Layer(weights=1, bias=2, channel_axis=0, input_axis=3, weights_rank=4)
_DEPTHWISE = Layer(weights=1, bias=2, channel_axis=3, input_axis=3, weights_rank=4)
_DENSE = Layer(weights=1, bias=2, channel_axis=0, input_axis=1, weights_rank=2)
_TRANSPOSED = Layer(weights=1, bias=3, channel_axis=0, input_axis=3, weights_rank=4, data=2, spreads=True)
_COMPARISON = OpInfo((2, 2), elementwise=True, channelwise=True)
_SAMENESS = OpInfo((2, 2), elementwise=True, channelwise=True, commutative=True)
_SELECTION = OpInfo((3, 3), elementwise=True, moves=True, shared_scale=(1, 2))
# Gates, peepholes, projection and layer normalization of an LSTM come only with its fuller forms.
_LSTM_OPTIONAL = (1, 5, 9, 10, 11, 12, 16, 17, 20, 21, 22, 23)

OPS: Mapping[str, OpInfo] = MappingProxyType({
    "ABS": _unary(homogeneous=True),
    "ADD": _binary(commutative=True, homogeneous=True, needs_scale=True, fused_activation=True),
    "ADD_N": OpInfo((1, None), elementwise=True, channelwise=True, homogeneous=True),
    "ARG_MAX": OpInfo((2, 2), parameters=(1,)),
    "ARG_MIN": OpInfo((2, 2), parameters=(1,)),
    "AVERAGE_POOL_2D": _pool(moves=False),
    "BATCH_MATMUL": OpInfo((2, 2), needs_scale=True),
    "BATCH_TO_SPACE_ND": _moving((3, 3), (1, 2)),
    "BROADCAST_TO": _moving((2, 2), (1,)),
    "CAST": OpInfo((1, 1), elementwise=True, channelwise=True),
    "CEIL": _unary(),
    "CONCATENATION": OpInfo((1, None), homogeneous=True, moves=True, shared_scale="all", fused_activation=True),
    "CONV_2D": OpInfo((2, 3), optional=(2,), layer=_CONVOLUTION, needs_scale=True, fused_activation=True, window=True),
    "COS": _unary(),
    "CUMSUM": OpInfo((2, 2), parameters=(1,), homogeneous=True),
    "DEPTHWISE_CONV_2D": OpInfo((2, 3), optional=(2,), layer=_DEPTHWISE, needs_scale=True, fused_activation=True,
                                window=True),
    "DEPTH_TO_SPACE": _moving((1, 1)),
    "DEQUANTIZE": _unary(homogeneous=True, needs_scale=True),
    "DIV": _binary(needs_scale=True, fused_activation=True),
    "ELU": _unary(needs_scale=True),
    "EQUAL": _SAMENESS,
    "EXP": _unary(needs_scale=True),
    "EXPAND_DIMS": _moving((2, 2), (1,)),
    "FILL": OpInfo((2, 2), parameters=(0,), homogeneous=True, moves=True, shared_scale=(1,)),
    "FLOOR": _unary(),
    "FLOOR_DIV": _binary(),
    "FLOOR_MOD": _binary(homogeneous=True),
    "FULLY_CONNECTED": OpInfo((2, 3), optional=(2,), layer=_DENSE, needs_scale=True, fused_activation=True),
    "GATHER": _moving((2, 2), (1,)),
    "GATHER_ND": _moving((2, 2), (1,)),
    "GELU": _unary(needs_scale=True),
    "GREATER": _COMPARISON,
    "GREATER_EQUAL": _COMPARISON,
    "HARD_SWISH": _unary(needs_scale=True),
    "L2_NORMALIZATION": OpInfo((1, 1), needs_scale=True, fixed_scale=(1 / 128, 0), fused_activation=True),
    "LEAKY_RELU": _unary(homogeneous=True, needs_scale=True),
    "LESS": _COMPARISON,
    "LESS_EQUAL": _COMPARISON,
    "LOG": _unary(needs_scale=True),
    "LOGICAL_AND": _SAMENESS,
    "LOGICAL_NOT": _unary(),
    "LOGICAL_OR": _SAMENESS,
    "LOGISTIC": _unary(needs_scale=True, fixed_scale=(1 / 256, -128), fixed_scale_16=1 / 32768),
    "LOG_SOFTMAX": OpInfo((1, 1), needs_scale=True, fixed_scale=(16 / 256, 127)),
    "LSTM": OpInfo((5, 24), (1, 4), optional=_LSTM_OPTIONAL, fused_activation=True),
    "MAXIMUM": _binary(commutative=True, homogeneous=True, moves=True),
    "MAX_POOL_2D": _pool(moves=True),
    "MEAN": _reduction(homogeneous=True, needs_scale=True),
    "MINIMUM": _binary(commutative=True, homogeneous=True, moves=True),
    "MIRROR_PAD": _moving((2, 2), (1,)),
    "MUL": _binary(commutative=True, needs_scale=True, fused_activation=True),
    "NEG": _unary(homogeneous=True),
    "NON_MAX_SUPPRESSION_V4": OpInfo((5, 5), (2, 2)),
    "NON_MAX_SUPPRESSION_V5": OpInfo((6, 6), (3, 3)),
    "NOT_EQUAL": _SAMENESS,
    "ONE_HOT": OpInfo((4, 4), parameters=(0, 1)),
    "PACK": OpInfo((1, None), homogeneous=True, moves=True, shared_scale="all"),
    "PAD": _moving((2, 2), (1,), channelwise=True),
    "PADV2": OpInfo((3, 3), parameters=(1,), channelwise=True, homogeneous=True, moves=True, shared_scale=(0, 2)),
    "POW": _binary(),
    "PRELU": _binary(needs_scale=True),
    "QUANTIZE": _unary(homogeneous=True, needs_scale=True),
    "RANGE": OpInfo((3, 3)),
    "REDUCE_MAX": _reduction(homogeneous=True, moves=True),
    "REDUCE_MIN": _reduction(homogeneous=True, moves=True),
    "REDUCE_PROD": _reduction(homogeneous=False, needs_scale=True),
    "RELU": _unary(homogeneous=True, needs_scale=True),
    "RELU6": _unary(needs_scale=True),
    "RELU_N1_TO_1": _unary(needs_scale=True),
    "RESHAPE": _moving((1, 2), (1,)),
    "RESIZE_BILINEAR": _resize(moves=False),
    "RESIZE_NEAREST_NEIGHBOR": _resize(moves=True),
    "REVERSE_V2": _moving((2, 2), (1,)),
    "ROUND": _unary(),
    "RSQRT": _unary(needs_scale=True),
    "SELECT": _SELECTION,
    "SELECT_V2": _SELECTION,
    "SHAPE": OpInfo((1, 1)),
    "SIN": _unary(),
    "SLICE": _moving((3, 3), (1, 2)),
    "SOFTMAX": OpInfo((1, 1), needs_scale=True, fixed_scale=(1 / 256, -128), fixed_scale_16=1 / 32768),
    "SPACE_TO_BATCH_ND": _moving((3, 3), (1, 2)),
    "SPACE_TO_DEPTH": _moving((1, 1)),
    # The axis stands before the data.
    "SPLIT": _moving((2, 2), (0,), 1, outputs=(1, None)),
    "SPLIT_V": _moving((3, 3), (1, 2), outputs=(1, None)),
    "SQRT": _unary(),
    "SQUARE": _unary(),
    "SQUARED_DIFFERENCE": _binary(commutative=True, needs_scale=True),
    "SQUEEZE": _moving((1, 1)),
    "STRIDED_SLICE": _moving((4, 4), (1, 2, 3)),
    "SUB": _binary(homogeneous=True, needs_scale=True, fused_activation=True),
    "SUM": _reduction(homogeneous=True, needs_scale=True),
    # Input, feature weights, time weights, bias, state.
    "SVDF": OpInfo((5, 5), optional=(3,), needs_scale=True, fused_activation=True),
    "TANH": _unary(needs_scale=True, fixed_scale=(1 / 128, 0), fixed_scale_16=1 / 32768),
    "TILE": _moving((2, 2), (1,)),
    "TOPK_V2": OpInfo((2, 2), (2, 2), parameters=(1,), shared_scale=(0,)),
    "TRANSPOSE": _moving((2, 2), (1,)),
    # The output's shape, weights, data, bias.
    "TRANSPOSE_CONV": OpInfo((3, 4), optional=(3,), parameters=(0,), layer=_TRANSPOSED, needs_scale=True,
                             fused_activation=True, window=True),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": OpInfo((20, 24), optional=_LSTM_OPTIONAL, fused_activation=True),
    "UNPACK": _moving((1, 1), outputs=(1, None)),
    "WHERE": OpInfo((1, 1)),
    "ZEROS_LIKE": _unary(homogeneous=True),
})  # fmt: skip

# Custom ops whose kernel mnedge knows, by the name in the file.
CUSTOM_OPS: Mapping[str, OpInfo] = MappingProxyType({
    # Boxes, scores and anchors to boxes, classes, scores and their number.
    "TFLite_Detection_PostProcess": OpInfo((3, 3), (4, 4)),
})  # fmt: skip

# The ops with a kernel for int16 activations (16x8) in LiteRT; HARD_SWISH and L2_NORMALIZATION, for two, have none.
INT16_KINDS = frozenset((
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "GATHER", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "QUANTIZE",
    "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM",
    "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
))  # fmt: skip

# The ops with weights, and those of them that gather: data first, then weights, then bias.
LAYERS: Mapping[str, Layer] = MappingProxyType({kind: row.layer for kind, row in OPS.items() if row.layer is not None})
GATHERING: Mapping[str, Layer] = MappingProxyType({kind: row for kind, row in LAYERS.items() if not row.spreads})
# The convolutions: data, weights, an optional bias; strides and padding over height and width.
CONVOLUTIONS: tuple[str, ...] = tuple(kind for kind in GATHERING if OPS[kind].window)
# The ops that give the same values another shape.
RESHAPES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
# Lowest and highest value after each fused activation.
ACTIVATION_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "NONE": (-math.inf, math.inf),
        "RELU": (0.0, math.inf),
        "RELU_N1_TO_1": (-1.0, 1.0),
        "RELU6": (0.0, 6.0),
    }
)
_OTHER = OpInfo((0, None), (1, None))


def info(op: Op) -> OpInfo:
    """The row of an op; one that says nothing for an op that has none."""
    return (CUSTOM_OPS if "custom_options" in op.options else OPS).get(op.kind, _OTHER)


def operands(op: Op) -> tuple[str, ...]:
    """The inputs of an op that hold values: no parameters, no weights and bias, nothing left out."""
    row = info(op)
    beside = {*row.parameters, *((row.layer.weights, row.layer.bias) if row.layer else ())}
    return tuple(name for index, name in enumerate(op.inputs) if name is not None and index not in beside)


def weights_of(op: Op) -> str | None:
    """The name of an op's weights; None where it has none."""
    row = LAYERS.get(op.kind)
    return None if row is None else op.inputs[row.weights]


def bias_of(op: Op) -> str | None:
    """The name of an op's bias; None where it has none or leaves it out."""
    row = LAYERS.get(op.kind)
    return op.inputs[row.bias] if row is not None and len(op.inputs) > row.bias else None


def data_of(op: Op) -> str:
    """The name of the activation that an op with weights reads."""
    name = op.inputs[LAYERS[op.kind].data]
    assert name is not None, op.kind
    return name
