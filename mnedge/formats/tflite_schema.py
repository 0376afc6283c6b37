"""Tables of the .tflite reader and writer: names of dtypes, ops, and the options table of each op."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from ai_edge_litert import schema_py_generated

if TYPE_CHECKING:
    import flatbuffers

    from mnedge.graph.graph import Options

schema = schema_py_generated

DTYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.INT32: "int32",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT64: "int64",
    schema.TensorType.BOOL: "bool",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT8: "int8",
}
# int4 is a way to store int8 constants, which a graph holds unpacked.
INT4 = schema.TensorType.INT4
DTYPE_CODES = {name: code for code, name in DTYPES.items()}


def _enum_names(enum: type) -> dict[int, str]:
    return {code: name for name, code in vars(enum).items() if not name.startswith("_")}


OP_NAMES = _enum_names(schema.BuiltinOperator)
OP_CODES = {name: code for code, name in OP_NAMES.items()}
PADDINGS = _enum_names(schema.Padding)
ACTIVATIONS = _enum_names(schema.ActivationFunctionType)

# The ops that a Graph may hold, with the options table that each one carries ("" for none).
OPTIONS = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "ADD_N": "AddNOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "BROADCAST_TO": "BroadcastToOptions",
    "CAST": "CastOptions",
    "CEIL": "",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "COS": "CosOptions",
    "CUMSUM": "CumsumOptions",
    "CUSTOM": "",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "ELU": "",
    "EQUAL": "EqualOptions",
    "EXP": "ExpOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "FILL": "FillOptions",
    "FLOOR": "",
    "FLOOR_DIV": "FloorDivOptions",
    "FLOOR_MOD": "FloorModOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GATHER_ND": "GatherNdOptions",
    "GELU": "GeluOptions",
    "GREATER": "GreaterOptions",
    "GREATER_EQUAL": "GreaterEqualOptions",
    "HARD_SWISH": "HardSwishOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LESS": "LessOptions",
    "LESS_EQUAL": "LessEqualOptions",
    "LOG": "",
    "LOGICAL_AND": "LogicalAndOptions",
    "LOGICAL_NOT": "LogicalNotOptions",
    "LOGICAL_OR": "LogicalOrOptions",
    "LOGISTIC": "",
    "LOG_SOFTMAX": "LogSoftmaxOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "NEG": "NegOptions",
    "NON_MAX_SUPPRESSION_V4": "NonMaxSuppressionV4Options",
    "NON_MAX_SUPPRESSION_V5": "NonMaxSuppressionV5Options",
    "NOT_EQUAL": "NotEqualOptions",
    "ONE_HOT": "OneHotOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "POW": "PowOptions",
    "PRELU": "",
    "QUANTIZE": "QuantizeOptions",
    "RANGE": "RangeOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RELU": "",
    "RELU6": "",
    "RELU_N1_TO_1": "",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "REVERSE_V2": "ReverseV2Options",
    "ROUND": "",
    "RSQRT": "",
    "SELECT": "SelectOptions",
    "SELECT_V2": "SelectV2Options",
    "SHAPE": "ShapeOptions",
    "SIN": "",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SQRT": "",
    "SQUARE": "SquareOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TANH": "",
    "TILE": "TileOptions",
    "TOPK_V2": "TopKV2Options",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
    "WHERE": "WhereOptions",
    "ZEROS_LIKE": "ZerosLikeOptions",
}

# Ops that keep state between calls, which only `compile` takes.
STATE_OPTIONS = {"SVDF": "SVDFOptions", "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions"}

# Ops whose first version takes int8, and that have no second one.
_INT8_FROM_THE_FIRST = (
    "DEPTH_TO_SPACE", "DIV", "ELU", "EXPAND_DIMS", "HARD_SWISH", "PRELU", "RELU_N1_TO_1", "RESHAPE", "SQUEEZE",
)  # fmt: skip

# The version of a layer that takes int8 data with int8 weights, and with int4 ones.
_INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
_INT4_VERSIONS = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7, "FULLY_CONNECTED": 10}

# The version of an op that takes int16, and of a 16x8 layer with an int32 bias; the first one for all others.
_INT16_VERSIONS = {
    "ADD": 3, "AVERAGE_POOL_2D": 3, "CONCATENATION": 3, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "DEQUANTIZE": 3,
    "FULLY_CONNECTED": 7, "GATHER": 4, "LEAKY_RELU": 2, "LOGISTIC": 3, "MAXIMUM": 4, "MAX_POOL_2D": 3, "MEAN": 3,
    "MINIMUM": 4, "MUL": 4, "PACK": 3, "PAD": 3, "PADV2": 3, "QUANTIZE": 2, "REDUCE_MAX": 3, "REDUCE_MIN": 3,
    "RELU": 3, "RELU6": 3, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "SLICE": 4, "SOFTMAX": 3, "SPLIT": 4,
    "SUB": 5, "SUM": 3, "TANH": 3, "TRANSPOSE": 5, "TRANSPOSE_CONV": 3, "UNPACK": 4,
}  # fmt: skip
_BIAS_TYPE_VERSIONS = {"CONV_2D": 8, "FULLY_CONNECTED": 11, "TRANSPOSE_CONV": 5}

# Schema fields under the names that Graph uses.
_RENAMED = {"fused_activation_function": "activation", "stride_h": "stride_h", "stride_w": "stride_w"}
_ENUMS = {"padding": PADDINGS, "activation": ACTIVATIONS}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[A-Za-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


def options_from_table(table: object) -> dict[str, object]:
    """Turns an options object of the schema into Graph options.

    Raises:
        ValueError: An enum holds a code that the schema does not have.
    """
    options: dict[str, object] = {}
    for attribute, value in vars(table).items():
        name = _snake(attribute)
        name = _RENAMED.get(name, name)
        if name in _ENUMS:
            if value not in _ENUMS[name]:
                raise ValueError(f"{name} code {value} is not in the schema")
            options[name] = _ENUMS[name][value]
        elif value is None:
            continue
        elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            options[name] = tuple(int(item) for item in value)
        else:
            options[name] = value
    return options


class Table(Protocol):
    """An object of one of the generated classes."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - as the generator names it
        """Writes it and gives its place."""
        ...


def table_from_options(kind: str, options: Options) -> Table:
    """Builds the schema's options object for an op that has one."""
    table: Table = getattr(schema, f"{OPTIONS[kind]}T")()
    for attribute in vars(table):
        name = _snake(attribute)
        name = _RENAMED.get(name, name)
        if name not in options:
            continue
        value = options[name]
        if name in _ENUMS:
            value = next(code for code, text in _ENUMS[name].items() if text == value)
        setattr(table, attribute, list(value) if isinstance(value, tuple) else value)
    return table


def options_union_code(kind: str) -> int:
    """The BuiltinOptions code of an op's options table; 0 for none."""
    return int(getattr(schema.BuiltinOptions, OPTIONS[kind])) if OPTIONS[kind] else 0


def op_version(kind: str, data: str, weights: str, *, has_bias_type: bool = False) -> int:
    """The lowest TFLite op version that takes these dtypes, from the runtime's op registration.

    Args:
        kind: The op.
        data: dtype of the first output (of the input for DEQUANTIZE).
        weights: dtype of the second input, "int4" where the file packs it; "" where there is none.
        has_bias_type: Whether the options tell the dtype of a 16x8 layer's bias.
    """
    if data == "int16":
        return (_BIAS_TYPE_VERSIONS if has_bias_type else _INT16_VERSIONS).get(kind, 1)
    if data != "int8":
        return 1
    if kind in _INT4_VERSIONS:
        return (_INT4_VERSIONS if weights == "int4" else _INT8_VERSIONS)[kind]
    if kind == "TRANSPOSE_CONV":
        return 3 if weights else 2
    return 1 if kind in _INT8_FROM_THE_FIRST else 2
