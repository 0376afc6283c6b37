"""Cost of ops in other places: on a board, in a browser, in ONNX Runtime; by the ops of the .tflite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.devices import _boards
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.workflows.on_boards import cost_on_board
from mnedge.workflows.op_costs import by_op, in_onnxruntime, on_device

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(small_int8: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "small.int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    return path


def test_parts_belong_to_the_op_after_whose_tensor_they_are_named(small_int8: Graph) -> None:
    parts = [("conv", 3.0), ("conv/pairs", 1.0), ("scores/a/b", 5.0), ("convolution", 7.0), ("image/nchw", 0.5)]
    costs, rest = by_op(small_int8, parts)
    assert costs == (4.0, None, 5.0)
    assert rest == 7.5


@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
def test_a_board_counts_the_instructions_of_each_op(model: Path, small_int8: Graph) -> None:
    from mnedge.devices import qemu

    shares: list[float] = []
    found = on_device(model, "qemu://cortex-m4", 1, shares.append)
    layers = cost_on_board(model, qemu.connect("qemu://cortex-m4")).layers
    assert found.unit == "instructions"
    assert found.emulated
    assert found.total == sum(layer.instructions or 0 for layer in layers)
    assert {layer.tensor for layer in layers} <= {op.outputs[0] for op in small_int8.ops}
    assert max(found.costs, key=lambda cost: cost or 0) == found.costs[0]


def test_onnx_runtime_times_each_op(model: Path, small_int8: Graph, tmp_path: Path) -> None:
    onnx = tmp_path / "small.int8.onnx"
    onnx.write_bytes(write_onnx(small_int8))
    found = in_onnxruntime(model, onnx, 1)
    assert found.place == "small.int8.onnx"
    assert found.runtime.startswith("onnxruntime")
    assert len(found.costs) == len(small_int8.ops)
    assert found.costs[0] is not None
    assert found.costs[0] > 0


def test_an_onnx_of_another_network_is_refused(digits_fp32: Graph, tmp_path: Path) -> None:
    onnx, model = tmp_path / "digits.onnx", tmp_path / "other.tflite"
    onnx.write_bytes(write_onnx(digits_fp32))
    tensors = {name: Tensor(name, (1, 4), "float32") for name in ("given", "positive")}
    relu = Graph(tensors, (Op("RELU", ("given",), ("positive",)),), ("given",), ("positive",))
    model.write_bytes(write_tflite(relu))
    with pytest.raises(InputError, match=r"give the \.onnx that mnedge wrote beside it"):
        in_onnxruntime(model, onnx, 1)


def test_this_machine_is_no_other_place(model: Path) -> None:
    with pytest.raises(InputError, match="what --profile measures already"):
        on_device(model, "local", 1, lambda _: None)


def test_a_browser_takes_no_int8_op_alone(model: Path) -> None:
    with pytest.raises(UnsupportedError, match="browsers take no int8 ends"):
        on_device(model, "browser://chromium", 1, lambda _: None)
