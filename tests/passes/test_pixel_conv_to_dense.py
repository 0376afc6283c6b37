"""1x1 convolutions of one pixel as dense layers."""

from __future__ import annotations

import numpy as np

from mnedge.passes.pixel_conv_to_dense import apply
from mnedge.quantization.interpret import first_output
from tests.quantization.conftest import Net, smooth_pictures


def test_convolutions_of_one_pixel_become_dense_and_answer_alike() -> None:
    net = Net((1, 16, 16, 3)).conv("conv", 6, stride=2)
    axes = net.constant("axes", np.array([1, 2], np.int32))
    net.op("MEAN", "pooled", ("conv", axes), (1, 1, 1, 6), keep_dims=True).conv("pixel", 5, kernel=1)
    graph = net.conv("last", 4, kernel=1, activation="NONE").graph()
    made, pictures = apply(graph), smooth_pictures(4, 1)
    assert [op.kind for op in made.ops] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "FULLY_CONNECTED"]
    np.testing.assert_allclose(first_output(made, pictures), first_output(graph, pictures), rtol=1e-5, atol=1e-6)


def test_shared_weights_stay() -> None:
    weights, bias = np.ones((3, 1, 1, 3), np.float32), np.zeros(3, np.float32)
    net = Net((1, 1, 1, 3))
    net.constant("w", weights)
    net.constant("b", bias)
    options = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "activation": "NONE", "dilation_h_factor": 1,
               "dilation_w_factor": 1}  # fmt: skip
    for name, source in (("one", "x"), ("two", "one")):
        net.op("CONV_2D", name, (source, "w", "b"), (1, 1, 1, 3), **options)
    assert all(op.kind == "CONV_2D" for op in apply(net.graph()).ops)
