"""tflite-runtime, the predecessor of LiteRT: what old apps and boards run (its last release is 2.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.runtimes._runtime import Runtime
from mnedge.runtimes.litert import LiteRtSession, Package

if TYPE_CHECKING:
    from pathlib import Path

TFLITE_RUNTIME = Package(
    "tflite-runtime",
    "tflite_runtime.interpreter",
    "pip install 'mnedge[tflite-runtime]' into an environment of Python 3.11 or older with numpy<2",
)


def _open(path: Path, threads: int) -> LiteRtSession:
    return LiteRtSession(path, threads, package=TFLITE_RUNTIME)


RUNTIME = Runtime(
    suffix=".tflite", open=_open, version=TFLITE_RUNTIME.version, is_default=False, module=TFLITE_RUNTIME.module
)
