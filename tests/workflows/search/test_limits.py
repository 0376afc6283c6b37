"""Limits with units that leave no doubt."""

from __future__ import annotations

from mnedge.workflows.search.limits import Limits, broken


def test_every_limit_that_is_broken_is_named_and_what_is_not_known_breaks_none() -> None:
    limits = Limits(max_arena_bytes=100, max_flash_bytes=100, max_ms=10.0)
    found = broken(limits, {"ram_bytes": 150, "arena_bytes": 50, "flash_bytes": 100, "latency_ms": None, "macs": 1e9})
    assert [(one.limit, one.ratio) for one in found] == [("max_arena_bytes", 1.5)]
