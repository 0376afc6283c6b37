"""`mnedge targets`: what an artifact can be for."""

from __future__ import annotations

from dataclasses import asdict

from mnedge import registry
from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table

PANEL = "Look"


def command(*, as_json: Json = False) -> None:
    """List the targets that `--target` takes."""
    from mnedge.targets import get

    targets = {name: get(name) for name in registry.names("mnedge.targets")}
    if as_json:
        print_json([{"name": name, **asdict(target)} for name, target in targets.items()])
        return
    print_table(
        "Targets",
        ("target", "what for", "formats", ">RAM KiB", ">flash KiB"),
        (
            (
                name,
                target.description,
                " ".join(target.formats),
                target.ram_bytes // 1024 or None,
                target.flash_bytes // 1024 or None,
            )
            for name, target in targets.items()
        ),
    )
