"""Sessions in a child: as good as in process, and ended by what would have ended this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from mnedge import runtimes
from mnedge.errors import InputError, ToolError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.runtimes import _child, _session, open_session
from mnedge.runtimes.litert import LiteRtSession
from mnedge.runtimes.onnxruntime import OnnxRuntimeSession, optimized_nodes


def _images(count: int = 20) -> list[np.ndarray[Any, np.dtype[np.int8]]]:
    rng = np.random.default_rng(0)
    return [rng.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8) for _ in range(count)]


@pytest.fixture
def path(small_int8: Graph, tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(write_tflite(small_int8))
    return tmp_path / "m.tflite"


@pytest.fixture
def killer(small_int8: Graph, tmp_path: Path) -> Path:
    """A file whose last op is a custom one under the name of LiteRT's own, without the tensors that it reads."""
    boxes = Tensor("boxes", (1, 4), "int8", Quantization.per_tensor(1 / 256, -128))
    ops = (*small_int8.ops, Op("TFLite_Detection_PostProcess", ("scores",), ("boxes",), {"custom_options": b""}))
    (tmp_path / "killer.tflite").write_bytes(write_tflite(small_int8.replaced(tensors=[boxes], ops=ops)))
    return tmp_path / "killer.tflite"


def test_outputs_are_those_of_the_same_process_bit_by_bit(path: Path, small_int8: Graph, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(write_onnx(small_int8))
    here: list[tuple[str, Path, Any]] = [("litert", path, LiteRtSession(path, 1)),
                                         ("onnxruntime", file, OnnxRuntimeSession(file, 1))]  # fmt: skip
    for name, model, session in here:
        images = [image.astype(session.input.dtype) for image in _images()]
        with closing(open_session(name, model, 1)) as child:
            assert child.version == session.version
            assert (child.partitions, child.undelegated, child.ops) == (
                session.partitions, session.undelegated, session.ops,
            )  # fmt: skip
            assert repr((child.inputs, child.outputs)) == repr((session.inputs, session.outputs))
            expected = [session.run(image)[0] for image in images]
            assert np.array_equal(expected, [child.run(image)[0] for image in images])
            assert np.array_equal(expected, [outputs[0] for outputs in child.run_all([(image,) for image in images])])


def test_outputs_of_another_size_than_the_file_says_come_whole() -> None:
    """A RANGE makes as many values as its input says, more than there was room for at first."""
    tensors = [
        Tensor("limit", (1,), "float32"), constant("zero", np.zeros((), np.float32)),
        constant("one", np.ones((), np.float32)), constant("none", np.zeros((0,), np.int32)),
        Tensor("scalar", (), "float32"), Tensor("steps", (1,), "float32"),
    ]  # fmt: skip
    ops = (Op("RESHAPE", ("limit", "none"), ("scalar",), {"new_shape": ()}),
           Op("RANGE", ("zero", "scalar", "one"), ("steps",)))  # fmt: skip
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("limit",), ("steps",))
    with closing(open_session("litert", write_tflite(graph), 1)) as child:
        for count in (3, 100_000, 7):
            assert np.array_equal(child.run(np.array([count], np.float32))[0], np.arange(count, dtype=np.float32))


def test_a_model_that_ends_the_runtime_is_an_error_that_names_file_signal_and_op(killer: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_session("litert", killer, 1)
    message = str(caught.value)
    assert "was ended by SIG" in message
    assert f"while it loaded {killer} at op 3 (TFLite_Detection_PostProcess, makes boxes)" in message
    assert "\n" not in message


def test_what_has_no_file_is_named_by_what_it_comes_from(killer: Path) -> None:
    with (
        pytest.raises(
            InputError, match=r"while it \w+ what was made of my\.tflite at op 3 .TFLite_Detection_PostProcess"
        ),
        runtimes.naming("my.tflite"),
        closing(open_session("litert", killer.read_bytes(), 1)) as session,
    ):
        session.run(_images(1)[0])
    with pytest.raises(InputError, match="another fault"), runtimes.naming("my.tflite"):
        raise InputError("another fault")


def test_weights_without_a_scale_abort_the_child_alone(small_int8: Graph, tmp_path: Path) -> None:
    data = small_int8.tensors["weights"].data
    assert data is not None
    weights = constant("weights", data)
    (tmp_path / "a.tflite").write_bytes(write_tflite(small_int8.replaced(tensors=[weights])))
    with pytest.raises(InputError, match=r"a\.tflite"):
        open_session("litert", tmp_path / "a.tflite", 1)


def _pid(session: _session.ChildSession) -> int:
    return session._child._pid


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGSEGV, InputError, "was ended by SIGSEGV while it ran"),
        (signal.SIGABRT, InputError, "was ended by SIGABRT while it ran"),
        (signal.SIGKILL, ToolError, "was ended by SIGKILL while it ran .*stop other programs"),
        (signal.SIGILL, ToolError, "was ended by SIGILL while it ran .*reinstall it for this CPU"),
    ],
)
def test_a_child_that_is_killed_while_it_runs(path: Path, number: int, kind: type[Exception], words: str) -> None:
    session = open_session("litert", path, 1)
    session.run(_images(1)[0])
    os.kill(_pid(session), number)
    with pytest.raises(kind, match=words):
        session.run(_images(1)[0])
    # A session whose child is gone stays so, and the next one is as good as new.
    with closing(open_session("litert", path, 1)) as other:
        other.run(_images(1)[0])


def test_a_child_that_hangs_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_session, "_RUN_S", 0.5)
    session = open_session("litert", path, 1)
    hung = psutil.Process(_pid(session))
    hung.suspend()
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"gave no answer within 0 s|gave no answer within 1 s"):
        session.run(_images(1)[0])
    assert time.monotonic() - begin < 10
    assert hung.wait(10) is None


def _slow(tmp_path: Path) -> Path:
    """250 convolutions of 256 channels to 256 on planes of 256 x 256: a trillion multiply-adds."""
    rng = np.random.default_rng(0)
    tensors = [
        Tensor("plane0", (1, 256, 256, 256), "float32"),
        constant("weights", rng.normal(0, 0.06, (256, 1, 1, 256)).astype(np.float32)),
        constant("bias", np.zeros(256, np.float32)),
    ]
    window = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "activation": "NONE"}
    ops = []
    for number in range(250):
        tensors.append(Tensor(f"plane{number + 1}", (1, 256, 256, 256), "float32"))
        ends = (f"plane{number}", "weights", "bias"), (f"plane{number + 1}",)
        ops.append(Op("CONV_2D", *ends, {"padding": "SAME", **window}))
    graph = Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("plane0",), ("plane250",))
    (tmp_path / "slow.tflite").write_bytes(write_tflite(graph))
    return tmp_path / "slow.tflite"


_BUSY = """
import sys, threading, time
from pathlib import Path
import numpy as np
from mnedge.runtimes import open_session
session = open_session("litert", Path(sys.argv[1]), 1)
threading.Timer(0.5, lambda: print(session._child._process.pid, flush=True)).start()
session.run(np.zeros(session.input.shape, np.float32))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_with_its_parent_also_while_it_computes(tmp_path: Path, number: int) -> None:
    path = _slow(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(number)
        parent.wait(10)
    child.wait(10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the child's output is found in /proc")
@pytest.mark.parametrize("descriptor", [1, 2])
def test_what_the_runtime_prints_disturbs_no_answer(path: Path, descriptor: int) -> None:
    """Four MiB on standard output or error of the child, more than any pipe holds."""
    with closing(open_session("litert", path, 1)) as session:
        expected = session.run(_images(1)[0])

        def flood() -> None:
            with open(f"/proc/{_pid(session)}/fd/{descriptor}", "wb") as stream:  # noqa: PTH123 - a pipe
                stream.write(b"node 7 is slow\n" * (4 << 16))

        writer = threading.Thread(target=flood)
        writer.start()
        while writer.is_alive():
            assert np.array_equal(session.run(_images(1)[0]), expected)
        assert len(session._child._last_words()) <= 1200


def test_a_file_whose_name_is_no_utf_8_runs(small_int8: Graph, tmp_path: Path) -> None:
    files = (("litert", "tflite", write_tflite(small_int8)), ("onnxruntime", "onnx", write_onnx(small_int8)))
    for runtime, suffix, data in files:
        path = tmp_path / os.fsdecode(b"\xff\xfe." + suffix.encode())
        path.write_bytes(data)
        with closing(open_session(runtime, path, 1)) as session:
            assert session.inputs[0].name == "image"
    assert optimized_nodes(path)
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"\.onnx"):
        open_session("onnxruntime", path, 1)


def test_models_of_our_own_share_children(path: Path) -> None:
    with closing(open_session("litert", path.read_bytes(), 1)) as first:
        pid = _pid(first)
    with closing(open_session("litert", path.read_bytes(), 1)) as second:
        assert _pid(second) == pid
        with closing(open_session("litert", path, 1)) as of_others:
            assert _pid(of_others) != pid


@pytest.mark.parametrize(("number", "blames"), [(signal.SIGSEGV, True), (signal.SIGKILL, False)])
def test_files_share_the_child_that_forks_for_them_and_end_only_their_fork(
    path: Path, number: signal.Signals, blames: bool
) -> None:
    images = _images(1)
    with closing(open_session("litert", path, 1)) as first:
        expected, parent, fork = first.run(images[0]), first._child._process.pid, _pid(first)
        assert fork != parent
        assert psutil.Process(fork).ppid() == parent
    with closing(open_session("litert", path, 1)) as second:
        assert second._child._process.pid == parent
        assert _pid(second) not in (fork, parent)
        assert not psutil.pid_exists(fork)
        os.kill(_pid(second), number)
        with pytest.raises(InputError if blames else ToolError, match=f"was ended by {number.name}"):
            second.run(images[0])
    assert not psutil.pid_exists(parent)
    with closing(open_session("litert", path, 1)) as third:
        np.testing.assert_array_equal(third.run(images[0]), expected)


def test_a_fork_is_where_this_process_is_now(
    path: Path, small_int8: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session("litert", path, 1).close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "here.tflite").write_bytes(write_tflite(small_int8))
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    with closing(open_session("litert", Path("here.tflite"), 1)) as session:
        assert psutil.Process(_pid(session)).cwd() == str(tmp_path / "elsewhere")
        session.run(_images(1)[0])
    (tmp_path / "elsewhere" / "here.tflite").unlink()
    (tmp_path / "elsewhere").rmdir()
    with closing(open_session("litert", path, 1)) as session:
        session.run(_images(1)[0])


def test_sessions_of_several_threads_do_not_meet(path: Path) -> None:
    images, found = _images(), {}
    session = LiteRtSession(path, 1)
    expected = [session.run(image)[0] for image in images]

    def work(number: int) -> None:
        with closing(open_session("litert", path.read_bytes(), 1)) as session:
            found[number] = [session.run(image)[0] for image in images]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[number], expected) for number in range(3))


def test_no_file_named_like_a_package_in_the_working_folder_is_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    with closing(open_session("litert", path, 1)) as session:
        session.run(_images(1)[0])


def test_prefixes_of_an_onnx_end_at_the_op_that_is_asked_for(small_int8: Graph, tmp_path: Path) -> None:
    from mnedge.runtimes._prefix import count_ops, write_prefix

    file = tmp_path / "m.onnx"
    file.write_bytes(write_onnx(small_int8))
    nodes = onnx.load(file).graph.node
    assert count_ops(str(file)) == len(nodes)
    for count in range(1, len(nodes) + 1):
        told = write_prefix(str(file), count, str(tmp_path / "prefix.onnx"))
        assert told == f"op {count - 1} ({nodes[count - 1].op_type}, makes {nodes[count - 1].output[0]})"
        with closing(open_session("onnxruntime", tmp_path / "prefix.onnx", 1)) as session:
            assert session.outputs[0].name == nodes[count - 1].output[0]


def test_a_missing_file_and_a_missing_engine_are_said_as_in_process(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.tflite"):
        open_session("litert", tmp_path / "absent.tflite", 1)
    with pytest.raises(InputError, match="is not a file"):
        optimized_nodes(tmp_path / "absent.onnx")
    if runtimes.get("tflite-runtime").version() is None:
        with pytest.raises(ToolError, match="tflite-runtime is not installed"):
            open_session("tflite-runtime", tmp_path / "absent.tflite", 1)


def test_loading_has_a_limit_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_session, "_LOAD_S", 0.0)
    monkeypatch.setattr(_session, "_LOAD_S_PER_MIB", 0.0)
    monkeypatch.setattr(_child, "_GLANCE_S", 0.0)
    with pytest.raises(
        InputError, match=r"litert gave no answer within 0 s while it loaded .*m\.tflite, and was ended"
    ):
        open_session("litert", path, 1)
