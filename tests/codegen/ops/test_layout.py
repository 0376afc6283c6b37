"""Joins and paddings that pass rows on: their plans, and their outputs against LiteRT's reference kernels."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.codegen.prune import prune
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = Quantization.per_tensor(0.05, -3)


@dataclass
class Network:
    """A small int8 network of one scale."""

    rng: np.random.Generator
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def value(self, *shape: int) -> Tensor:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", (1, *shape), "int8", STEPS))
        return self.tensors[-1]

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> str:
        self.tensors.append(constant(f"c{len(self.tensors)}", data, quantization))
        return self.tensors[-1].name

    def op(self, kind: str, inputs: tuple[str, ...], y: Tensor, **options: Any) -> Tensor:
        self.ops.append(Op(kind, inputs, (y.name,), options))
        return y

    def conv(self, x: Tensor, channels: int, taps: int, *, dead: int = 0) -> Tensor:
        depth = x.shape[3]
        scale = float(np.float32(1.5 / (70.0 * taps * np.sqrt(depth))))
        data = self.rng.integers(-127, 128, (channels, taps, taps, depth)).astype(np.int8)
        data[:dead] = 0
        weights = self.constant(data, Quantization.per_tensor(scale, 0))
        bias = self.rng.integers(-900, 900, channels).astype(np.int32)
        names = (x.name, weights, self.constant(bias, Quantization.per_tensor(float(np.float32(scale * 0.05)), 0)))
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
        return self.op("CONV_2D", names, self.value(*x.shape[1:3], channels), **options)

    def pad(self, x: Tensor, *amounts: tuple[int, int]) -> Tensor:
        shape = [extent + sum(each) for extent, each in zip(x.shape[1:], amounts, strict=True)]
        return self.op("PAD", (x.name, self.constant(np.array([(0, 0), *amounts], np.int32))), self.value(*shape))

    def pool(self, x: Tensor, taps: int) -> Tensor:
        shape = [(extent - taps) // 2 + 1 for extent in x.shape[1:3]]
        options = {"padding": "VALID", "stride_h": 2, "stride_w": 2, "filter_height": taps, "filter_width": taps}
        return self.op("MAX_POOL_2D", (x.name,), self.value(*shape, x.shape[3]), activation="NONE", **options)

    def graph(self, *outputs: Tensor) -> Graph:
        tensors = {tensor.name: tensor for tensor in self.tensors}
        return Graph(tensors, tuple(self.ops), (self.tensors[0].name,), tuple(each.name for each in outputs))


def fire(rng: np.random.Generator) -> Graph:
    """Two modules of SqueezeNet (Iandola et al. 2016, sec. 3.1) and a pool."""
    net = Network(rng)
    x = net.conv(net.value(16, 12, 3), 16, 3)
    for _ in range(2):
        squeezed = net.conv(x, 4, 1)
        parts = (net.conv(squeezed, 16, 1), net.conv(squeezed, 16, 3))
        x = net.op(
            "CONCATENATION", tuple(part.name for part in parts), net.value(16, 12, 32), axis=3, activation="NONE"
        )
    return net.graph(net.pool(x, 2))


def padded_pool(rng: np.random.Generator) -> Graph:
    """A pool over a padded picture, as Keras' ResNets begin; some channels are constants below the padding's step."""
    net = Network(rng)
    x = net.conv(net.value(11, 9, 3), 16, 3, dead=6)
    return net.graph(net.conv(net.pool(net.pad(x, (1, 1), (1, 2), (0, 0)), 3), 5, 1))


def padded_residual(rng: np.random.Generator) -> Graph:
    """BlazeFace's block (Bazarevsky et al. 2019, fig. 1): the shortcut gets channels of zeros."""
    net = Network(rng)
    x = net.conv(net.value(14, 10, 3), 12, 3)
    shortcut = net.pad(x, (0, 0), (0, 0), (0, 12))
    y = net.conv(net.conv(x, 12, 3), 24, 1)
    total = net.op("ADD", (y.name, shortcut.name), net.value(14, 10, 24), activation="RELU", pot_scale_int16=True)
    return net.graph(net.pool(total, 2))


NETWORKS = (fire, padded_pool, padded_residual)
PLANS: tuple[dict[str, Any], ...] = ({"prefer": "ram"}, {"prefer": "speed"}, {"streamed": True}, {})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_joins_and_paddings_are_bit_exact_under_every_plan(
    tmp_path: Path, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    units: list[tuple[Unit, np.ndarray]] = []
    expected = []
    for make in NETWORKS:
        rng = np.random.default_rng(7)
        graph = make(rng)
        program, _ = prune(lower(graph))
        for number, options in enumerate(PLANS):
            kernels: Any = ("portable", "dsp", "mve", "dsp")[number]
            unit = Unit(f"model{len(units)}", program, plan(program, kernels, **options), kernels, make.__name__)
            images = rng.integers(-128, 128, (2, unit.input_bytes)).astype(np.int8)
            units.append((unit, images))
            expected.append(reference(graph, images))
    for (unit, _), right, ran in zip(units, expected, run_sanitized(tmp_path, units), strict=True):
        assert np.array_equal(ran.outputs, right), (unit.name, unit.description)


def test_the_parts_of_a_join_never_exist_whole() -> None:
    program, _ = prune(lower(fire(np.random.default_rng(7))))
    memory = plan(program, "portable", prefer="ram")
    # Two parts beside their join would be 12,288 bytes.
    assert memory.arena_bytes < 16 * 12 * 32
    whole = {block.name for block in memory.blocks if block.kind == "value"}
    joins = [layer for layer in program.layers if layer.op == "CONCATENATION"]
    assert len(joins) == 2
    assert all(whole.isdisjoint(layer.inputs) for layer in joins)


def test_a_pad_becomes_the_padding_of_the_pool_behind_it() -> None:
    program, _ = prune(lower(padded_pool(np.random.default_rng(7))))
    assert [layer.op for layer in program.layers] == ["CONV_2D", "MAX_POOL_2D", "CONV_2D"]


def test_a_padded_shortcut_is_made_row_by_row_where_it_is_added() -> None:
    program, _ = prune(lower(padded_residual(np.random.default_rng(7))))
    kinds = [layer.op for layer in program.layers]
    assert kinds.index("PAD") == kinds.index("ADD") - 1
    memory = plan(program, "portable", prefer="ram")
    (padded,) = (layer.output for layer in program.layers if layer.op == "PAD")
    assert all(block.kind != "value" for block in memory.blocks if block.name == padded)
