"""Shares of activations in the noise at the output."""

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.quantization.noise_shares import noise_shares


def test_shares_are_those_of_the_squared_steps() -> None:
    """Rounding to a step s adds s^2 / 12: of steps 0.1 and 0.05 that are summed, four fifths and one."""
    shape = (1, 1, 1, 4000)
    scales = {"x": 0.001, "coarse": 0.1, "fine": 0.05, "sum": 0.2, "folded": 0.2, "out": 0.2}
    tensors = [Tensor(name, shape, "int8", Quantization.per_tensor(scale, 0)) for name, scale in scales.items()]
    tensors[4] = Tensor("folded", (1, 4000), "int8", tensors[4].quantization)
    tensors[5] = Tensor("out", (1, 4000), "int8", tensors[5].quantization)
    factor = constant("factor", np.array(30.0, np.float32))
    shape_of = constant("shape", np.array([1, 4000], np.int32))
    none = {"activation": "NONE"}
    ops = (
        Op("MUL", ("x", "factor"), ("coarse",), none),
        Op("MUL", ("x", "factor"), ("fine",), none),
        Op("ADD", ("coarse", "fine"), ("sum",), none),
        Op("RESHAPE", ("sum", "shape"), ("folded",)),
        Op("RELU", ("folded",), ("out",)),
    )
    graph = Graph({item.name: item for item in (*tensors, factor, shape_of)}, ops, ("x",), ("out",))
    samples = np.random.default_rng(2).uniform(0.0, 0.1, (4, 1, 1, 4000)).astype(np.float32)
    told: list[float] = []
    shares = noise_shares(graph, samples, lambda _, share: told.append(share))
    # What RESHAPE makes has the steps of what it reads.
    assert list(shares) == ["coarse", "fine", "sum"]
    powers = np.square([0.1, 0.05, 0.2])
    assert list(shares.values()) == pytest.approx(powers / powers.sum(), rel=0.03)
    assert told[-1] == 1.0
