"""Float ops of a file, as the runtimes see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Op, Tensor
from mnedge.quantization.io import with_io
from mnedge.validation.int8 import int8_ops

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


def test_an_int8_file_has_no_float_op(small_int8: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(small_int8))
    (tmp_path / "m.onnx").write_bytes(write_onnx(small_int8))
    assert int8_ops(tmp_path / "m.tflite") == (3, [])
    ops, names = int8_ops(tmp_path / "m.onnx")
    assert ops >= 3
    assert names == []


def test_conversions_at_the_ends_do_not_count(small_int8: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(with_io(small_int8, "float32")))
    assert int8_ops(tmp_path / "m.tflite") == (5, [])


def test_an_island_is_named(small_int8: Graph, tmp_path: Path) -> None:
    tensors = [Tensor(name, (1, 4), "float32") for name in ("real", "end")]
    ops = [*small_int8.ops, Op("DEQUANTIZE", ("scores",), ("real",)), Op("EXP", ("real",), ("end",))]
    (tmp_path / "m.tflite").write_bytes(write_tflite(small_int8.replaced(tensors=tensors, ops=ops, outputs=["end"])))
    assert int8_ops(tmp_path / "m.tflite") == (5, ["DEQUANTIZE real", "EXP end"])


def test_a_float_file_is_float_throughout(digits_fp32: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write_tflite(digits_fp32))
    (tmp_path / "m.onnx").write_bytes(write_onnx(digits_fp32))
    assert int8_ops(tmp_path / "m.tflite")[1] == [
        "CONV_2D conv",
        "MEAN mean",
        "FULLY_CONNECTED logits",
        "SOFTMAX scores",
    ]
    ops, names = int8_ops(tmp_path / "m.onnx")
    assert ops == len(names) > 0
