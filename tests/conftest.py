"""What several tests need: the shared data, a small network, a private cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.pixels import METADATA, SYMMETRIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnedge.codegen import vectors

_ROOT = Path(__file__).parent.parent


# A busy machine is slow at drawing values too.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets fuzz tests run longer: `pytest --fuzz 10000`."""
    parser.addoption("--fuzz", type=int, default=300, help="Cases of each fuzz test.")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights, pictures and models; they are no part of the project."""
    folder = Path(os.environ.get("MNEDGE_SHARED_DATA") or _ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no shared data: set MNEDGE_SHARED_DATA to the folder with the real weights and pictures")
    return folder


@pytest.fixture(scope="session")
def web_modules() -> Path:
    """The node_modules with the runtimes of browsers, on a machine that has Chromium."""
    folder = os.environ.get("MNEDGE_WEB_MODULES", "")
    if not folder or shutil.which("chromium") is None:
        pytest.skip("no browser: apt-get install chromium, npm install @litertjs/core, and set MNEDGE_WEB_MODULES")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def _short_latency() -> Iterator[None]:
    """Builds of tests time their artifacts for a tenth of a second: no test looks at how fast this machine is."""
    from mnedge.validation import latency
    from mnedge.workflows.build import measure

    defaults = latency.time_in_turns.__kwdefaults__
    assert defaults is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defaults, "seconds", 0.1)
        patch.setattr(measure, "_SECONDS", 0.1)
        patch.setattr(latency, "_WARMUP_S", 0.02)
        patch.setattr(latency, "_LONGEST_WARMUP_S", 0.2)
        yield


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_int8() -> Graph:
    """An int8 network of one convolution and a softmax: 8 x 8 x 3 to 4 classes."""
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = rng.uniform(0.002, 0.01, 4).astype(np.float32)
    image = Quantization.per_tensor(1 / 127.5, -1)
    tensors = [
        Tensor("image", (1, 8, 8, 3), "int8", image),
        constant("weights", weights, Quantization.per_channel(scales, 0)),
        constant("bias", np.arange(4, dtype=np.int32), Quantization.per_channel(scales / np.float32(127.5), 0)),
        Tensor("conv", (1, 4, 4, 4), "int8", Quantization.per_tensor(0.03, -10)),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 4), "int8", Quantization.per_tensor(0.02, 0)),
        Tensor("scores", (1, 4), "int8", Quantization.per_tensor(1 / 256, -128)),
    ]
    ops = (
        Op("CONV_2D", ("image", "weights", "bias"), ("conv",), {
            "padding": "SAME", "stride_h": 2, "stride_w": 2, "dilation_h_factor": 1, "dilation_w_factor": 1,
            "activation": "NONE",
        }),
        Op("MEAN", ("conv", "axes"), ("mean",), {"keep_dims": False}),
        Op("SOFTMAX", ("mean",), ("scores",), {"beta": 1.0}),
    )  # fmt: skip
    return Graph(
        {tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",), {METADATA: SYMMETRIC.to_bytes()}
    )


@pytest.fixture
def digits_fp32() -> Graph:
    """A float network for the ten classes of the demo data: 16 x 16 x 3, random weights."""
    rng = np.random.default_rng(4)
    tensors = [
        Tensor("image", (1, 16, 16, 3), "float32"),
        constant("weights", rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)),
        constant("bias", rng.normal(0, 0.1, 8).astype(np.float32)),
        Tensor("conv", (1, 8, 8, 8), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 8), "float32"),
        constant("head", rng.normal(0, 3.0, (10, 8)).astype(np.float32)),
        constant("head_bias", rng.normal(0, 0.1, 10).astype(np.float32)),
        Tensor("logits", (1, 10), "float32"),
        Tensor("scores", (1, 10), "float32"),
    ]
    ops = (
        Op("CONV_2D", ("image", "weights", "bias"), ("conv",), {
            "padding": "SAME", "stride_h": 2, "stride_w": 2, "dilation_h_factor": 1, "dilation_w_factor": 1,
            "activation": "RELU",
        }),
        Op("MEAN", ("conv", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "head", "head_bias"), ("logits",), {"activation": "NONE"}),
        Op("SOFTMAX", ("logits",), ("scores",), {"beta": 1.0}),
    )  # fmt: skip
    return Graph(
        {tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",), {METADATA: SYMMETRIC.to_bytes()}
    )


@pytest.fixture
def ends_of() -> Callable[[Graph], vectors.Ends]:
    """Gives dtype, scale and zero point of each input and of each output of a quantized graph."""

    def ends(graph: Graph) -> vectors.Ends:
        sides = []
        for names in (graph.inputs, graph.outputs):
            side = []
            for name in names:
                tensor = graph.tensors[name]
                assert tensor.quantization is not None
                scale, zero_point = tensor.quantization.scale[0], tensor.quantization.zero_point[0]
                side.append((tensor.dtype, float(scale), int(zero_point)))
            sides.append(tuple(side))
        return tuple(sides)

    return ends
