"""Engines that execute artifacts; one engine = one file."""

from mnedge.runtimes._open import for_file, get
from mnedge.runtimes._runtime import Runtime, Session, TensorSpec
from mnedge.runtimes._session import ChildSession, naming, open_session

__all__ = ["ChildSession", "Runtime", "Session", "TensorSpec", "for_file", "get", "naming", "open_session"]
