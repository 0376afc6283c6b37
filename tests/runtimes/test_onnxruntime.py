import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnedge import runtimes
from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.graph.graph import Graph
from mnedge.runtimes.onnxruntime import optimized_nodes, profile


@pytest.fixture
def model(tmp_path: Path, small_int8: Graph) -> Path:
    file = tmp_path / "small.int8.onnx"
    file.write_bytes(write_onnx(small_int8))
    return file


def test_a_session_tells_its_ends_and_runs(model: Path) -> None:
    session = runtimes.get("onnxruntime").open(model, 1)
    assert session.input.shape == (1, 8, 8, 3)
    assert session.input.dtype == "float32"
    assert session.version.startswith("onnxruntime ")
    assert session.partitions is None
    scores = session.run(np.zeros((1, 8, 8, 3), np.float32))[0]
    assert scores.shape == (1, 4)
    assert scores.sum() == pytest.approx(1.0, abs=0.02)
    assert session.ops == len(optimized_nodes(model))


def test_a_float_convolution_counts_as_float(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("x", (1, 3, 8, 8)), ("y", (1, 2, 6, 6)))]  # fmt: skip
    weights = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c")], "g", ends[:1], ends[1:], [weights]
    )
    file = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    assert any(is_float for kind, _, is_float in optimized_nodes(file) if kind == "Conv")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x08 no model")
    with pytest.raises(InputError, match=r"refuses .*broken\.onnx"):
        runtimes.get("onnxruntime").open(file, 1)
    with pytest.raises(InputError, match="is not a file"):
        runtimes.get("onnxruntime").open(tmp_path / "absent.onnx", 1)


def _identity(dtype: int, shape: tuple[int, ...], *, name: str = "x", kind: str = "Identity") -> bytes:
    ends = [helper.make_tensor_value_info(end, dtype, shape) for end in (name, "y")]
    graph = helper.make_graph([helper.make_node(kind, [name], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_identity(TensorProto.FLOAT, (1, 1 << 40)), r"input x of .*odd\.onnx is 1 x 1099511627776; .* are run"),
        (_identity(TensorProto.FLOAT, (0, 3)), r"input x of .*odd\.onnx is 0 x 3; extents of at least 1"),
        (_identity(TensorProto.STRING, (1, 3)), r"input x of .*odd\.onnx is string; float16, "),
        (_identity(TensorProto.BFLOAT16, (1, 3)), r"refuses|is bfloat16"),
        (_identity(TensorProto.FLOAT, (1, 3), name="<a name>").replace(b"<a name>", b"\xff name\xff\xff"), "refuses"),
        (_identity(TensorProto.FLOAT, (1, 3), kind="Nothing"), "refuses"),
    ],
    ids=["huge", "empty", "text", "bfloat16", "name", "kind"],
)
def test_ends_that_are_no_arrays_are_refused(model: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(model)
    with pytest.raises(InputError, match=words):
        runtimes.get("onnxruntime").open(tmp_path / "odd.onnx", 1)


def test_the_profile_names_every_kernel(model: Path, tmp_path: Path) -> None:
    text = profile(model, 1, 3, tmp_path).read_text()
    assert "QLinearConv" in text


def test_onnxruntime_reports_nothing_to_its_maker(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"HOME": str(home), "TMPDIR": str(home)}
    code = "import sys; from pathlib import Path; from mnedge import runtimes; "
    code += "runtimes.get('onnxruntime').open(Path(sys.argv[1]), 1)"
    subprocess.run([sys.executable, "-c", code, model], check=True, env=environment)
    assert list(home.rglob("*")) == []


def test_a_model_of_pytorch_s_takes_and_gives_nhwc(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("x", ("batch", 3, 8, 6)), ("y", ("batch", 2, 8, 6)))]  # fmt: skip
    values = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [numpy_helper.from_array(values, "w")]
    )
    file = tmp_path / "torch.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    session = runtimes.get("onnxruntime").open(file, 1)
    assert (session.input.shape, session.outputs[0].shape) == ((1, 8, 6, 3), (1, 8, 6, 2))
    picture = np.random.default_rng(1).normal(size=(1, 8, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(session.run(picture)[0], picture @ values[:, :, 0, 0].T, atol=1e-5)
