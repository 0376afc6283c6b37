"""Every op of an .onnx on random shapes and attributes, held against ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnedge.errors import UnsupportedError
from mnedge.formats.onnx_read import HANDLERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.graph.graph import Graph

    Agreed = Callable[..., Graph]

_OPSETS = st.sampled_from([9, 11, 13, 17, 18, 22])
_fuzz = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _ints(*values: int) -> Any:
    return np.array(values, np.int64)


@_fuzz
@given(data=st.data())
def test_convolutions(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    before, each, group = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    window = [draw(st.integers(1, 5)), draw(st.integers(1, 5))]
    size = draw(st.integers(9, 14)), draw(st.integers(9, 14))
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    weights = net.constant(net.normal(each * group, before, *window))
    attributes: dict[str, Any] = {"group": group, "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 3))]}
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", "none"]))
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(4)]
        attributes["dilations"] = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    elif padding != "none":
        attributes["auto_pad"] = padding
    inputs = ["input", weights] + ([net.constant(net.normal(each * group))] if draw(st.booleans()) else [])
    agreed(net.model(net.node("Conv", *inputs, **attributes), ("batch", before * group, *size)))


@_fuzz
@given(data=st.data())
def test_transposed_convolutions(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    before, after, window = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    stride = draw(st.integers(1, 3))
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    inputs = ["input", net.constant(net.normal(before, after, window, window))]
    inputs += [net.constant(net.normal(after))] if draw(st.booleans()) else []
    attributes: dict[str, Any] = {"strides": [stride, stride], "kernel_shape": [window, window]}
    if draw(st.booleans()):
        edge = draw(st.integers(0, max(window - 1, 0) // 2))
        attributes["pads"] = [edge] * 4
        attributes["output_padding"] = [draw(st.integers(0, stride - 1))] * 2
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    made = net.node("ConvTranspose", *inputs, **attributes)
    agreed(net.model(made, (1, before, 5, 6)))


@_fuzz
@given(data=st.data())
def test_pooling(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    kind = draw(st.sampled_from(["AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"]))
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    attributes: dict[str, Any] = {}
    x = net.node("Relu", "input")
    if not kind.startswith("Global"):
        window = draw(st.integers(1, 4))
        attributes = {"kernel_shape": [window, window], "strides": [draw(st.integers(1, 3))] * 2}
        attributes["pads"] = [draw(st.integers(0, window // 2))] * 4
        if kind == "AveragePool":
            attributes["count_include_pad"] = 1
        elif net.opset >= 10:
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    agreed(net.model(net.node(kind, x, **attributes), ("batch", 3, draw(st.integers(7, 11)), draw(st.integers(7, 11)))))


_UNARY: dict[str, dict[str, Any]] = {
    "Abs": {}, "Ceil": {}, "Cos": {}, "Elu": {"alpha": 1.0}, "Exp": {}, "Floor": {}, "HardSigmoid": {"alpha": 0.2},
    "HardSwish": {}, "Identity": {}, "LeakyRelu": {"alpha": 0.1}, "Neg": {}, "Relu": {}, "Round": {}, "Sigmoid": {},
    "Sin": {}, "Tanh": {}, "Gelu": {"approximate": "tanh"}, "Dropout": {}, "Reciprocal": {}, "Sqrt": {}, "Log": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", _UNARY)
def test_one_value_each(kind: str, torch_style: Any, agreed: Agreed) -> None:
    opset = {"HardSwish": 14, "Gelu": 20, "Round": 11}.get(kind, 9)
    net = torch_style(opset)
    x = net.node("Abs", "input") if kind in ("Sqrt", "Log", "Reciprocal") else "input"
    x = net.node("Add", x, net.constant(np.array(0.5, np.float32))) if x != "input" else x
    made = net.node(kind, x, **_UNARY[kind])
    agreed(net.model(made, ("batch", 3, 5, 4)))


@_fuzz
@given(data=st.data())
def test_two_values_broadcast(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    kind = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"]))
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    shape = draw(st.sampled_from([(), (1,), (4,), (3, 1, 1), (1, 3, 1, 1), (5, 4), (3, 5, 4), (1, 3, 5, 4)]))
    other = (np.abs(net.random.normal(size=shape)) + 0.5).astype(np.float32)
    sides = ["input", net.constant(other)]
    if draw(st.booleans()):
        # The same shape, computed: of a pooled map, or of the map itself.
        made = net.node("Exp", net.node("GlobalAveragePool", "input") if draw(st.booleans()) else "input")
        sides[1] = made
    if draw(st.booleans()):
        sides.reverse()
    scaled = net.node("Sigmoid", sides[0]) if sides[0] == "input" else sides[0]
    agreed(net.model(net.node(kind, scaled, sides[1]) if kind != "Div" else net.node(kind, sides[0], net.node(
        "Exp", sides[1])), ("batch", 3, 5, 4)))  # fmt: skip


@_fuzz
@given(low=st.sampled_from([None, -3.0, -1.0, 0.0]), high=st.sampled_from([None, 0.5, 1.0, 6.0]), opset=_OPSETS)
def test_limits(low: float | None, high: float | None, opset: int, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(opset)
    if opset < 11:
        attributes = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
        made = net.node("Clip", "input", **attributes)
    else:
        ends = ["" if value is None else net.constant(np.array(value, np.float32)) for value in (low, high)]
        made = net.node("Clip", "input", *ends)
    agreed(net.model(made, (1, 3, 5, 4)), scale=5.0)


@_fuzz
@given(data=st.data())
def test_reductions(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    kind = draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"]))
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    axes = draw(st.lists(st.sampled_from([1, 2, 3, -1, -2]), min_size=1, max_size=2, unique_by=lambda axis: axis % 4))
    since = 13 if kind == "ReduceSum" else 18
    keeps = {"keepdims": draw(st.integers(0, 1))}
    made = (net.node(kind, "input", net.constant(_ints(*axes)), **keeps) if net.opset >= since
            else net.node(kind, "input", axes=axes, **keeps))  # fmt: skip
    agreed(net.model(made, (1, 3, 5, 4)))


@_fuzz
@given(data=st.data())
def test_resizing(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    net = torch_style(draw(st.sampled_from([11, 13, 18, 22])), 0)
    mode = draw(st.sampled_from(["nearest", "linear"]))
    transformation = draw(st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]))
    attributes = {"mode": mode, "coordinate_transformation_mode": transformation}
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(["floor", "round_prefer_floor", "round_prefer_ceil"]))
    none = net.constant(np.zeros(0, np.float32))
    height, width = draw(st.integers(2, 13)), draw(st.integers(2, 13))
    if draw(st.booleans()):
        made = net.node("Resize", "input", none, none, net.constant(_ints(1, 3, height, width)), **attributes)
    else:
        scales = np.array([1, 1, draw(st.integers(1, 3)), draw(st.integers(1, 3))], np.float32)
        made = net.node("Resize", "input", none, net.constant(scales), **attributes)
    try:
        agreed(net.model(made, (1, 3, 5, 6)))
    except UnsupportedError as exc:
        # Some modes read other pixels than TFLite's, which must be said by name.
        assert transformation in str(exc)  # noqa: PT017 - either is right
        assert transformation != "align_corners" or mode == "nearest"


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("form", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
def test_whole_factors_have_a_form_in_every_usual_mode(mode: str, form: str, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(13)
    none, scales = net.constant(np.zeros(0, np.float32)), net.constant(np.array([1, 1, 2, 2], np.float32))
    rounding = {"asymmetric": "floor", "align_corners": "round_prefer_ceil"}.get(form, "round_prefer_floor")
    made = net.node("Resize", "input", none, scales, mode=mode, coordinate_transformation_mode=form,
                    nearest_mode=rounding)  # fmt: skip
    assert len(agreed(net.model(made, (1, 3, 5, 6))).ops) == 1


@_fuzz
@given(data=st.data())
def test_shapes_and_places(data: Any, torch_style: Any, agreed: Agreed) -> None:  # noqa: C901, PLR0912 - a step a kind
    """Chains of ops that only move values, in every order, behind a map that lies as NHWC."""
    draw = data.draw
    net = torch_style(draw(st.sampled_from([13, 17, 18, 22])), draw(st.integers(0, 99)))
    x, shape = net.conv("input", 3, 4, bias=True), [1, 4, 6, 2]
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["Transpose", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Slice", "Concat",
                                     "Split", "Gather", "Relu", "Expand", "Tile"]))  # fmt: skip
        rank, last = len(shape), len(shape) - 1
        if kind == "Transpose" and rank > 1:
            order = [0, *draw(st.permutations(range(1, rank)))]
            x, shape = net.node(kind, x, perm=order), [shape[axis] for axis in order]
        elif kind == "Reshape" and rank < 5:
            axis = draw(st.integers(1, last)) if last else 0
            if axis and shape[axis] % 2 == 0:
                shape = [*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :]]
            elif last > 1:
                shape = [shape[0], shape[1] * shape[2], *shape[3:]]
            told = [*shape[:-1], -1]
            x = net.node(kind, x, net.constant(_ints(*told)))
        elif kind == "Flatten":
            x, shape = net.node(kind, x, axis=1), [shape[0], int(np.prod(shape[1:]))]
        elif kind == "Unsqueeze" and rank < 5:
            axis = draw(st.integers(1, rank))
            x, shape = net.node(kind, x, net.constant(_ints(axis))), [*shape[:axis], 1, *shape[axis:]]
        elif kind == "Squeeze" and 1 in shape[1:] and rank > 2:
            axis = 1 + shape[1:].index(1)
            x, shape = net.node(kind, x, net.constant(_ints(axis))), [*shape[:axis], *shape[axis + 1 :]]
        elif kind in ("Slice", "Gather", "Split", "Concat", "Expand", "Tile") and last:
            axis = draw(st.integers(1, last))
            if kind == "Slice":
                step = draw(st.sampled_from([1, 2, -1]))
                start, end = (0, 1 << 30) if step > 0 else (-1, -(1 << 30))
                x = net.node(kind, x, *(net.constant(_ints(v)) for v in (start, end, axis, step)))
                shape[axis] = -(-shape[axis] // abs(step))
            elif kind == "Gather" and rank > 2 and draw(st.booleans()):
                x, shape = net.node(kind, x, net.constant(np.array(-1)), axis=axis), shape[:axis] + shape[axis + 1 :]
            elif kind == "Gather":
                x, shape[axis] = net.node(kind, x, net.constant(_ints(0, -1, 0)), axis=axis), 3
            elif kind == "Split" and shape[axis] > 1:
                parts = [1, shape[axis] - 1]
                x = net.node(kind, x, net.constant(_ints(*parts)), axis=axis, outputs=2)[1]
                shape[axis] -= 1
            elif kind == "Concat" and shape[axis] < 20:
                row = [*shape[:axis], 1, *shape[axis + 1 :]]
                x = net.node(kind, x, net.constant(net.random.normal(size=row).astype(np.float32)), x, axis=axis)
                shape[axis] = 2 * shape[axis] + 1
            elif kind == "Expand" and shape[axis] == 1:
                shape[axis] = 3
                x = net.node(kind, x, net.constant(_ints(*shape)))
            elif kind == "Tile" and shape[axis] < 20:
                times = [1] * rank
                times[axis] = 2
                x, shape[axis] = net.node(kind, x, net.constant(_ints(*times))), 2 * shape[axis]
        elif kind == "Relu":
            x = net.node(kind, x)
    # An activation of rank 4 that lies as NHWC stays so; a sum over all is the same however it lies.
    x = net.node("Reshape", x, net.constant(_ints(1, -1)))
    agreed(net.model(net.node("Neg", x), (1, 3, 6, 2)))


@_fuzz
@given(data=st.data())
def test_flattened_maps_and_dense_layers(data: Any, torch_style: Any, agreed: Agreed) -> None:
    draw = data.draw
    net = torch_style(draw(_OPSETS), draw(st.integers(0, 99)))
    x = net.conv("input", 3, 4, bias=True)
    flat = (net.node("Flatten", x) if draw(st.booleans())
            else net.node("Reshape", x, net.constant(_ints(0, -1))))  # fmt: skip
    flat = net.node("Relu", flat) if draw(st.booleans()) else flat
    if draw(st.booleans()):
        flat = net.node("Mul", flat, net.constant(np.array(0.5, np.float32)))
    if draw(st.booleans()):
        made = net.node("MatMul", flat, net.constant(net.normal(48, 7)))
        made = net.node("Add", made, net.constant(net.normal(7)))
    else:
        turned = draw(st.booleans())
        weights = net.constant(net.normal(7, 48) if turned else net.normal(48, 7))
        more = {"alpha": 0.5, "beta": 2.0} if draw(st.booleans()) else {}
        made = net.node("Gemm", flat, weights, net.constant(net.normal(7)), transB=int(turned), **more)
    graph = agreed(net.model(made, ("batch", 3, 4, 3)))
    assert "TRANSPOSE" not in {op.kind for op in graph.ops}


@_fuzz
@given(opset=_OPSETS, axis=st.sampled_from([1, -1]), kind=st.sampled_from(["Softmax", "LogSoftmax"]))
def test_softmax(opset: int, axis: int, kind: str, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(opset)
    x = net.node("Flatten", net.node("GlobalAveragePool", net.conv("input", 3, 6)))
    agreed(net.model(net.node(kind, x, axis=axis), (1, 3, 4, 4)))
    if opset >= 13:
        net = torch_style(opset)
        agreed(net.model(net.node(kind, net.conv("input", 3, 6), axis=axis), (1, 3, 4, 5)))


@_fuzz
@given(opset=_OPSETS, mode=st.sampled_from(["constant", "reflect"]), widths=st.lists(st.integers(0, 2), min_size=4,
       max_size=4), value=st.sampled_from([0.0, 1.5]))  # fmt: skip
def test_pads(opset: int, mode: str, widths: list[int], value: float, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(opset)
    told = [0, 0, *widths[:2], 0, 0, *widths[2:]]
    if opset < 11:
        made = net.node("Pad", "input", pads=told, mode=mode, value=value)
    else:
        made = net.node("Pad", "input", net.constant(_ints(*told)), net.constant(np.array(value, np.float32)),
                        mode=mode)  # fmt: skip
    agreed(net.model(net.conv(made, 3, 4, 3, 2), (1, 3, 6, 5)))


def test_negative_pads_cut(torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(13)
    made = net.node("Pad", "input", net.constant(_ints(0, 0, -1, 1, 0, 0, 0, -2)))
    agreed(net.model(net.conv(made, 3, 4, 3), (1, 3, 6, 7)))


@pytest.mark.parametrize("order", ["erf", "tanh", "factors"])
def test_gelu_is_one_op_however_it_is_written(order: str, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(13)
    number = lambda value: net.constant(np.array(value, np.float32))  # noqa: E731
    x = net.conv("input", 3, 4, bias=True)
    if order == "tanh":
        cube = net.node("Mul", net.node("Pow", x, number(3.0)), number(0.044715))
        inner = net.node("Mul", net.node("Add", x, cube), number(0.7978845608))
        made = net.node("Mul", net.node("Mul", number(0.5), x), net.node("Add", number(1.0), net.node("Tanh", inner)))
    elif order == "erf":
        one = net.node("Add", net.node("Erf", net.node("Div", x, number(1.4142135))), number(1.0))
        made = net.node("Mul", net.node("Mul", x, one), number(0.5))
    else:
        one = net.node("Add", net.node("Erf", net.node("Mul", x, number(0.70710678))), number(1.0))
        made = net.node("Mul", x, net.node("Mul", number(0.5), one))
    assert [op.kind for op in agreed(net.model(made, (1, 3, 5, 4))).ops] == ["CONV_2D", "GELU"]


@pytest.mark.parametrize("form", ["shift", "divide", "clip"])
def test_hard_swish_of_arithmetic_is_one_op(form: str, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(13)
    number = lambda value: net.constant(np.array(value, np.float32))  # noqa: E731
    x = net.conv("input", 3, 4, bias=True)
    gate = net.node("Clip", net.node("Add", x, number(3.0)), number(0.0), number(6.0))
    if form == "shift":
        made = net.node("Mul", x, net.node("Mul", gate, number(1 / 6)))
    elif form == "divide":
        made = net.node("Div", net.node("Mul", gate, x), number(6.0))
    else:
        shifted = net.node("Add", net.node("Mul", x, number(1 / 6)), number(0.5))
        clipped = net.node("Clip", shifted, number(0.0), number(1.0))
        made = net.node("Mul", clipped, x)
    assert [op.kind for op in agreed(net.model(made, (1, 3, 5, 4))).ops] == ["CONV_2D", "HARD_SWISH"]


@pytest.mark.parametrize("kind", ["DepthToSpace", "SpaceToDepth", "DepthToSpace CRD", "LpNormalization", "PRelu", "Pow",
                                  "ArgMax", "BatchNormalization", "MatMul", "Upsample"])  # fmt: skip
def test_the_rest(kind: str, torch_style: Any, agreed: Agreed) -> None:
    net = torch_style(9 if kind == "Upsample" else 13)
    x = net.conv("input", 3, 8, bias=True)
    if kind.startswith("DepthToSpace"):
        made = net.node("DepthToSpace", x, blocksize=2, **({"mode": "CRD"} if "CRD" in kind else {}))
    elif kind == "SpaceToDepth":
        made = net.node(kind, x, blocksize=2)
    elif kind == "LpNormalization":
        made = net.node(kind, net.node("Flatten", net.node("GlobalAveragePool", x)), axis=1, p=2)
    elif kind == "PRelu":
        made = net.node(kind, x, net.constant(net.random.uniform(0.1, 0.4, (8, 1, 1)).astype(np.float32)))
    elif kind == "Pow":
        made = net.node(kind, x, net.constant(np.array(2.0, np.float32)))
    elif kind == "ArgMax":
        made = net.node("Cast", net.node(kind, x, axis=1, keepdims=0), to=1)
    elif kind == "BatchNormalization":
        made = net.batch_norm(net.node("Relu", net.batch_norm(x, 8)), 8)
    elif kind == "MatMul":
        rows = net.node("Reshape", x, net.constant(_ints(1, 8, -1)))
        made = net.node(kind, rows, net.node("Transpose", rows, perm=[0, 2, 1]))
    else:
        made = net.node(kind, x, net.constant(np.array([1, 1, 2, 3], np.float32)), mode="nearest")
    agreed(net.model(made, (1, 3, 4, 6)))


def test_no_op_of_the_table_is_left_without_a_test() -> None:
    from pathlib import Path

    text = "".join(path.read_text() for path in (Path(__file__), Path(__file__).with_name("conftest.py"),
                                                 Path(__file__).with_name("test_onnx_read.py")))  # fmt: skip
    beside = {"Size", "ArgMin", "com.microsoft.Gelu", "QuantizeLinear", "DequantizeLinear"}
    assert not {kind for kind in HANDLERS if f'"{kind}"' not in text} - beside
