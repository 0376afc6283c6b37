"""`mnedge cache`: what earlier builds left, and how to free it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table, say

PANEL = "Look"


def command(
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Remove entries, those used longest ago first.")] = False,
    keep_mib: Annotated[int, typer.Option(min=0, help="MiB that --prune leaves.")] = 0,
    as_json: Json = False,
) -> None:
    """List the results that builds keep; --prune frees them.

    The folder is $MNEDGE_CACHE, or mnedge in the user's cache folder.
    """
    from mnedge import cache

    freed = cache.prune(keep_mib << 20) if prune else None
    entries = cache.entries()
    if as_json:
        rows = [{"stage": e.stage, "bytes": e.size_bytes, "path": str(e.path)} for e in entries]
        print_json({"root": str(cache.root()), "freed_bytes": freed, "entries": rows})
        return
    if freed is not None:
        say(f"freed {freed / 2**20:.1f} MiB")
    total = sum(entry.size_bytes for entry in entries)
    print_table(
        f"{cache.root()}: {len(entries)} entries, {total / 2**20:.1f} MiB",
        ("stage", ">MiB", ">last used, hours ago"),
        ((e.stage, f"{e.size_bytes / 2**20:.2f}", f"{(time.time() - e.used_at) / 3600:.1f}") for e in entries),
    )
