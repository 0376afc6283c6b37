"""Bundles: what an app, a board or a firmware takes; one kind of bundle = one file."""

from mnedge.bundles._bundle import Bundle, Parts, get

__all__ = ["Bundle", "Parts", "get"]
