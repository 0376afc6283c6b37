import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

from mnedge import command
from mnedge.errors import InputError
from mnedge.formats._ort_order import _resolver, in_order
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.ort import _TOOL, write_ort
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


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, small_int8: Graph) -> None:
    """ONNX Runtime's own file differs from process to process, in the order of a hash map."""
    file = tmp_path / "small.onnx"
    file.write_bytes(write_onnx(small_int8, activations="int8"))
    written = {write_ort(file).data for _ in range(6)}
    assert len(written) == 1
    data = written.pop()
    assert in_order(data) == data


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, small_int8: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.onnx"
    file.write_bytes(write_onnx(small_int8, activations="int8"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    write_ort(file)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_order_is_all_that_changes(tmp_path: Path, small_int8: Graph) -> None:
    file = tmp_path / "small.onnx"
    file.write_bytes(write_onnx(small_int8, activations="int8"))
    command.run([sys.executable, "-m", _TOOL, "--optimization_style", "Fixed", "--target_platform", "arm", file])
    theirs = (tmp_path / "small.ort").read_bytes()
    ours = in_order(theirs)
    files = {name: InferenceSession.GetRootAs(data, 0) for name, data in (("theirs", theirs), ("ours", ours))}
    assert files["ours"].OrtVersion() == files["theirs"].OrtVersion()
    resolvers = {name: _resolver(session) for name, session in files.items()}
    assert resolvers["ours"] == resolvers["theirs"]
    # Weights, nodes and the rest follow unchanged.
    place = files["theirs"].Model()._tab.Pos
    assert ours.endswith(theirs[place:])
    assert (len(ours) - len(theirs)) % 16 == 0


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x08 no model")
    with pytest.raises(InputError, match=r"cannot convert .*broken\.onnx"):
        write_ort(file)
    with pytest.raises(InputError, match="cannot be read"):
        write_ort(tmp_path / "absent.onnx")
