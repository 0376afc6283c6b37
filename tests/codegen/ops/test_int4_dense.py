"""Dense layers of 4-bit weights in C: LiteRT's answers, on this machine and on emulated boards, and half the flash."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.header import header_text
from mnedge.codegen.lower import lower
from mnedge.codegen.ops.int4_dense import Int4Dense
from mnedge.codegen.plan import plan
from mnedge.codegen.prune import prune
from mnedge.devices import _boards, _emulated
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import KernelSet

# Rows, inputs and outputs of each layer: rests of every block, several rows, and as few as there can be.
SHAPES = [(1, 16, 8), (1, 34, 3), (3, 24, 6), (2, 5, 1), (1, 96, 13), (5, 64, 4), (1, 1, 2), (3, 17, 7), (1, 8, 16)]


def _layer(rows: int, depth: int, outputs: int, *, ties: bool = False, activation: str = "NONE") -> Graph:
    rng = np.random.default_rng(depth)
    scales = rng.uniform(0.5, 2.0, outputs).astype(np.float32) / np.float32(6 * np.sqrt(depth))
    if ties:
        # One rounding of ties is what the fast kernels leave to another one.
        scales[::5] = 2.0**-5
    weights = rng.integers(-8, 8, (outputs, depth)).astype(np.int8)
    weights.flat[:2] = (-8, 7)[: weights.size]
    step, ends = 0.04, Quantization.per_tensor(0.04, -128 if activation != "NONE" else 5)
    tensors = (
        Tensor("x", (1, rows, depth), "int8", Quantization.per_tensor(step, -9)),
        replace(constant("w", weights, Quantization.per_channel(scales, 0)), is_int4=True),
        constant(
            "b", rng.integers(-300, 300, outputs).astype(np.int32),
            Quantization.per_channel(np.float32(step) * scales, 0),
        ),
        Tensor("y", (1, rows, outputs), "int8", ends),
    )  # fmt: skip
    op = Op("FULLY_CONNECTED", ("x", "w", "b"), ("y",), {"activation": activation, "keep_num_dims": True})
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


def _unit(graph: Graph, name: str, kernels: KernelSet) -> tuple[Graph, Unit, np.ndarray]:
    program, _ = prune(lower(graph))
    size = int(np.prod(graph.tensors["x"].shape))
    images = np.random.default_rng(1).integers(-128, 128, (3, size)).astype(np.int8)
    images[0], images[1] = -128, 127
    return graph, Unit(name, program, plan(program, kernels), kernels, "one layer"), images


def _graphs() -> list[Graph]:
    plain = [_layer(*shape) for shape in SHAPES]
    return [*plain, *(_layer(2, 48, 20, ties=True, activation=how) for how in ("NONE", "RELU6"))]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("kernels", ["portable", "dsp", "mve"])
def test_each_layer_is_bit_exact(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    cases = [_unit(graph, f"model{place}", kernels) for place, graph in enumerate(_graphs())]
    for _, unit, _ in cases:
        assert isinstance(unit.program.layers[0].kernel, Int4Dense)
    results = run_sanitized(tmp_path, [(unit, images) for _, unit, images in cases])
    for (graph, unit, images), ran in zip(cases, results, strict=True):
        assert np.array_equal(ran.outputs, reference(graph, images)), unit.name


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
@pytest.mark.parametrize(
    ("core", "kernels"), [("cortex-m0plus", "portable"), ("cortex-m4", "dsp"), ("cortex-m55", "mve")]
)
def test_the_assembly_is_bit_exact_too(tmp_path: Path, core: str, kernels: KernelSet, reference: Callable) -> None:
    for place, layer in enumerate(_graphs()):
        graph, unit, images = _unit(layer, "model0", kernels)
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "model0.c").write_text(source_text(unit))
        (folder / "model0.h").write_text(header_text(unit))
        run = _emulated.run_inputs(folder, images, core=core)
        assert np.array_equal(run.outputs.view(np.int8), reference(graph, images)), (core, place)


@pytest.mark.parametrize("kernels", ["portable", "dsp", "mve"])
def test_two_weights_share_a_byte(kernels: KernelSet) -> None:
    def weight_bytes(graph: Graph) -> int:
        _, unit, _ = _unit(graph, "model0", kernels)
        (found,) = re.findall(r"const (\w+) model0_layer00_(?:weights|packed)\[(\d+)\]", source_text(unit))
        return int(found[1]) * (4 if found[0] == "uint32_t" else 1)

    narrow = _layer(1, 64, 32)
    wide = replace(narrow, tensors={**narrow.tensors, "w": replace(narrow.tensors["w"], is_int4=False)})
    assert weight_bytes(wide) - weight_bytes(narrow) == 64 * 32 // 2
