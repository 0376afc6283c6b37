"""Quantization, Tensor, Op and Graph: values that cannot change, and the rules between them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

SCALES = st.floats(2.0**-20, 2.0**10, width=32)
STEPS = arrays(np.int8, st.integers(1, 20), elements=st.integers(-128, 127))


@given(SCALES, st.integers(-128, 127), STEPS)
def test_every_step_comes_back_from_its_real_value(scale: float, zero_point: int, steps: np.ndarray) -> None:
    quantization = Quantization.per_tensor(scale, zero_point)
    real = quantization.dequantize(steps)
    assert real.dtype == np.float32
    # Jacob et al. 2018, eq. 1, in double precision.
    exact = float(np.float32(scale)) * (steps.astype(np.float64) - zero_point)
    np.testing.assert_allclose(real, exact, rtol=1e-6)
    assert np.array_equal(quantization.quantize(real, "int8"), steps)


@given(SCALES, st.integers(-128, 127), arrays(np.float32, 8, elements=st.floats(-100, 100, width=32)))
def test_quantizing_errs_by_half_a_step_or_saturates(scale: float, zero_point: int, real: np.ndarray) -> None:
    quantization = Quantization.per_tensor(scale, zero_point)
    steps = quantization.quantize(real, "int8")
    ends = quantization.dequantize(np.array([-128, 127], np.int8))
    inside = np.clip(real, *ends)
    assert np.all(np.abs(quantization.dequantize(steps) - inside) <= scale * 0.501 + np.abs(real) * 1e-5)
    assert np.all(steps[real > ends[1]] == 127)
    assert np.all(steps[real < ends[0]] == -128)


def test_ties_go_to_even() -> None:
    halves = np.array([-1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert Quantization.per_tensor(1.0, 0).quantize(halves, "int8").tolist() == [-2, 0, 0, 2, 2]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_channel_has_its_own_scale(axis: int) -> None:
    shape = (2, 3, 4)
    scales = np.linspace(0.1, 0.9, shape[axis]).astype(np.float32)
    real = Quantization.per_channel(scales, axis).dequantize(np.full(shape, 10, np.int8))
    for channel, scale in enumerate(scales):
        assert np.allclose(np.take(real, channel, axis), 10 * scale)


def test_a_tensor_knows_its_real_values() -> None:
    assert constant("c", np.array([1.5, -2.0], np.float64)).real().dtype == np.float32
    steps = constant("q", np.array([[1, -128]], np.int8), Quantization.per_tensor(0.5, 1))
    assert steps.is_constant
    assert (steps.shape, steps.dtype) == ((1, 2), "int8")
    assert steps.real().tolist() == [[0.0, -64.5]]
    assert not Tensor("a", (1,), "float32").is_constant


def diamond() -> Graph:
    """x -> a -> (b, c) -> y, with a constant."""
    tensors = [Tensor(name, (1, 2), "float32") for name in "xabcy"] + [constant("k", np.ones(2, np.float32))]
    ops = (
        Op("RELU", ("x",), ("a",)),
        Op("LOGISTIC", ("a",), ("b",)),
        Op("ADD", ("a", "k"), ("c",), {"activation": "NONE"}),
        Op("MUL", ("b", "c"), ("y",), {"activation": "NONE"}),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))


def test_nothing_can_be_changed_in_place() -> None:
    graph = diamond()
    with pytest.raises(TypeError):
        graph.tensors["x"] = graph.tensors["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        graph.ops[2].options["activation"] = "RELU"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        graph.inputs = ("a",)  # type: ignore[misc]


def test_options_are_the_ops_own() -> None:
    options = {"activation": "NONE"}
    op = Op("ADD", ("a", "b"), ("c",), options)
    options["activation"] = "RELU"
    assert op.options["activation"] == "NONE"
    assert op.with_options(activation="RELU6").options == {"activation": "RELU6"}
    assert op.options["activation"] == "NONE"


def test_inputs_follow_a_renaming_and_absent_ones_stay_absent() -> None:
    op = Op("CONV_2D", ("x", "w", None), ("y",)).with_inputs({"x": "z", "y": "never"})
    assert op.inputs == ("z", "w", None)
    assert op.outputs == ("y",)


def test_producers_and_consumers() -> None:
    graph = diamond()
    assert {name: op.kind for name, op in graph.producers().items()} == {
        "a": "RELU",
        "b": "LOGISTIC",
        "c": "ADD",
        "y": "MUL",
    }
    assert [op.kind for op in graph.consumers()["a"]] == ["LOGISTIC", "ADD"]
    assert graph.consumers()["y"] == []
    square = graph.replaced(ops=[*graph.ops[:2], Op("MUL", ("b", "b"), ("y",))])
    assert len(square.consumers()["b"]) == 1, "an op that reads a tensor twice is one reader"


def test_replacing_ops_drops_what_nothing_touches() -> None:
    graph = diamond().replaced(ops=[Op("RELU", ("x",), ("a",)), Op("LOGISTIC", ("a",), ("y",))])
    graph.check()
    assert set(graph.tensors) == {"x", "a", "y"}
    kept = diamond().replaced(tensors=[constant("k", np.zeros(2, np.float32)), constant("lost", np.ones(1))])
    assert kept.tensors["k"].real().tolist() == [0, 0]
    assert "lost" not in kept.tensors


def test_replacing_keeps_metadata() -> None:
    graph = replace(diamond(), metadata={"min_runtime_version": b"1.5.0"})
    assert graph.replaced(outputs=("b",)).metadata == {"min_runtime_version": b"1.5.0"}


def test_fresh_names_count_up() -> None:
    graph = diamond()
    assert graph.fresh_name("z") == "z"
    assert graph.fresh_name("x") == "x_1"
    assert graph.replaced(ops=[*graph.ops, Op("RELU", ("x_1",), ("z",))], tensors=[
        Tensor("x_1", (1, 2), "float32"), Tensor("z", (1, 2), "float32"),
    ]).fresh_name("x") == "x_2"  # fmt: skip


def test_a_good_graph_passes_the_check(small_int8: Graph) -> None:
    diamond().check()
    small_int8.check()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda g: g.replaced(ops=g.ops[::-1]), "MUL reads b before it is made"),
        (lambda g: g.replaced(ops=[*g.ops, g.ops[0]]), "RELU makes a a second time"),
        (lambda g: replace(g, ops=(*g.ops, Op("RELU", ("y",), ("nowhere",)))), "unknown tensor nowhere"),
        (lambda g: g.replaced(ops=g.ops[:-1]), "output y is never made"),
        (lambda g: g.replaced(ops=[*g.ops, Op("RELU", ("y",), ("k",))]), "RELU makes k a second time"),
        (lambda g: g.replaced(tensors=[replace(g.tensors["k"], shape=(3,))]), "k"),
        (lambda g: g.replaced(tensors=[replace(g.tensors["k"], dtype="int8")]), "k"),
    ],
)
def test_a_broken_graph_is_named(changed: object, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        changed(diamond()).check()  # type: ignore[operator]
