"""Reports as builds write them: figures drawn from a seeded generator, never measured ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.validation.accuracy import wilson_interval

SLUG = "mobilenet_v3_small_1.0_96"
_PICTURES = 597
# precision, format, bytes, right pictures, median latency
_FILES = (
    ("fp32", "tflite", 6_118_292, 583, 8.1),
    ("int8", "tflite", 1_843_200, 579, 3.4),
    ("fp32", "onnx", 6_091_234, 583, 9.2),
    ("int8", "onnx", 1_791_234, 420, 5.9),
)


def _samples() -> dict[str, list[float]]:
    rng = np.random.default_rng(7)
    return {
        f"{SLUG}.{precision}.{kind}": rng.gamma(400.0, median / 400.0, 200).round(4).tolist()
        for precision, kind, _, _, median in _FILES
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """Four artifacts with accuracy and latency, of which int8 ONNX is clearly worse; one gate of three fails."""
    artifacts, accuracy, latency = [], [], []
    samples = _samples()
    for precision, kind, size, hits, _ in _FILES:
        name = f"{SLUG}.{precision}.{kind}"
        runtime = "ai-edge-litert 2.3.0 (XNNPACK)" if kind == "tflite" else "onnxruntime 1.31.1"
        measured = {"artifact": name, "runtime": runtime, "device": "local"}
        artifacts.append(
            {
                "path": name,
                "format": kind,
                "precision": precision,
                "io": "int8" if precision == "int8" else "float32",
                "target": "cpu",
                "bytes": size,
                "sha256": f"{size:064x}",
            }
        )
        accuracy.append(
            {
                **measured,
                "dataset": "demo",
                "images": _PICTURES,
                "top1": hits / _PICTURES,
                "top5": 1.0,
                "top1_interval": list(wilson_interval(hits, _PICTURES)),
            }
        )
        p50, p90 = np.percentile(samples[name], (50, 90)).tolist()
        latency.append({**measured, "threads": 1, "p50_ms": p50, "p90_ms": p90, "runs": 200})
    tflite = f"{SLUG}.int8.tflite"
    return {
        "schema": 1,
        "slug": SLUG,
        "variant": {
            "family": "v3-small",
            "alpha": 1.0,
            "resolution": 96,
            "classes": 10,
            "parameters": 1_528_106,
            "macs": 10_900_000,
        },
        "artifacts": artifacts,
        "accuracy": accuracy,
        "latency": latency,
        "parity": [
            {
                "reference": f"{SLUG}.fp32.tflite",
                "artifact": tflite,
                "images": 597,
                "top1_agreement": 0.989,
                "max_abs_lsb": 31.0,
                "max_abs_error": 0.12,
            }
        ],
        "int8": [{"artifact": tflite, "ops": 98, "float_ops": [], "delegate_partitions": 1}],
        "memory": [
            {
                "artifact": "c",
                "target": "cortex-m4",
                "arena_bytes": 129_024,
                "flash_bytes": 1_912_345,
                "stack_bytes": 1480,
            }
        ],
        "gates": [
            {"name": "min_top1", "limit": 0.9, "measured": 579 / 597, "passed": True},
            {"name": "min_speedup_over_float", "limit": 2.5, "measured": 2.38, "passed": False},
            {"name": "int8_only", "limit": True, "measured": 0.0, "passed": True},
        ],
    }


@pytest.fixture
def details() -> dict[str, Any]:
    """What the page shows beside the report."""
    plan = [
        {
            "name": f"tensor_{place}",
            "offset": 40_000 * (place % 2),
            "bytes": 40_000 - 1500 * place,
            "first": place,
            "last": place + 1,
        }
        for place in range(20)
    ]
    return {
        "confusion": [
            {
                "artifact": f"{SLUG}.{precision}.tflite",
                "truth": "eight",
                "predicted": word,
                "images": images,
                "fraction": images / 60,
            }
            for precision, base in (("fp32", 4), ("int8", 6))
            for images, word in ((base, "one"), (base - 3, "three"))
        ],
        "latency_samples": _samples(),
        "steps": [
            {"name": "ranges", "seconds": 4.2, "agreement": 0.41},
            {"name": "equalization", "seconds": 0.8, "agreement": 0.99},
            {"name": "bias correction", "seconds": 75.0, "agreement": 0.972},
        ],
        "plan": {"arena_bytes": 80_000, "tensors": plan},
        "recipe": {"variant": "v3-small", "alpha": 1.0, "int8": True, "targets": ["cpu"], "gates": {"min_top1": 0.9}},
        "tools": {"mnedge": "0.1.0", "numpy": "2.3.1"},
        "machine": {"cpu": "a CPU", "cores": 2, "memory_gib": 16, "system": "Linux x86_64"},
        "dataset": "demo: 1,797 handwritten digits",
        "warnings": ["The machine was busy."],
    }
