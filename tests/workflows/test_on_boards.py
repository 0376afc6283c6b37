"""Model files on emulated boards: compiled on the way, fed with arrays and raw files, counted by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.devices import _boards
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.workflows.bench import bench
from mnedge.workflows.compile import compile as compile_model
from mnedge.workflows.on_boards import target_of
from mnedge.workflows.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}"),
]
_STEPS = Quantization.per_tensor(0.05, -3)


def _sum_of_two() -> Graph:
    """left + right, each 1 x 3 x 5 x 2."""
    tensors = [Tensor(name, (1, 3, 5, 2), "int8", _STEPS) for name in ("left", "right", "sum")]
    op = Op("ADD", ("left", "right"), ("sum",), {"activation": "NONE"})
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("left", "right"), ("sum",))


def _grey() -> Graph:
    """A convolution over a grey window of 6 x 10, then the mean: two layers of known multiply-adds."""
    rng = np.random.default_rng(4)
    tensors = [
        Tensor("window", (1, 6, 10, 1), "int8", _STEPS),
        constant("weights", rng.integers(-127, 128, (4, 3, 3, 1)).astype(np.int8), Quantization.per_tensor(0.01, 0)),
        constant("bias", np.arange(4, dtype=np.int32), Quantization.per_tensor(0.0005, 0)),
        Tensor("deep", (1, 6, 10, 4), "int8", _STEPS),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("scores", (1, 4), "int8", _STEPS),
    ]
    same = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "RELU"}
    ops = (
        Op("CONV_2D", ("window", "weights", "bias"), ("deep",), same),
        Op("MEAN", ("deep", "axes"), ("scores",), {"keep_dims": False}),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("window",), ("scores",))


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    path = tmp_path / "grey.tflite"
    path.write_bytes(write_tflite(_grey()))
    return path


def test_a_raw_file_is_held_against_this_machine(tmp_path: Path, grey: Path) -> None:
    np.random.default_rng(0).integers(-128, 128, (3, 60)).astype(np.int8).tofile(tmp_path / "windows.raw")
    result = validate([grey], str(tmp_path / "windows.raw"), devices=("qemu://m4",))
    (row,) = result.parity
    assert (row.reference, row.artifact) == ("grey.tflite on local", "grey.tflite on qemu://m4")
    assert row.images == 3
    # LiteRT averages with kernels of its own here.
    assert row.max_abs_lsb is not None
    assert row.max_abs_lsb <= 1
    assert [row.output for row in result.outputs] == ["scores"]


def test_a_raw_file_of_another_size_is_refused(tmp_path: Path, grey: Path) -> None:
    (tmp_path / "windows.bin").write_bytes(bytes(61))
    with pytest.raises(InputError, match=r"61 bytes; a raw file holds samples of 60 bytes each.*1x6x10x1 int8"):
        validate([grey], str(tmp_path / "windows.bin"))


def test_a_model_of_two_inputs_takes_arrays_by_the_names_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sum.tflite"
    path.write_bytes(write_tflite(_sum_of_two()))
    left, right = np.random.default_rng(0).uniform(-3, 3, (2, 4, 3, 5, 2)).astype(np.float32)
    np.savez(tmp_path / "two.npz", right=right, left=left)
    result = validate([path], str(tmp_path / "two.npz"), devices=("qemu://m55",))
    assert [row.max_abs_lsb for row in result.parity] == [0.0]


def test_instructions_are_counted_by_layer_and_marked_emulated(tmp_path: Path, grey: Path) -> None:
    compile_model(grey, tmp_path / "c", "cortex-m4", measure=False)
    result = bench([grey, tmp_path / "c"], ("qemu://cortex-m4",))
    assert result.latency == ()
    assert result.costs is not None
    file, folder = result.costs
    assert (file.artifact, folder.artifact) == ("grey.tflite", "c")
    assert file.emulated
    assert file.instructions == folder.instructions
    assert file.macs == 6 * 10 * 4 * 9
    assert [layer.op for layer in file.layers] == ["CONV_2D", "MEAN"]
    counts = [layer.instructions or 0 for layer in file.layers]
    assert counts == sorted(counts, reverse=True)
    # All that is outside the layers is the beginning and the end of NAME_run; the build with marks calls 2 of them.
    assert abs(sum(counts) - file.instructions) < 100
    assert file.layers[0].instructions_a_mac == counts[0] / file.macs


def test_a_layer_that_is_made_row_by_row_is_counted_as_one(tmp_path: Path) -> None:
    """Depthwise after dense in one chain of rows: the marks tell them apart though the calls nest."""
    rng = np.random.default_rng(1)
    same = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    tensors = [
        Tensor("x", (1, 24, 24, 4), "int8", _STEPS),
        constant("wide_w", rng.integers(-127, 128, (32, 1, 1, 4)).astype(np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("wide", (1, 24, 24, 32), "int8", _STEPS),
        constant("deep_w", rng.integers(-127, 128, (1, 3, 3, 32)).astype(np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("deep", (1, 24, 24, 32), "int8", _STEPS),
        constant("thin_w", rng.integers(-127, 128, (4, 1, 1, 32)).astype(np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("y", (1, 24, 24, 4), "int8", _STEPS),
    ]
    ops = (
        Op("CONV_2D", ("x", "wide_w"), ("wide",), same),
        Op("DEPTHWISE_CONV_2D", ("wide", "deep_w"), ("deep",), {**same, "depth_multiplier": 1}),
        Op("CONV_2D", ("deep", "thin_w"), ("y",), same),
    )
    path = tmp_path / "chain.tflite"
    path.write_bytes(write_tflite(Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))))
    result = bench([path], ("qemu://m55",))
    assert result.costs is not None
    (cost,) = result.costs
    assert len({layer.segment for layer in cost.layers}) == 1
    assert all((layer.instructions or 0) > 20_000 for layer in cost.layers)
    assert abs(sum(layer.instructions or 0 for layer in cost.layers) - cost.instructions) < 0.01 * cost.instructions


def test_emulated_boards_count_and_do_not_time(grey: Path) -> None:
    with pytest.raises(UnsupportedError, match="--sustained measures times"):
        bench([grey], ("qemu://m4",), sustained_s=1.0)


@pytest.mark.parametrize(("core", "target"), [("cortex-m4", "cortex-m4"), ("cortex-m3", "generic")])
def test_c_is_for_the_core_of_the_board(core: str, target: str) -> None:
    assert target_of(core) == target
