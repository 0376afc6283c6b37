"""Reports as builds write them: figures drawn from a seeded generator, never measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.results.accuracy import AccuracyRow, Figures, MixUp
from mnedge.results.compilation import Block
from mnedge.results.details import Details, MemoryPlan, Step
from mnedge.results.latency import LatencyRow, Machine
from mnedge.results.parity import ParityRow
from mnedge.results.report import ArtifactRow, GateRow, Int8Row, MemoryRow, Report, VariantRow
from mnedge.validation.accuracy import wilson_interval

if TYPE_CHECKING:
    from mnedge.artifact import Format, Io, Precision

SLUG = "mobilenet_v3_small_1.0_96"
_PICTURES = 597
# precision, format, bytes, right pictures, median latency
_FILES: tuple[tuple[Precision, Format, int, int, float], ...] = (
    ("fp32", "tflite", 6_118_292, 583, 8.1),
    ("int8", "tflite", 1_843_200, 579, 3.4),
    ("fp32", "onnx", 6_091_234, 583, 9.2),
    ("int8", "onnx", 1_791_234, 420, 5.9),
)


def _samples() -> dict[str, tuple[float, ...]]:
    rng = np.random.default_rng(7)
    return {
        f"{SLUG}.{precision}.{kind}": tuple(rng.gamma(400.0, median / 400.0, 200).round(4).tolist())
        for precision, kind, _, _, median in _FILES
    }


@pytest.fixture
def report() -> Report:
    """Four artifacts with accuracy and latency, of which int8 ONNX is clearly worse; one gate of three fails."""
    artifacts, accuracy, latency = [], [], []
    samples = _samples()
    for precision, kind, size, hits, _ in _FILES:
        name = f"{SLUG}.{precision}.{kind}"
        runtime = "ai-edge-litert 2.3.0 (XNNPACK)" if kind == "tflite" else "onnxruntime 1.31.1"
        io: Io = "int8" if precision == "int8" else "float32"
        artifacts.append(ArtifactRow(name, kind, precision, io, "cpu", size, f"{size:064x}"))
        figures = Figures({"top1": hits / _PICTURES, "top5": 1.0}, {"top1": wilson_interval(hits, _PICTURES)})
        accuracy.append(AccuracyRow(name, runtime, "local", "demo", _PICTURES, figures))
        p50, p90 = np.percentile(samples[name], (50, 90)).tolist()
        latency.append(LatencyRow(name, runtime, "local", 1, p50, p90, runs=200))
    tflite = f"{SLUG}.int8.tflite"
    return Report(
        slug=SLUG,
        variant=VariantRow("v3-small", 1.0, 96, 10, parameters=1_528_106, macs=10_900_000),
        artifacts=tuple(artifacts),
        accuracy=tuple(accuracy),
        latency=tuple(latency),
        parity=(ParityRow(f"{SLUG}.fp32.tflite", tflite, 597, 0.989, 31.0, 0.12),),
        int8=(Int8Row(tflite, 98, 0, delegate_partitions=1),),
        memory=(MemoryRow("c", "cortex-m4", 129_024, 1_912_345, 1480),),
        gates=(
            GateRow("min_top1", 0.9, 579 / 597, passed=True),
            GateRow("min_speedup_over_float", 2.5, 2.38, passed=False),
            GateRow("int8_only", limit=True, measured=0.0, passed=True),
        ),
    )


@pytest.fixture
def empty() -> Report:
    """A report of which nothing was measured."""
    return Report(slug="net", variant=VariantRow("v1", 1.0, 96, 10))


@pytest.fixture
def details() -> Details:
    """What the page shows beside the report."""
    plan = tuple(
        Block(f"tensor_{place}", 40_000 * (place % 2), 40_000 - 1500 * place, place, place + 1) for place in range(20)
    )
    return Details(
        confusion={
            f"{SLUG}.{precision}.tflite": tuple(
                MixUp("eight", word, images, images / 60) for images, word in ((base, "one"), (base - 3, "three"))
            )
            for precision, base in (("fp32", 4), ("int8", 6))
        },
        latency_samples=_samples(),
        steps=(Step("ranges", 4.2, 0.41), Step("equalization", 0.8, 0.99), Step("bias correction", 75.0, 0.972)),
        plan=MemoryPlan(80_000, plan),
        recipe={"variant": "v3-small", "alpha": 1.0, "int8": True, "targets": ["cpu"], "gates": {"min_top1": 0.9}},
        tools={"mnedge": "0.1.0", "numpy": "2.3.1"},
        machine=Machine("a CPU", 2, 16, "Linux x86_64"),
        dataset="demo: 1,797 handwritten digits",
        warnings=("The machine was busy.",),
    )
