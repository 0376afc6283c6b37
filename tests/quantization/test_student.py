"""The network that is trained is the network that is shipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mnedge.quantization.calibrate import observe
from mnedge.quantization.interpret import interpret
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.scheme import scheme_of
from mnedge.quantization.student import Student, cut_points


def start(graph: Any, images: np.ndarray, granularity: Any = "per-channel") -> Any:
    scheme = scheme_of(graph, images, granularity)
    return scheme, initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_the_forward_pass_is_the_int8_graph_in_litert(separable: Any, images: Any, granularity: Any) -> None:
    scheme, parameters = start(separable().graph("wide"), images(8), granularity)
    student = Student(scheme, parameters)
    for kind, by in (("weights", 0.4), ("biases", 1e-3), ("ranges", 1e-3), ("scales", 1e-3)):
        variable = student.variables[kind]
        variable.assign(np.random.default_rng(1).normal(0, by, variable.shape))
    check_steps(scheme, student, images(8, 3))


def test_hard_swish_and_its_gate_are_those_of_litert(swish: Any, pictures: Any, others: Any) -> None:
    scheme, parameters = start(swish, pictures)
    check_steps(scheme, Student(scheme, parameters), others[:16])


def test_what_is_split_packed_and_gathered_has_the_steps_of_litert(net: Any, images: Any) -> None:
    made = net(seed=3).conv("c", 8, activation="NONE")
    axis = made.constant("axis", np.array(3, np.int32))
    made.op("SPLIT", "one", (axis, "c"), (1, 8, 8, 4), num_splits=2)
    made.tensors["two"] = replace(made.tensors["one"], name="two")
    made.ops[-1] = replace(made.ops[-1], outputs=("one", "two"))
    made.op("PACK", "pairs", ("two", "one"), (1, 8, 8, 4, 2), axis=4, values_count=2)
    shape = made.constant("shape", np.array([1, 8, 8, 8], np.int32))
    made.op("RESHAPE", "mixed", ("pairs", shape), (1, 8, 8, 8))
    places = made.constant("places", np.arange(8)[::-1].astype(np.int32))
    made.op("GATHER", "turned", ("mixed", places), (1, 8, 8, 8), axis=3)
    over = made.constant("over", np.array([1, 2], np.int32))
    made.op("REDUCE_MAX", "y", ("turned", over), (1, 8), keep_dims=False)
    scheme, parameters = start(made.graph(), images(8))
    check_steps(scheme, Student(scheme, parameters), images(8, 3))


def check_steps(scheme: Any, student: Student, pictures: Any) -> None:
    """Every activation has LiteRT's steps; behind a MEAN, whose float32 a kernel may contract, some may be one off."""
    int8 = to_int8(scheme, student.parameters())
    made_by = {name: op for op in int8.ops for name in op.outputs}
    rows = interpret(int8.replaced(outputs=made_by), pictures, lambda _, made: [value.copy() for value in made])
    forward, exact = student.forward(pictures), True
    for (name, op), found in zip(made_by.items(), zip(*rows, strict=True), strict=True):
        quantization = int8.tensors[name].quantization
        assert quantization is not None
        trained = quantization.quantize(np.asarray(forward[name]), "int8").astype(int)
        off = np.abs(np.concatenate(found).astype(int).reshape(trained.shape) - trained)
        exact &= op.kind not in ("MEAN", "SOFTMAX")
        assert off.max() <= (0 if exact else 1), op
        assert np.mean(off > 0) < 0.01, op


def test_parameters_come_back_as_they_went_in(separable: Any, images: Any) -> None:
    scheme, parameters = start(separable().graph(), images(8))
    again = Student(scheme, parameters).parameters()
    for name, value in parameters.biases.items():
        np.testing.assert_allclose(again.biases[name], value)
    for name, scales in parameters.weight_scales.items():
        np.testing.assert_allclose(again.weight_scales[name], scales)
        assert np.all(np.abs(again.weights[name] - parameters.weights[name]) <= scales.max() * 0.501)
    one, other = to_int8(scheme, parameters), to_int8(scheme, again)
    for name, tensor in one.tensors.items():
        same = other.tensors[name]
        if tensor.data is not None:
            assert same.data is not None, name
            assert np.array_equal(same.data, tensor.data), name
        if tensor.quantization is not None:
            assert same.quantization is not None, name
            np.testing.assert_allclose(same.quantization.scale, tensor.quantization.scale, rtol=1e-5)


def test_learned_values_arrive_in_the_parameters(separable: Any, images: Any) -> None:
    scheme, parameters = start(separable().graph(), images(4))
    student = Student(scheme, parameters)
    before = student.parameters()
    student.variables["ranges"].assign(np.full(student.variables["ranges"].shape, 0.1, np.float32))
    student.variables["biases"].assign_add(np.ones(student.variables["biases"].shape, np.float32))
    student.variables["scales"].assign_add(np.full(student.variables["scales"].shape, np.log(2), np.float32))
    after = student.parameters()
    name = scheme.group["deep"]
    (low, high), (first_low, first_high) = after.ranges[name], before.ranges[name]
    assert low == first_low == 0.0, "an end at zero stays there"
    assert np.isclose(high, first_high * 1.1, rtol=1e-3)
    assert np.all(after.biases["deep/b"] > before.biases["deep/b"])
    np.testing.assert_allclose(after.weight_scales["deep/w"], 2 * before.weight_scales["deep/w"], rtol=1e-5)


def test_blocks_end_where_all_goes_through_one_tensor(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(2))
    # Between "stem" and "sum" the residual goes around.
    assert cut_points(scheme) == ["stem", "sum", "wide", "mean", "logits"]
