"""A real Chromium: outputs are the host's, times are taken, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from mnedge import devices
from mnedge.devices import CutTimingError
from mnedge.devices.browser import MODULES, BrowserDevice, connect
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.quantization.io import with_io
from mnedge.runtimes import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.untyped import AnyArray

_OPTIONS = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "activation": "NONE"}


def _float_graph() -> Graph:
    """A convolution and, beside it, the input negated: two outputs of different shapes, the later op's first."""
    random = np.random.default_rng(3)
    return Graph(
        tensors={
            "input": Tensor("input", (1, 8, 8, 3), "float32"),
            "weights": constant("weights", random.normal(size=(4, 3, 3, 3)).astype(np.float32)),
            "bias": constant("bias", random.normal(size=4).astype(np.float32)),
            "made": Tensor("made", (1, 8, 8, 4), "float32"),
            "negative": Tensor("negative", (1, 8, 8, 3), "float32"),
        },
        ops=(
            Op("CONV_2D", ("input", "weights", "bias"), ("made",), _OPTIONS),
            Op("NEG", ("input",), ("negative",), {}),
        ),
        inputs=("input",),
        outputs=("negative", "made"),
    )


def _int8_graph() -> Graph:
    random = np.random.default_rng(4)
    scales = random.uniform(0.001, 0.01, 4).astype(np.float32)
    ends = Quantization.per_tensor(0.05, 3)
    return Graph(
        tensors={
            "input": Tensor("input", (1, 8, 8, 3), "int8", ends),
            "weights": constant(
                "weights", random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), Quantization.per_channel(scales, 0)
            ),
            "bias": constant(
                "bias",
                random.integers(-99, 99, 4).astype(np.int32),
                Quantization.per_channel(scales * np.float32(0.05), 0),
            ),
            "output": Tensor("output", (1, 8, 8, 4), "int8", Quantization.per_tensor(0.1, -5)),
        },
        ops=(Op("CONV_2D", ("input", "weights", "bias"), ("output",), _OPTIONS),),
        inputs=("input",),
        outputs=("output",),
    )


@pytest.fixture
def browser(web_modules: Path) -> Iterator[BrowserDevice]:
    """The device; after the test none of its processes and folders are left."""
    yield connect(f"browser://chromium?modules={web_modules}")
    assert not _profiles(os.getpid())
    assert not _processes(os.getpid())


def _profiles(parent: int) -> list[Path]:
    """The profiles of browsers that a process started."""
    return list(Path(tempfile.gettempdir()).glob(f"mnedge-browser-{parent}-*"))


def _processes(parent: int) -> list[psutil.Process]:
    """The browsers that a process started and that still run."""
    return [one for one in psutil.Process(parent).children(recursive=True) if "chrom" in one.name()]


def _host(path: Path, runtime: str, image: AnyArray) -> list[AnyArray]:
    return open_session(runtime, path, 1).run(image)


def test_float_outputs_are_the_hosts_in_the_files_order(browser: BrowserDevice, tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    for runtime, name, content in (
        ("litert", "net.tflite", write_tflite(_float_graph())),
        ("onnxruntime", "net.onnx", write_onnx(_float_graph())),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with browser.load(path) as model:
            assert not model.info.emulated
            assert "Chrome" in model.info.version
            first, second = model.run([image, 2 * image], 2)
        for made, host in zip(
            [*first, *second], _host(path, runtime, image) + _host(path, runtime, 2 * image), strict=True
        ):
            np.testing.assert_allclose(made, host, rtol=1e-5, atol=1e-5)


def test_uint8_ends_around_int8(browser: BrowserDevice, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(with_io(_int8_graph(), "uint8")))
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8, 3)).astype(np.uint8)
    with devices.get(f"browser://chromium?modules={browser.modules}").load(path, "litert") as model:
        assert model.info.outputs[0].dtype == "uint8"
        assert model.info.outputs[0].quantization is not None
        made = [outputs[0] for outputs in model.run(images, len(images))]
    hosts = [_host(path, "litert", image)[0] for image in images]
    # Relaxed vectors may round the other way between two steps.
    assert np.abs(np.array(made, np.int16) - np.array(hosts, np.int16)).max() <= 1


def test_latency_names_threads_and_vectors(browser: BrowserDevice, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_float_graph()))
    timing = browser.latency(path, threads=2, warmup_s=0.01, runs=7)
    assert len(timing.samples) >= 7
    assert all(sample.ms > 0 for sample in timing.samples)
    assert timing.notes["threads"] == 2
    assert timing.notes["wasm"] == "litert_wasm_threaded_internal.wasm"
    assert (timing.notes["simd"], timing.notes["relaxed_simd"], timing.notes["cross_origin_isolated"]) == (True,) * 3


def test_the_int8_dot_product_is_the_processors(browser: BrowserDevice) -> None:
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if "flags" not in processor:
        pytest.skip("only x86 says which dot products it has in words known here")
    # The browser compiles wasm's dot product to AVX-VNNI, and elsewhere on x86 to one that saturates at 16 bits.
    assert browser.facts().int8_dot == ("unsigned" if "avx_vnni" in processor else None)


def test_a_browser_that_is_killed(browser: BrowserDevice, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_float_graph()))

    def images() -> Iterator[AnyArray]:
        yield np.zeros((1, 8, 8, 3), np.float32)
        for process in _processes(os.getpid()):
            process.kill()
        yield np.zeros((1, 8, 8, 3), np.float32)

    with browser.load(path) as model, pytest.raises(ToolError, match=r"the browser ended with status -?\d+"):
        list(model.run(images(), 2))


_KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, psutil
from mnedge.devices.browser import connect
with connect("browser://chromium?modules=" + sys.argv[1]).load(Path(sys.argv[2])) as model:
    list(model.run([np.zeros((1, 8, 8, 3), np.float32)], 1))
    children = psutil.Process().children(recursive=True)
    print(os.getpid(), *[one.pid for one in children if "chrom" in one.name()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_that_is_killed_takes_its_browser_along(browser: BrowserDevice, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_float_graph()))
    argv = [sys.executable, "-c", _KILLED, str(browser.modules), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    parent, *pids = [int(word) for word in done.stdout.split()]
    assert pids
    assert _profiles(parent)
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=60)
    assert not alive
    # The next browser removes the profile that is left.
    with browser.load(path):
        assert not _profiles(parent)


def test_an_interrupted_browser(browser: BrowserDevice, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_float_graph()))
    browser.interrupt()
    with pytest.raises(ToolError, match="interrupted"), browser.load(path):
        pass
    with pytest.raises((ToolError, CutTimingError), match="interrupted"):
        browser.latency(path)


def test_ends_that_litert_js_has_no_arrays_for(browser: BrowserDevice, tmp_path: Path) -> None:
    # LiteRT here runs int64, which LiteRT.js has no array for.
    graph = Graph(
        tensors={"x": Tensor("x", (1, 4), "float32"), "axis": constant("axis", np.array(1, np.int32)),
                 "best": Tensor("best", (1,), "int64")},
        ops=(Op("ARG_MAX", ("x", "axis"), ("best",), {"output_type": 4}),),
        inputs=("x",), outputs=("best",),
    )  # fmt: skip
    path = tmp_path / "best.tflite"
    path.write_bytes(write_tflite(graph))
    with pytest.raises(InputError, match=r"best is int64, and LiteRT\.js takes"), browser.load(path):
        pass


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "node_modules"
    folder.mkdir()
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "stands-for-a-browser"
    path.write_text("#!/bin/sh\necho no usable sandbox >&2; exit 3\n")
    path.chmod(0o755)
    return path


def test_int8_ends_are_refused_with_the_way_out(empty: Path, program: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(_int8_graph()))
    for name in ("@litertjs/core", "@litertjs/wasm-utils"):
        (empty / name).mkdir(parents=True)
        (empty / name / "package.json").write_text('{"version": "2.5.3"}')
    device = connect(f"browser://chromium?modules={empty}&program={program}")
    with pytest.raises(InputError, match=r"input is int8, and LiteRT.js takes .*--io uint8"), device.load(path):
        pass
    with pytest.raises(UnsupportedError, match=r"runs \.tflite in litert and \.onnx in onnxruntime"):
        device.latency(path, "onnxruntime")
    path.write_bytes(write_tflite(_float_graph()))
    with pytest.raises(ToolError, match=r"status 3: no usable sandbox; pass \?sandbox=off"), device.load(path):
        pass


def test_runtimes_that_are_not_there(
    empty: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MODULES, raising=False)
    with pytest.raises(ToolError, match=r"npm install --prefix web @litertjs/core@.* onnxruntime-web@.*modules="):
        connect(f"browser://chromium?program={program}")
    monkeypatch.setenv(MODULES, str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match="nowhere is no folder"):
        connect(f"browser://chromium?program={program}")
    path = tmp_path / "net.onnx"
    path.write_bytes(write_onnx(_float_graph()))
    device = connect(f"browser://chromium?modules={empty}&program={program}")
    with (
        pytest.raises(ToolError, match=r"no onnxruntime-web; install it: npm install .*onnxruntime-web@"),
        device.load(path),
    ):
        pass


def test_browsers_and_options_that_are_not_known(empty: Path) -> None:
    with pytest.raises(InputError, match=r"unknown browser 'netscape'\. Known: chrome, chromium"):
        connect("browser://netscape")
    with pytest.raises(InputError, match="unknown option of browser:// 'model'"):
        connect("browser://chromium?model=x")
    with pytest.raises(ToolError, match=r"no-such-program not found; install it \(apt install chromium\)"):
        connect(f"browser://chromium?modules={empty}&program=no-such-program")
