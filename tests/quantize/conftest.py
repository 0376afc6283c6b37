"""A tiny network whose channels differ so much that one range cannot hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Tensor, constant


def conv_options(stride: int = 1, activation: str = "NONE") -> dict[str, Any]:
    return {
        "stride_h": stride, "stride_w": stride, "padding": "SAME", "activation": activation,
        "dilation_h_factor": 1, "dilation_w_factor": 1,
    }  # fmt: skip


def build_network(spread: float, *, hard_swish: bool = False) -> Graph:
    """conv, depthwise, conv, mean, fully connected, softmax; inner channels are scaled by up to `spread`.

    The factors are taken back where the channels are read: the function does not depend on `spread`.
    """
    rng = np.random.default_rng(11)
    factor = np.exp(rng.uniform(-np.log(spread), 0, 12)).astype(np.float32)
    factor[0] = 1.0
    first = rng.normal(0, 0.4, (12, 3, 3, 3)).astype(np.float32)
    depth = rng.normal(0, 0.4, (1, 3, 3, 12)).astype(np.float32)
    second = rng.normal(0, 0.4, (16, 1, 1, 12)).astype(np.float32)
    values = {
        "w1": first * factor[:, None, None, None],
        "b1": rng.normal(0, 0.2, 12).astype(np.float32) * factor,
        "w2": depth,
        "b2": rng.normal(0, 0.2, 12).astype(np.float32) * factor,
        "w3": second / factor,
        "b3": rng.normal(0, 0.2, 16).astype(np.float32),
        "axes": np.array([1, 2], np.int32),
        "w4": rng.normal(0, 3.0, (10, 16)).astype(np.float32),
        "b4": np.zeros(10, np.float32),
    }
    shapes = {
        "image": (1, 16, 16, 3), "conv1": (1, 8, 8, 12), "conv2": (1, 8, 8, 12), "conv3": (1, 8, 8, 16),
        "mean": (1, 16), "logits": (1, 10), "scores": (1, 10),
    }  # fmt: skip
    ops = [
        Op("CONV_2D", ("image", "w1", "b1"), ("conv1",), conv_options(2, "RELU")),
        Op("DEPTHWISE_CONV_2D", ("conv1", "w2", "b2"), ("conv2",), conv_options(1, "RELU") | {"depth_multiplier": 1}),
        Op("CONV_2D", ("conv2", "w3", "b3"), ("conv3",), conv_options(1, "NONE" if hard_swish else "RELU")),
        Op("MEAN", ("swish" if hard_swish else "conv3", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "w4", "b4"), ("logits",), {"activation": "NONE"}),
        Op("SOFTMAX", ("logits",), ("scores",), {"beta": 1.0}),
    ]
    if hard_swish:
        values["three"] = np.float32(3.0)
        shapes |= {"gate": (1, 8, 8, 16), "swish": (1, 8, 8, 16)}
        gate = Op("ADD", ("conv3", "three"), ("gate",), {"activation": "RELU6"})
        ops[3:3] = [gate, Op("MUL", ("conv3", "gate"), ("swish",), {"activation": "NONE"})]
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, np.asarray(value)) for name, value in values.items()]
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("image",), ("scores",))


@pytest.fixture(scope="session")
def outliers() -> Graph:
    return build_network(3000.0)


@pytest.fixture(scope="session")
def swish() -> Graph:
    return build_network(30.0, hard_swish=True)


def smooth_pictures(count: int, seed: int) -> Any:
    """Pixels of blurred noise, as real values p / 127.5 - 1: neighbours are alike, as in photographs."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 256, (count, 4, 4, 3))
    pixels = np.clip(coarse.repeat(4, 1).repeat(4, 2) + rng.normal(0, 20, (count, 16, 16, 3)), 0, 255).astype(np.uint8)
    return (pixels / np.float32(127.5) - 1).astype(np.float32)


@pytest.fixture(scope="session")
def pictures() -> Any:
    return smooth_pictures(64, 1)


@pytest.fixture(scope="session")
def others() -> Any:
    return smooth_pictures(256, 2)
