"""Which source reads a path, and what is said where none does."""

from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.sources import open_source

_TAKEN = (
    r"a Keras model \(.keras, .h5, .hdf5\); a float .onnx \(.onnx\); a SavedModel of TensorFlow \(a folder\); "
    r"a float .tflite \(.tflite\)"
)


def test_what_is_taken_is_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"there is no \S+nothing. A model is {_TAKEN}"):
        open_source(tmp_path / "nothing")
    with pytest.raises(InputError, match=rf"is a folder that holds no model. A model is {_TAKEN}"):
        open_source(tmp_path)
    (tmp_path / "m.tflite").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=rf"is a file of another kind, or cut short. A model is {_TAKEN}"):
        open_source(tmp_path / "m.tflite")


def test_the_content_counts_and_not_the_name(tmp_path: Path, digits_fp32: Graph) -> None:
    (tmp_path / "model.bin").write_bytes(write_tflite(digits_fp32))
    assert open_source(tmp_path / "model.bin").outputs[0].head == "softmax"
