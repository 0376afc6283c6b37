"""Time, memory and error of ops, held against the measurements they are joined from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.memory import live_bytes
from mnedge.results.inspection import Agreement, Histogram, LayerNoise, OutputNoise, TensorNoise
from mnedge.validation.profile import profile_ops

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


def noise_of(graph: Graph, gains: dict[str, float]) -> LayerNoise:
    """Noise at 10 dB of the signal, and the tensors that win decibels if they are real."""
    place = {name: len(graph.inputs) + at for at, op in enumerate(graph.ops) for name in (*op.inputs[1:], *op.outputs)}
    row = TensorNoise(0, "", "CONV_2D", "activation", "int8", 9.0, 0.0, 0.0, -1.0, 1.0, -1.0, 1.0, 0.0,
                      Histogram(-1.0, 1.0, (1,)))  # fmt: skip
    rows = tuple(
        replace(row, index=place.get(name, 0), tensor=name, output_gain_db=gain) for name, gain in gains.items()
    )
    return LayerNoise(4, Agreement(None, None), OutputNoise(10.0, None), rows)


def test_each_op_has_its_time_its_memory_and_its_share_of_the_error(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "small.int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    first = small_int8.ops[0]
    weights = str(first.inputs[1])
    # 10 dB better than 10 dB: of the noise, a tenth of the signal, nine tenths go. The input's is no op's.
    noise = noise_of(small_int8, {first.outputs[0]: 10.0, weights: 3.0103, small_int8.inputs[0]: 10.0})
    found = profile_ops(path, noise)
    assert [row.tensor for row in found.ops] == [op.outputs[0] for op in small_int8.ops]
    assert [row.live_bytes for row in found.ops] == live_bytes(small_int8)
    assert found.ops[0].output_error == pytest.approx(0.09 + 0.05, rel=1e-4)
    assert all(row.output_error == 0 for row in found.ops[1:])
    bias = small_int8.tensors[str(first.inputs[2])]
    assert found.ops[0].weights_bytes == small_int8.tensors[weights].data.size + 4 * bias.data.size  # type: ignore[union-attr]
    assert found.ops[0].ms > 0
    assert found.runtime.startswith("ai-edge-litert")


def test_a_model_without_noise_has_no_shares(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "small.int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    silent = replace(noise_of(small_int8, {small_int8.ops[0].outputs[0]: 3.0}), output_sqnr_db=OutputNoise(None, None))
    assert {row.output_error for row in profile_ops(path, silent).ops} == {0.0}
