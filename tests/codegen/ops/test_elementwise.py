"""DIV by broadcast, against tflite-micro in int8 and LiteRT's reference kernels in uint8."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen import vectors
from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.codegen.prune import prune
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPES = [
    ((1, 5, 4, 6), (1, 5, 4, 6)),
    ((1, 5, 4, 6), (1, 1, 1, 6)),
    ((1, 5, 4, 6), (1, 5, 1, 1)),
    ((1, 4, 6), (1, 1, 1)),
]
# The output's scale is so small, or so large, that few or no quotients shift by more than 31.
SCALES = [(0.03, 0.05, 0.02), (0.03, 0.0005, 0.5)]


def _quotient(dtype: str, shapes: tuple[tuple[int, ...], ...], scales: tuple[float, float, float]) -> Graph:
    ends = zip("aby", (*shapes, shapes[0]), scales, (3, -100, -5), strict=True)
    moved = 128 if dtype == "uint8" else 0
    tensors = {
        name: Tensor(name, shape, dtype, Quantization.per_tensor(scale, zero_point + moved))
        for name, shape, scale, zero_point in ends
    }
    return Graph(tensors, (Op("DIV", ("a", "b"), ("y",), {"activation": "NONE"}),), ("a", "b"), ("y",))


def _is_defined(graph: Graph, image: np.ndarray) -> np.ndarray:
    """Where the reference neither divides by 0 nor shifts by more than 31."""
    from mnedge.graph.arithmetic import divide_multiplier

    a, b, y = (graph.tensors[name] for name in "aby")
    assert a.quantization is not None
    assert b.quantization is not None
    assert y.quantization is not None
    first, second = np.split(image.view(a.dtype).astype(np.int64), [int(np.prod(a.shape))])
    first = first.reshape(a.shape) - int(a.quantization.zero_point[0])
    second = np.broadcast_to(second.reshape(b.shape) - int(b.quantization.zero_point[0]), a.shape)
    first = np.where(second < 0, -first, first)
    places = [int(value).bit_length() for value in np.ravel(np.where(first < 0, -first - 1, first))]
    headroom = 31 - np.array(places).reshape(a.shape)
    over_unit = np.array([int(value).bit_length() - 1 for value in np.ravel(np.abs(second))]).reshape(a.shape)
    scales = [float(tensor.quantization.scale[0]) for tensor in (a, b, y) if tensor.quantization is not None]
    return np.ravel((second != 0) & (over_unit + headroom - divide_multiplier(*scales)[1] <= 31))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_division_is_exact_where_the_reference_is_defined(
    tmp_path: Path, dtype: str, run_sanitized: Callable[..., Any]
) -> None:
    if dtype == "int8":
        pytest.importorskip("tflite_micro", reason="LiteRT has no DIV in int8")
    cases: list[tuple[Graph, Unit, np.ndarray]] = []
    chance = np.random.default_rng(3)
    for shapes in SHAPES:
        for scales in SCALES:
            graph = _quotient(dtype, shapes, scales)
            program, _ = prune(lower(graph))
            unit = Unit(f"model{len(cases)}", program, plan(program, "portable"), "portable", "quotient")
            images = chance.integers(-128, 128, (4, unit.input_bytes)).astype(np.int8)
            if dtype == "uint8":  # LiteRT refuses to divide by 0
                images[images == 28] = 29
            cases.append((graph, unit, images))
    results = run_sanitized(tmp_path, [(unit, images) for _, unit, images in cases])
    compared = 0
    for (graph, unit, images), ran in zip(cases, results, strict=True):
        kernels: Any = "tflm" if dtype == "int8" else "litert"
        expected = vectors.reference_outputs(write_tflite(graph), images, vectors.ends_of(unit), kernels=kernels)
        assert expected is not None
        for image, right, made in zip(images, expected, ran.outputs, strict=True):
            defined = _is_defined(graph, image)
            compared += int(defined.sum())
            assert np.array_equal(right.view(np.int8)[defined], made[defined]), unit.name
    assert compared > 2000


def test_no_vectors_are_made_where_the_reference_may_be_undefined() -> None:
    graph = _quotient("int8", SHAPES[0], SCALES[0])
    assert vectors.undefined(graph).startswith("DIV (output y) is undefined in the reference kernels")
    steps = Quantization.per_tensor(0.0005, 0)
    constant = Tensor("b", (1, 1, 1, 6), "int8", steps, data=np.array([[[[1, 2, 3, -4, 5, 6]]]], np.int8))
    known = _quotient("int8", SHAPES[1], SCALES[1]).replaced(tensors=[constant], inputs=["a"])
    assert vectors.undefined(known) == ""
