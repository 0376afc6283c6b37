"""Targets: what an artifact is for; one target = one file of plain data."""

from mnedge.targets._target import Target, get

__all__ = ["Target", "get"]
