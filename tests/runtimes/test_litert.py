"""LiteRT's interpreter behind the Session that all runtimes offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.runtimes.litert import RUNTIME, LiteRtSession

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(small_int8: Graph, tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(write_tflite(small_int8))
    return tmp_path / "m.tflite"


def test_the_ends_are_described(path: Path) -> None:
    session = RUNTIME.open(path, 1)
    assert (session.input.name, session.input.shape, session.input.dtype) == ("image", (1, 8, 8, 3), "int8")
    assert session.input.quantization is not None
    assert session.input.quantization.zero_point[0] == -1
    (scores,) = session.outputs
    assert (scores.name, scores.shape) == ("scores", (1, 4))
    assert RUNTIME.version() is not None
    assert session.version == f"{RUNTIME.version()} (XNNPACK)"


def test_runs_are_repeatable_and_results_are_copies(path: Path) -> None:
    session = LiteRtSession(path, 1)
    image = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)
    first = session.run(image)[0]
    kept = first.copy()
    session.run(-image // 2)
    assert np.array_equal(first, kept)
    assert np.array_equal(session.run(image)[0], kept)
    assert session.time_ms(image, runs=3, copies=False).min() > 0


def test_bytes_are_a_model_too_and_outputs_can_be_looked_at(path: Path) -> None:
    from_file, from_bytes = LiteRtSession(path, 1), LiteRtSession(path.read_bytes(), 1)
    image = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)
    for number in range(3):
        expected = from_file.run(image + np.int8(number))[0]
        # The view is gone with the line: the next run finds none left.
        assert np.array_equal(from_bytes.look(image + np.int8(number))[0], expected)
    with pytest.raises(InputError, match="refuses the model"):
        LiteRtSession(b"TFL3" * 9, 1)


def test_a_part_of_a_network_takes_several_inputs() -> None:
    tensors = {name: Tensor(name, (1, 3), "float32") for name in ("a", "b", "c")}
    graph = Graph(tensors, (Op("SUB", ("a", "b"), ("c",), {"activation": "NONE"}),), ("a", "b"), ("c",))
    a, b = (np.array([row], np.float32) for row in ((5, 6, 7), (1, 2, 3)))
    assert LiteRtSession(write_tflite(graph), 1).run(a, b)[0].tolist() == [[4.0, 4.0, 4.0]]
    with pytest.raises(ValueError, match="shorter"):
        LiteRtSession(write_tflite(graph), 1).run(a)


def test_ops_outside_the_delegate_are_named(path: Path) -> None:
    with_delegate, without = LiteRtSession(path, 1), LiteRtSession(path, 1, delegate=False)
    assert with_delegate.partitions == 1
    assert with_delegate.undelegated == ("SOFTMAX",)
    assert with_delegate.ops == 2
    assert without.partitions == 0
    assert without.undelegated == ("CONV_2D", "MEAN", "SOFTMAX")
    assert "no delegate" in without.version


def test_an_op_that_the_delegate_refuses_cuts_the_graph(small_int8: Graph, tmp_path: Path) -> None:
    swish = Tensor("swish", (1, 4, 4, 4), "int8", Quantization.per_tensor(0.02, -110))
    first, *others = small_int8.ops
    ops = (first, Op("HARD_SWISH", ("conv",), ("swish",)), *(op.with_inputs({"conv": "swish"}) for op in others))
    (tmp_path / "cut.tflite").write_bytes(write_tflite(small_int8.replaced(tensors=[swish], ops=ops)))
    session = LiteRtSession(tmp_path / "cut.tflite", 1)
    assert session.partitions == 2
    assert session.undelegated == ("HARD_SWISH", "SOFTMAX")
