"""Engines that execute artifacts; one engine = one file."""

from mnedge.runtimes._runtime import Runtime, Session, TensorSpec, for_file, get

__all__ = ["Runtime", "Session", "TensorSpec", "for_file", "get"]
