"""Seeded mutants of two small files go through all that happens before a model runs."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import flatbuffers
import numpy as np
import pytest

from mnedge.codegen.lower import lower
from mnedge.errors import MnedgeError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_schema import schema
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.passes._pass import run_passes
from mnedge.quantization.scheme import scheme_of
from mnedge.quantization.streams import find_streams
from mnedge.report.inspect_tflite import inspect_graph
from mnedge.workflows.optimize import passes_for

_EXTENTS = (-1, 0, 1, 2, 3, 5, 127, 1000, 2**31 - 1)
_REALS = (float("nan"), float("inf"), 0.0, -1.0, 1e-30, 1e30)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to three of its tables changed: ops, options, tensors, scales, buffers, ends."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for _ in range(int(rng.integers(1, 4))):
        _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](model, rng)
    return _packed(model)


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _change_list(values: Any, most: int, rng: np.random.Generator) -> list[int]:
    found = [] if values is None else [int(value) for value in values]
    way = int(rng.integers(4))
    if way == 0 and found:
        found[int(rng.integers(len(found)))] = int(rng.integers(-1, most))
    elif way == 1:
        found = found[:-1]
    elif way == 2:
        found.append(int(rng.integers(-1, most)))
    else:
        found = found[::-1]
    return found


def _change_wires(model: Any, rng: np.random.Generator) -> None:
    graph = model.subgraphs[0]
    table = _pick(rng, [*graph.operators, *graph.operators, graph])
    side = _pick(rng, ("inputs", "outputs"))
    setattr(table, side, _change_list(getattr(table, side), len(graph.tensors), rng))


def _change_option(model: Any, rng: np.random.Generator) -> None:
    options = _pick(rng, model.subgraphs[0].operators).builtinOptions
    names = [name for name, value in vars(options).items() if isinstance(value, (int, float))] if options else []
    if not names:
        return
    name = _pick(rng, names)
    value = getattr(options, name)
    if isinstance(value, float):
        setattr(options, name, _pick(rng, _REALS))
    elif isinstance(value, bool):
        setattr(options, name, not value)
    elif name in ("padding", "fusedActivationFunction", "weightsFormat", "quantizedBiasType"):
        setattr(options, name, int(rng.integers(0, 5)))
    else:
        setattr(options, name, _pick(rng, _EXTENTS))


def _change_tensor(model: Any, rng: np.random.Generator) -> None:
    tensor = _pick(rng, model.subgraphs[0].tensors)
    shape = [] if tensor.shape is None else [int(extent) for extent in tensor.shape]
    way = int(rng.integers(4))
    if way == 0:
        tensor.type = _pick(rng, (0, 1, 2, 3, 4, 6, 7, 9))
    elif way == 1 and shape:
        shape[int(rng.integers(len(shape)))] = _pick(rng, _EXTENTS)
    elif way == 2:
        shape = shape[:-1]
    else:
        shape = [1, *shape]
    tensor.shape = shape


def _change_scale(model: Any, rng: np.random.Generator) -> None:
    tensor = _pick(rng, model.subgraphs[0].tensors)
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale):
        return
    scales = [float(scale) for scale in found.scale]
    way = int(rng.integers(5))
    if way == 0:
        scales[int(rng.integers(len(scales)))] = _pick(rng, _REALS)
        found.scale = scales
    elif way == 1:
        found.quantizedDimension = _pick(rng, (-1, 0, 1, 2, 3, 9))
    elif way == 2:
        tensor.quantization = None
    elif way == 3:
        found.scale, found.zeroPoint = scales * 2, [0] * (2 * len(scales))
    else:
        found.zeroPoint = [_pick(rng, _EXTENTS)] * len(scales)


def _change_values(model: Any, rng: np.random.Generator) -> None:
    buffer = _pick(rng, model.buffers)
    if buffer.data is not None and len(buffer.data):
        buffer.data = np.array(buffer.data, np.uint8)
        buffer.data[int(rng.integers(len(buffer.data)))] = int(rng.integers(256))


def _change_kind(model: Any, rng: np.random.Generator) -> None:
    code = _pick(rng, model.operatorCodes)
    other = int(_pick(rng, model.operatorCodes).builtinCode) if rng.random() < 0.6 else int(rng.integers(0, 150))
    code.builtinCode, code.deprecatedBuiltinCode = other, min(other, 127)


def _change_order(model: Any, rng: np.random.Generator) -> None:
    ops = model.subgraphs[0].operators
    one, other = int(rng.integers(len(ops))), int(rng.integers(len(ops)))
    ops[one], ops[other] = ops[other], ops[one]


_MUTATIONS = (
    _change_wires, _change_option, _change_tensor, _change_scale, _change_values, _change_kind, _change_order,
)  # fmt: skip


def _use(data: bytes) -> None:
    """What a file goes through before anything runs: read, inspect, rewrite for each kind of target, write, lower."""
    graph = parse_tflite(data, "mutant")
    inspect_graph(graph)
    rewritten = [run_passes(graph, passes_for(graph, name, int8=True)) for name in ("cpu", "cortex-m4")]
    parse_tflite(write_tflite(run_passes(rewritten[0], ("pad-channels",))), "rewritten")
    shape = graph.tensors[graph.inputs[0]].shape
    if graph.tensors[graph.inputs[0]].dtype == "float32" and np.prod(shape) < 1e5:
        find_streams(scheme_of(graph, np.full((1, *shape[1:]), 0.5, np.float32)).graph)
    lower(rewritten[1])


def _many_ops(dtype: str) -> Graph:
    """A network of the ops that passes look at: 6 x 6 x 4 to 5 values, float32 or int8."""
    rng = np.random.default_rng(8)
    steps = Quantization.per_tensor(0.05, 3) if dtype == "int8" else None

    def weights(name: str, shape: tuple[int, ...], axis: int) -> list[Tensor]:
        if steps is None:
            return [constant(name, rng.normal(size=shape).astype(np.float32)),
                    constant(f"{name}_bias", rng.normal(size=shape[axis]).astype(np.float32))]  # fmt: skip
        scales = np.full(shape[axis], 0.01, np.float32)
        return [constant(name, rng.integers(-127, 128, shape).astype(np.int8), Quantization.per_channel(scales, axis)),
                constant(f"{name}_bias", rng.integers(-99, 99, shape[axis]).astype(np.int32),
                         Quantization.per_channel(scales * np.float32(0.05), 0))]  # fmt: skip

    half = np.array(0.5, np.float32) if steps is None else np.array(13, np.int8)
    tensors = [
        *(Tensor(name, shape, dtype, steps) for name, shape in {
            "image": (1, 6, 6, 4), "padded": (1, 8, 8, 4), "wide": (1, 6, 6, 4), "sum": (1, 6, 6, 4),
            "scaled": (1, 6, 6, 4), "relu": (1, 6, 6, 4), "deep": (1, 6, 6, 4), "large": (1, 12, 12, 4),
            "pooled": (1, 6, 6, 4), "joined": (1, 6, 6, 8), "turned": (1, 6, 8, 6), "back": (1, 6, 6, 8),
            "mean": (1, 1, 1, 8), "flat": (1, 8), "scores": (1, 5),
        }.items()),
        *weights("kernel", (4, 3, 3, 4), 0), *weights("depthwise", (1, 3, 3, 4), 3), *weights("dense", (5, 8), 0),
        constant("half", half, steps), constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
        constant("size", np.array([12, 12], np.int32)), constant("order", np.array([0, 1, 3, 2], np.int32)),
        constant("axes", np.array([1, 2], np.int32)), constant("shape", np.array([1, 8], np.int32)),
    ]  # fmt: skip
    window = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "activation": "NONE"}
    pool = {
        "padding": "SAME",
        "stride_h": 2,
        "stride_w": 2,
        "filter_height": 2,
        "filter_width": 2,
        "activation": "NONE",
    }
    plain = {"activation": "NONE"}
    ops = (
        Op("PAD", ("image", "pads"), ("padded",)),
        Op("CONV_2D", ("padded", "kernel", "kernel_bias"), ("wide",), {"padding": "VALID", **window}),
        Op("ADD", ("wide", "image"), ("sum",), plain),
        Op("MUL", ("sum", "half"), ("scaled",), plain),
        Op("RELU", ("scaled",), ("relu",)),
        Op("DEPTHWISE_CONV_2D", ("relu", "depthwise", "depthwise_bias"), ("deep",),
           {"padding": "SAME", "depth_multiplier": 1, **window}),
        Op("RESIZE_BILINEAR", ("deep", "size"), ("large",), {"half_pixel_centers": True, "align_corners": False}),
        Op("MAX_POOL_2D", ("large",), ("pooled",), {**pool, **plain}),
        Op("CONCATENATION", ("pooled", "sum"), ("joined",), {"axis": 3, **plain}),
        Op("TRANSPOSE", ("joined", "order"), ("turned",)),
        Op("TRANSPOSE", ("turned", "order"), ("back",)),
        Op("MEAN", ("back", "axes"), ("mean",), {"keep_dims": True}),
        Op("RESHAPE", ("mean", "shape"), ("flat",), {"new_shape": (1, 8)}),
        Op("FULLY_CONNECTED", ("flat", "dense", "dense_bias"), ("scores",), plain),
    )  # fmt: skip
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_mutants_end_in_an_error_of_ours_or_pass(dtype: str, request: pytest.FixtureRequest) -> None:
    data = write_tflite(_many_ops(dtype))
    if dtype == "int8":
        _use(data)
    rng = np.random.default_rng(11)
    ends: collections.Counter[str] = collections.Counter()
    for _ in range(request.config.getoption("--fuzz")):
        mutant = _mutated(data, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # scales of 1e30 overflow in NumPy, and may
            try:
                _use(mutant)
                ends["passed"] += 1
            except MnedgeError as exc:
                ends[type(exc).__name__] += 1
    assert ends["InputError"] > ends.total() / 4
    assert ends["passed"] + ends["UnsupportedError"] > 0
