"""Convolutions of Helium and Armv7E-M: as many channels, pixels and taps as there are ways through their kernels."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.header import header_text
from mnedge.codegen.lower import lower
from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.plan import plan
from mnedge.devices import _boards, _emulated
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import KernelSet


@dataclass(frozen=True)
class Layer:
    """One convolution: rows, columns and channels of the input, of the kernel, and the rest."""

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    outputs: int
    depthwise: bool = False
    stride: int = 1
    dilation: int = 1
    activation: str = "NONE"

    def graph(self) -> Graph:
        """The layer between an input and an output of int8."""
        rng = np.random.default_rng(7)
        channels = self.shape[2]
        size = (1, *self.kernel, self.outputs) if self.depthwise else (self.outputs, *self.kernel, channels)
        taps = int(np.prod(self.kernel)) * (1 if self.depthwise else channels)
        # ReLU6 cuts off all below zero; without it steps below zero have ties of their own.
        ends = Quantization.per_tensor(0.05, -128 if self.activation != "NONE" else 5)
        scales = np.float32(0.05 / 0.04 * 0.012 / np.sqrt(taps)) * rng.uniform(0.4, 2.0, self.outputs).astype(
            np.float32
        )
        rows, columns = (-(-extent // self.stride) for extent in self.shape[:2])
        options = {
            "padding": "SAME", "stride_h": self.stride, "stride_w": self.stride, "activation": self.activation,
            "dilation_h_factor": self.dilation, "dilation_w_factor": self.dilation,
            **({"depth_multiplier": 1} if self.depthwise else {}),
        }  # fmt: skip
        tensors = (
            Tensor("x", (1, *self.shape), "int8", Quantization.per_tensor(0.04, -9)),
            constant(
                "w", rng.integers(-127, 128, size).astype(np.int8),
                Quantization.per_channel(scales, 3 if self.depthwise else 0),
            ),
            constant(
                "b", rng.integers(-2000, 2000, self.outputs).astype(np.int32),
                Quantization.per_channel(np.float32(0.04) * scales, 0),
            ),
            Tensor("y", (1, rows, columns, self.outputs), "int8", ends),
        )  # fmt: skip
        op = Op("DEPTHWISE_CONV_2D" if self.depthwise else "CONV_2D", ("x", "w", "b"), ("y",), options)
        return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


def _depthwise(
    channels: int, kernel: tuple[int, int], *, stride: int = 1, dilation: int = 1, up: bool = False
) -> Layer:
    return Layer((5, 7, channels), kernel, channels, True, stride, dilation, "RELU6" if up else "NONE")  # noqa: FBT003


# Blocks of 16 and of 8 channels, and the last ones that overlap; taps inside, at edges and all at once.
DEPTHWISE = [
    _depthwise(8, (3, 3)), _depthwise(13, (5, 5)), _depthwise(16, (3, 3), up=True), _depthwise(17, (3, 3), stride=2),
    _depthwise(24, (5, 5), stride=2), _depthwise(31, (2, 3)), _depthwise(40, (3, 3), dilation=2, up=True),
    _depthwise(48, (1, 1)),
]  # fmt: skip
# Whole groups of four pixels and what is left of them.
SHALLOW = [
    Layer((1, 1, 16), (1, 1), 2), Layer((1, 3, 5), (1, 1), 6), Layer((2, 2, 16), (1, 1), 18, activation="RELU6"),
    Layer((3, 3, 1), (1, 1), 4), Layer((1, 6, 13), (1, 1), 10, activation="RELU"), Layer((1, 15, 16), (1, 1), 8),
]  # fmt: skip
# Windows of less than a register and of more, and edges.
PATCHES = [
    Layer((6, 9, 3), (3, 3), 8, stride=2), Layer((5, 8, 9), (3, 3), 4, activation="RELU6"),
    Layer((6, 6, 20), (2, 2), 12),
]  # fmt: skip


def _unit(layer: Layer, name: str, kernels: KernelSet) -> tuple[Graph, Unit, np.ndarray]:
    graph = layer.graph()
    program = lower(graph)
    images = np.random.default_rng(1).integers(-128, 128, (2, int(np.prod(layer.shape)))).astype(np.int8)
    return graph, Unit(name, program, plan(program, kernels), kernels, "one layer"), images


def test_each_layer_takes_the_kernel_that_it_is_here_for() -> None:
    for layers, variant in ((DEPTHWISE, "depthwise"), (SHALLOW, "shallow"), (PATCHES, "patches")):
        for layer in layers:
            kernel = lower(layer.graph()).layers[0].kernel
            assert isinstance(kernel, Convolution)
            assert kernel.variant("mve") == variant, layer


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("kernels", ["dsp", "mve"])
def test_all_ways_through_the_kernels_are_bit_exact(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    cases = [_unit(layer, f"model{place}", kernels) for place, layer in enumerate([*DEPTHWISE, *SHALLOW, *PATCHES])]
    results = run_sanitized(tmp_path, [(unit, images) for _, unit, images in cases])
    for (graph, unit, images), ran in zip(cases, results, strict=True):
        assert np.array_equal(ran.outputs, reference(graph, images)), unit.name


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_four_pixels_may_lie_over_their_inputs(tmp_path: Path, run_sanitized: Callable, reference: Callable) -> None:
    widths = (4, 16, 16, 2, 16, 4)
    layers = [Layer((3, 5, depth), (1, 1), count).graph() for depth, count in itertools.pairwise(widths)]
    tensors, ops = {}, []
    steps = Quantization.per_tensor(0.05, 5)
    for place, graph in enumerate(layers):
        names = {"x": f"t{place}", "y": f"t{place + 1}", "w": f"w{place}", "b": f"b{place}"}
        for tensor in graph.tensors.values():
            renamed = replace(tensor, name=names[tensor.name])
            tensors[renamed.name] = renamed if tensor.name in "wb" else replace(renamed, quantization=steps)
        (op,) = graph.ops
        ops.append(Op(op.kind, tuple(names[str(name)] for name in op.inputs), (names["y"],), op.options))
    graph = Graph(tensors, tuple(ops), ("t0",), (f"t{len(layers)}",))
    program = lower(graph)
    unit = Unit("model0", program, plan(program, "mve", prefer="speed"), "mve", "a chain")
    images = np.random.default_rng(4).integers(-128, 128, (3, 60)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit, images)])
    assert np.array_equal(ran.outputs, reference(graph, images))
    apart = sum(program.values[f"t{place}"].size_bytes for place in (1, 2))
    assert unit.plan.arena_bytes < apart


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("layer", [*DEPTHWISE, *SHALLOW, *PATCHES], ids=str)
def test_the_assembly_is_bit_exact_too(tmp_path: Path, core: str, layer: Layer, reference: Callable) -> None:
    graph, unit, images = _unit(layer, "model0", "dsp" if core == "cortex-m4" else "mve")
    (tmp_path / "model0.c").write_text(source_text(unit))
    (tmp_path / "model0.h").write_text(header_text(unit))
    run = _emulated.run_inputs(tmp_path, images, core=core)
    assert np.array_equal(run.outputs.view(np.int8), reference(graph, images))
