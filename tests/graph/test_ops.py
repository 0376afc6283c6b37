"""The rows of OPS, held against the schema, LiteRT's kernels and what the stock converter writes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_schema import OP_CODES, OPTIONS, options_from_table, schema
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.ops import LAYERS, OPS, bias_of, data_of, info, operands, weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGE = (1, 4, 4, 3)


def _ints(*values: Any) -> NDArray[np.int32]:
    return np.array(values[0] if len(values) == 1 else values, np.int32)


# Inputs (a shape is an activation, an array a parameter), the output's shape and options of ops with more than
# activations of one shape.
_EXAMPLES: dict[str, tuple[list[Any], list[tuple[int, ...]], dict[str, Any]]] = {
    "AVERAGE_POOL_2D": ([_IMAGE], [(1, 2, 2, 3)], {"padding": "VALID", "stride_h": 2, "stride_w": 2,
                                                   "filter_height": 2, "filter_width": 2, "activation": "NONE"}),
    "BATCH_TO_SPACE_ND": ([(4, 2, 2, 3), _ints(2, 2), _ints([[0, 0], [0, 0]])], [_IMAGE], {}),
    "BROADCAST_TO": ([(1, 1, 4, 3), _ints(1, 4, 4, 3)], [_IMAGE], {}),
    "CONCATENATION": ([_IMAGE, _IMAGE], [(1, 4, 8, 3)], {"axis": 2, "activation": "NONE"}),
    "CUMSUM": ([_IMAGE, _ints(1)], [_IMAGE], {}),
    "DEPTH_TO_SPACE": ([(1, 2, 2, 12)], [_IMAGE], {"block_size": 2}),
    "EXPAND_DIMS": ([_IMAGE, _ints(1)], [(1, 1, 4, 4, 3)], {}),
    "FILL": ([_ints(2, 3), ()], [(2, 3)], {}),
    "GATHER": ([_IMAGE, _ints(3, 0)], [(1, 2, 4, 3)], {"axis": 1, "batch_dims": 0}),
    "GATHER_ND": ([_IMAGE, _ints([[0, 1], [0, 3]])], [(2, 4, 3)], {}),
    "MAX_POOL_2D": ([_IMAGE], [(1, 2, 2, 3)], {"padding": "VALID", "stride_h": 2, "stride_w": 2,
                                               "filter_height": 2, "filter_width": 2, "activation": "NONE"}),
    "MEAN": ([_IMAGE, _ints(1, 2)], [(1, 3)], {"keep_dims": False}),
    "MIRROR_PAD": ([_IMAGE, _ints([[0, 0], [1, 1], [1, 1], [0, 0]])], [(1, 6, 6, 3)], {"mode": 0}),
    "PACK": ([_IMAGE, _IMAGE], [(1, 2, 4, 4, 3)], {"axis": 1, "values_count": 2}),
    "PAD": ([_IMAGE, _ints([[0, 0], [1, 1], [1, 0], [0, 0]])], [(1, 6, 5, 3)], {}),
    "PADV2": ([_IMAGE, _ints([[0, 0], [1, 1], [1, 0], [0, 0]]), ()], [(1, 6, 5, 3)], {}),
    "PRELU": ([_IMAGE, (1, 1, 3)], [_IMAGE], {}),
    "REDUCE_MAX": ([_IMAGE, _ints([1])], [(1, 4, 3)], {"keep_dims": False}),
    "REDUCE_MIN": ([_IMAGE, _ints([1])], [(1, 4, 3)], {"keep_dims": False}),
    "REDUCE_PROD": ([_IMAGE, _ints([1])], [(1, 4, 3)], {"keep_dims": False}),
    "RESHAPE": ([_IMAGE, _ints(1, 48)], [(1, 48)], {"new_shape": (1, 48)}),
    "RESIZE_BILINEAR": ([_IMAGE, _ints(7, 7)], [(1, 7, 7, 3)], {"align_corners": False, "half_pixel_centers": True}),
    "RESIZE_NEAREST_NEIGHBOR": ([_IMAGE, _ints(7, 7)], [(1, 7, 7, 3)],
                                {"align_corners": False, "half_pixel_centers": False}),
    "REVERSE_V2": ([_IMAGE, _ints([1])], [_IMAGE], {}),
    "SLICE": ([_IMAGE, _ints(0, 1, 0, 0), _ints(1, 2, 4, 3)], [(1, 2, 4, 3)], {}),
    "SPACE_TO_BATCH_ND": ([_IMAGE, _ints(2, 2), _ints([[0, 0], [0, 0]])], [(4, 2, 2, 3)], {}),
    "SPACE_TO_DEPTH": ([_IMAGE], [(1, 2, 2, 12)], {"block_size": 2}),
    "SPLIT": ([_ints(1), _IMAGE], [(1, 2, 4, 3)] * 2, {"num_splits": 2}),
    "SPLIT_V": ([_IMAGE, _ints(1, 3), _ints(1)], [(1, 1, 4, 3), (1, 3, 4, 3)], {"num_splits": 2}),
    "SQUEEZE": ([_IMAGE], [(4, 4, 3)], {"squeeze_dims": (0,)}),
    "STRIDED_SLICE": ([_IMAGE, _ints(0, 0, 0, 0), _ints(1, 4, 4, 3), _ints(1, 2, 2, 1)], [(1, 2, 2, 3)], {}),
    "SUM": ([_IMAGE, _ints([1])], [(1, 4, 3)], {"keep_dims": False}),
    "TILE": ([_IMAGE, _ints(1, 2, 1, 1)], [(1, 8, 4, 3)], {}),
    "TRANSPOSE": ([_IMAGE, _ints(0, 2, 1, 3)], [_IMAGE], {}),
    "UNPACK": ([_IMAGE], [(1, 4, 3)] * 4, {"axis": 1, "num": 4}),
}  # fmt: skip
# What takes or makes something else than float32 has no real numbers to show the property with.
_NOT_REAL = {"CAST", "DEQUANTIZE", "EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND",
             "LOGICAL_NOT", "LOGICAL_OR", "NOT_EQUAL", "QUANTIZE", "SELECT", "SELECT_V2"}  # fmt: skip
_SHOWN = sorted(kind for kind, row in OPS.items() if kind in _EXAMPLES or (row.elementwise and kind not in _NOT_REAL))


class _Example:
    """One op as a model of its own, run by LiteRT."""

    def __init__(self, kind: str) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        inputs, outputs, options = _EXAMPLES.get(kind, ([_IMAGE] * (OPS[kind].inputs[1] or 2), [_IMAGE], {}))
        table = getattr(schema, f"{OPTIONS[kind]}T")() if OPTIONS[kind] else None
        options = {**(options_from_table(table) if table else {}), **options}
        if kind == "LEAKY_RELU":
            options["alpha"] = 0.25
        tensors = [
            constant(f"in_{place}", given) if isinstance(given, np.ndarray) else Tensor(f"in_{place}", given, "float32")
            for place, given in enumerate(inputs)
        ]
        made = [Tensor(f"out_{place}", shape, "float32") for place, shape in enumerate(outputs)]
        names = tuple(tensor.name for tensor in tensors)
        # LiteRT has had BROADCAST_TO since version 2 only.
        version = 2 if kind == "BROADCAST_TO" else 1
        self.op = Op(kind, names, tuple(tensor.name for tensor in made), options, version)
        self.shapes = {tensor.name: tensor.shape for tensor in tensors if not tensor.is_constant}
        graph = Graph({t.name: t for t in (*tensors, *made)}, (self.op,), tuple(self.shapes), self.op.outputs)
        data = write_tflite(graph)
        # A scalar's shape, like one that is unknown, is not checked; every other one is.
        assert parse_tflite(data, kind).ops[0].kind == kind
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
        self.interpreter.allocate_tensors()

    def values(self, seed: int = 0) -> dict[str, NDArray[np.float32]]:
        rng = np.random.default_rng(seed)
        positive = self.op.kind in ("LOG", "POW", "RSQRT", "SQRT")
        low, high = (0.5, 2.0) if positive else (-8.0, 8.0)
        return {name: rng.uniform(low, high, shape).astype(np.float32) for name, shape in self.shapes.items()}

    def run(self, values: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        places = {detail["name"]: detail["index"] for detail in self.interpreter.get_input_details()}
        for name, value in values.items():
            self.interpreter.set_tensor(places[name], value)
        self.interpreter.invoke()
        details = {detail["name"]: detail["index"] for detail in self.interpreter.get_output_details()}
        return [self.interpreter.get_tensor(details[name]).copy() for name in self.op.outputs]


def test_there_is_a_row_for_every_op_that_is_read() -> None:
    assert set(OPTIONS) - {"CUSTOM"} <= set(OPS) <= set(OP_CODES)


@pytest.mark.parametrize("kind", sorted(OPS))
def test_options_are_those_of_the_schema(kind: str) -> None:
    others = {"LSTM": "LSTMOptions", "SVDF": "SVDFOptions",
              "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions"}  # fmt: skip
    table = OPTIONS.get(kind, others.get(kind, ""))
    options = options_from_table(getattr(schema, f"{table}T")()) if table else {}
    assert OPS[kind].fused_activation == ("activation" in options)
    assert OPS[kind].window == ({"stride_h", "stride_w", "padding"} <= set(options))


@pytest.mark.parametrize("kind", sorted(OPS))
def test_indices_are_inputs(kind: str) -> None:
    row = OPS[kind]
    least, most = row.inputs
    shared = () if row.shared_scale == "all" else row.shared_scale
    assert most is None or least <= most
    assert all(most is None or index < most for index in (*row.optional, *row.parameters, *shared))
    if row.layer is not None:
        assert row.layer.bias in row.optional
        assert max(row.layer.channel_axis, row.layer.input_axis) < row.layer.weights_rank


@pytest.mark.parametrize("kind", _SHOWN)
def test_homogeneous_is_what_scales_with_its_inputs(kind: str) -> None:
    example = _Example(kind)
    values = example.values()
    before, after = example.run(values), example.run({name: value * 4 for name, value in values.items()})
    scales = all(np.allclose(4 * one, other, rtol=1e-5) for one, other in zip(before, after, strict=True))
    assert scales == OPS[kind].homogeneous


@pytest.mark.parametrize("kind", [kind for kind in _SHOWN if OPS[kind].moves])
def test_moves_makes_no_new_values(kind: str) -> None:
    example = _Example(kind)
    values = example.values()
    known = np.concatenate([[0.0], *(value.ravel() for value in values.values())])
    assert all(np.isin(made, known).all() for made in example.run(values))


def _changed_places(kind: str, place: tuple[Any, ...]) -> list[NDArray[np.bool_]]:
    """Where the outputs change when the first activation changes at `place`."""
    example = _Example(kind)
    values = example.values()
    before = example.run(values)
    first = next(iter(values))
    values[first] = values[first].copy()
    values[first][place] = values[first][place] * 0.5 + 1.25
    return [one != other for one, other in zip(before, example.run(values), strict=True)]


@pytest.mark.parametrize("kind", [kind for kind in _SHOWN if OPS[kind].elementwise])
def test_elementwise_depends_on_its_own_place(kind: str) -> None:
    (changed,) = _changed_places(kind, (0, 1, 2, 1))
    changed[0, 1, 2, 1] = False
    assert not changed.any()


@pytest.mark.parametrize("kind", [kind for kind in _SHOWN if OPS[kind].channelwise])
def test_channelwise_depends_on_its_own_channel(kind: str) -> None:
    (changed,) = _changed_places(kind, (..., 1))
    assert not changed[..., [0, 2]].any()


@pytest.mark.parametrize("kind", [kind for kind in _SHOWN if OPS[kind].inputs == (2, 2) and OPS[kind].elementwise])
def test_commutative_takes_its_inputs_in_any_order(kind: str) -> None:
    if kind == "PRELU":
        assert not OPS[kind].commutative
        return
    example = _Example(kind)
    values = example.values()
    one, other = values.values()
    swapped = example.run(dict(zip(values, (other, one), strict=True)))
    same = all(np.array_equal(a, b) for a, b in zip(example.run(values), swapped, strict=True))
    assert same == OPS[kind].commutative


def _everything(tf: Any, x: Any) -> list[Any]:
    """Ops of one picture (1, 8, 8, 4) that the stock converter brings to int8; between float ends it would not."""
    x = x + tf.nn.relu(x)
    kernel = tf.constant(np.random.default_rng(1).normal(size=(3, 3, 4, 6)).astype(np.float32))
    small = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 2, "SAME"), np.arange(6, dtype=np.float32))
    rows = tf.reduce_max(x, 2)
    return [
        tf.nn.bias_add(tf.nn.depthwise_conv2d(x, kernel[..., :1], (1, 1, 1, 1), "SAME"), np.ones(4, np.float32)),
        tf.nn.bias_add(tf.nn.conv2d_transpose(small, kernel, (1, 8, 8, 4), 2, "SAME"), np.ones(4, np.float32)),
        tf.nn.softmax(rows), tf.sigmoid(x), tf.tanh(x), tf.nn.log_softmax(rows), rows,
        tf.nn.max_pool2d(x, 2, 2, "VALID"), tf.nn.avg_pool2d(x, 2, 2, "VALID"), tf.concat([x, tf.nn.relu(x)], 3),
        tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
        tf.gather(x, [3, 0], axis=1), tf.stack([x, tf.nn.relu(x)], 1), tf.maximum(x, 0.25), tf.minimum(x, 0.25),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stock_int8() -> Graph:
    """A network of many ops as the stock converter quantizes it."""
    import tensorflow as tf

    function = tf.function(
        lambda x: {f"out_{place}": value + 0.5 for place, value in enumerate(_everything(tf, x))},
        input_signature=[tf.TensorSpec((1, 8, 8, 4), tf.float32)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(-1, 1, (1, 8, 8, 4)).astype(np.float32) for _ in range(4)]
    converter.representative_dataset = lambda: ([picture] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inputs whose statistics are measured instead
        return parse_tflite(converter.convert(), "stock")


def test_shared_and_fixed_scales_are_those_of_the_stock_converter(stock_int8: Graph) -> None:
    seen = set()
    for op in stock_int8.ops:
        row = info(op)
        made = stock_int8.tensors[op.outputs[0]].quantization
        if made is None or stock_int8.tensors[op.outputs[0]].dtype != "int8":
            continue
        seen.add(op.kind)
        if row.fixed_scale is not None:
            assert (float(made.scale[0]), int(made.zero_point[0])) == pytest.approx(row.fixed_scale), op.kind
        for name in op.inputs if row.shared_scale == "all" else [op.inputs[index] for index in row.shared_scale]:
            read = stock_int8.tensors[str(name)].quantization
            assert read is not None
            assert (read.scale, read.zero_point) == (made.scale, made.zero_point), op.kind
    wanted = {kind for kind, row in OPS.items() if row.fixed_scale is not None} - {"L2_NORMALIZATION"}
    wanted |= {"AVERAGE_POOL_2D", "CONCATENATION", "GATHER", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "PACK"}
    wanted |= {"PAD", "REDUCE_MAX"}
    assert wanted <= seen


def test_layers_are_laid_out_as_the_stock_converter_writes_them(stock_int8: Graph) -> None:
    seen = set()
    for op in stock_int8.ops:
        row = LAYERS.get(op.kind)
        if row is None:
            continue
        seen.add(op.kind)
        weights, bias = stock_int8.tensors[str(weights_of(op))], stock_int8.tensors[str(bias_of(op))]
        assert stock_int8.tensors[data_of(op)].dtype == weights.dtype == "int8"
        assert bias.dtype == "int32"
        assert bias.shape == (weights.shape[row.channel_axis],)
        assert weights.quantization is not None
        assert weights.quantization.axis == row.channel_axis
        assert operands(op) == (data_of(op),)
    assert seen == {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}


def test_a_custom_op_has_no_row() -> None:
    op = Op("ADD", ("x", None), ("y",), {"custom_options": b""})
    assert info(op).layer is None
    assert not info(op).elementwise
    assert operands(op) == ("x",)
