"""What files carry besides their network."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnedge.data.draw import Draw
from mnedge.data.origin import METADATA, Origin, origin_of_bytes
from mnedge.errors import InputError
from mnedge.formats.carried import carried, class_names
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph

_ORIGIN = Origin(Draw(3, 0.25, 0.1, "folder"), 45, ("0a1b2c3d", "4e5f6071"), "training")


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_an_origin_goes_through_a_file(tmp_path: Path, small_int8: Graph, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    graph = replace(small_int8, metadata={**small_int8.metadata, METADATA: _ORIGIN.to_bytes()})
    path.write_bytes(write_tflite(graph) if suffix == ".tflite" else write_onnx(graph))
    content = carried(path, METADATA)
    assert content is not None
    assert origin_of_bytes(content, "m") == _ORIGIN
    assert carried(path, "other") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"draw": {}}', b"\xff", b"[" * 5000, _ORIGIN.to_bytes().replace(b"0.25", b"2.5")]
)
def test_a_damaged_origin(content: bytes) -> None:
    with pytest.raises(InputError):
        origin_of_bytes(content, "m.tflite")


def test_names_beside_a_file(tmp_path: Path, small_int8: Graph) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(small_int8))
    assert class_names(path, 4) == ((), "")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    assert class_names(path, 4) == (("a", "b", "c", "d"), str(tmp_path / "labels.txt"))
    assert class_names(path, 1001) == ((), "")
    path.write_bytes(b"no model")
    assert carried(path, METADATA) is None
