"""Engines that execute artifacts; one engine = one file."""

from mnedge.runtimes._child import naming, open_session
from mnedge.runtimes._open import for_file, get
from mnedge.runtimes._runtime import Runtime, Session, TensorSpec

__all__ = ["Runtime", "Session", "TensorSpec", "for_file", "get", "naming", "open_session"]
