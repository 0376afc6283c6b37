"""Every variant's int8 graph runs in one delegate partition between attentions, in ONNX Runtime on integers."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnedge.formats.keras import keras_to_graph
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.models import Variant, families
from mnedge.models.build import build_model
from mnedge.passes._pass import run_passes
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.runtimes.litert import LiteRtSession
from mnedge.runtimes.onnxruntime import optimized_nodes
from mnedge.targets.cpu import TARGET

_RESOLUTION = 64
_ALPHAS = {
    "v1": (0.25, 0.5, 0.75, 1.0),
    "v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "v3-small": (0.75, 1.0),
    "v3-large": (0.75, 1.0),
    "v4-conv-small": (0.35, 0.5, 1.0),
    "v4-hybrid-medium": (0.1, 1.0),
}
# XNNPACK takes no int8 BATCH_MATMUL and SOFTMAX: each of eight attentions parts the graph once.
_PARTITIONS = {"v4-hybrid-medium": 9}
# Each takes seconds to convert: three always, all with `-m soak`.
_ALWAYS = {("v1", 0.25), ("v3-small", 1.0), ("v4-conv-small", 0.35)}
_VARIANTS = [
    pytest.param(family, alpha, marks=() if (family, alpha) in _ALWAYS else pytest.mark.soak)
    for family in families.names()
    for alpha in _ALPHAS.get(family, (1.0,))
]


@pytest.mark.parametrize(("family", "alpha"), _VARIANTS)
def test_one_partition_and_integer_kernels(family: str, alpha: float, tmp_path: Path, same: Any) -> None:
    graph = keras_to_graph(build_model(Variant(family, alpha, _RESOLUTION, 10), "random", 0))
    lowered = run_passes(graph, TARGET.passes)
    same(graph, lowered, rtol=1e-4)
    images = np.random.default_rng(0).uniform(-1, 1, (4, _RESOLUTION, _RESOLUTION, 3)).astype(np.float32)
    int8 = quantize_ptq(lowered, images, PostTraining(effort="fast")).graph
    tflite, onnx = tmp_path / "model.tflite", tmp_path / "model.onnx"
    tflite.write_bytes(write_tflite(int8))
    assert LiteRtSession(tflite, 1).partitions == _PARTITIONS.get(family, 1)
    onnx.write_bytes(write_onnx(run_passes(int8, TARGET.onnx_passes)))
    nodes = optimized_nodes(onnx)
    ops, counts = Counter(op.kind for op in int8.ops), Counter(kind for kind, _, _ in nodes)
    assert counts["QLinearConv"] == ops["CONV_2D"] + ops["DEPTHWISE_CONV_2D"]
    assert counts["QLinearAdd"] == ops["ADD"]
    assert counts["QLinearMul"] == ops["MUL"]
    assert counts["QLinearMatMul"] == ops["BATCH_MATMUL"] == 2 * (_PARTITIONS.get(family, 1) - 1)
    assert counts["QLinearGlobalAveragePool"] == ops["MEAN"]
    floats = [kind for kind, name, is_float in nodes if is_float and not name.endswith("/off_ties")]
    assert set(floats) <= {"QuantizeLinear", "DequantizeLinear"}
