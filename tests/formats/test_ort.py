from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.ort import write_ort
from mnedge.graph.graph import Graph


@pytest.mark.parametrize(("activations", "platform"), [("int8", "arm"), ("uint8", "amd64")])
def test_the_ort_file_computes_what_the_onnx_file_does(
    tmp_path: Path, small_int8: Graph, activations: str, platform: str
) -> None:
    file = tmp_path / "small.onnx"
    file.write_bytes(write_onnx(small_int8, activations=activations))  # type: ignore[arg-type]
    model = write_ort(file, platform=platform)  # type: ignore[arg-type]
    image = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    providers = ["CPUExecutionProvider"]
    expected = ort.InferenceSession(str(file), providers=providers).run(None, {"image": image})[0]
    found = ort.InferenceSession(model.data, providers=providers).run(None, {"image": image})[0]
    np.testing.assert_allclose(found, expected, atol=1 / 256 + 1e-6)
    assert model.data[4:8] == b"ORTM"
    assert "QLinearConv" in model.required_operators
    assert str(tmp_path) not in model.required_operators


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x08 no model")
    with pytest.raises(InputError, match=r"cannot convert .*broken\.onnx"):
        write_ort(file)
    with pytest.raises(InputError, match="cannot be read"):
        write_ort(tmp_path / "absent.onnx")
