"""The network that is trained is the network that is shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import predict, simulate
from mnedge.quantize.calibrate import observe
from mnedge.quantize.parameters import initial_parameters, to_int8
from mnedge.quantize.ranges import choose_ranges
from mnedge.quantize.scheme import scheme_of
from mnedge.quantize.student import Student, cut_points


def start(graph: Any, images: np.ndarray, granularity: Any = "per-channel") -> Any:
    scheme = scheme_of(graph, images, granularity)
    return scheme, initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_the_forward_pass_is_the_int8_graph(separable: Any, images: Any, granularity: Any) -> None:
    scheme, parameters = start(separable().graph("wide"), images(8), granularity)
    student = Student(scheme, parameters)
    int8 = to_int8(scheme, student.parameters())
    trained = student.forward(images(8, 3))["wide"].numpy()
    shipped = predict(int8, images(8, 3), on_tensor=simulate(int8))
    quantization = int8.tensors["wide"].quantization
    assert quantization is not None
    off = np.abs(trained - shipped) / float(quantization.scale[0])
    # Only sums of floats on a tie may differ; a bias that is not on its int32 step moves one value in a thousand.
    assert off.max() <= 1.01
    assert off.mean() < 2e-4


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
