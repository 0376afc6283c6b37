"""What an output of a file is, from the op that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.formats.heads import head_of_file
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.ort import write_ort
from mnedge.graph.cut import cut

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.mark.parametrize(("output", "head"), [("scores", "softmax"), ("logits", "logits")])
def test_an_ort_says_what_the_onnx_says(tmp_path: Path, digits_fp32: Graph, output: str, head: str) -> None:
    onnx, ort = tmp_path / "m.onnx", tmp_path / "m.ort"
    onnx.write_bytes(write_onnx(cut(digits_fp32, outputs=[output])))
    ort.write_bytes(write_ort(onnx).data)
    for path in (onnx, ort):
        assert head_of_file(path, (1, 10), None) == head_of_file(path, (1, 10), None, output) == head


def test_the_softmax_of_an_int8_ort_is_read(tmp_path: Path, small_int8: Graph) -> None:
    onnx, ort = tmp_path / "m.onnx", tmp_path / "m.ort"
    onnx.write_bytes(write_onnx(small_int8))
    ort.write_bytes(write_ort(onnx).data)
    assert head_of_file(ort, (1, 4), None) == "softmax"


@pytest.mark.parametrize("content", [b"", b"ORTM", bytes(64), b"\xff" * 64])
def test_a_damaged_ort_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.ort"
    path.write_bytes(content)
    assert head_of_file(path, (1, 4), None) == "logits"
