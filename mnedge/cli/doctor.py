"""`mnedge doctor`: what is installed, what is missing, what it would give and how to get it."""

from __future__ import annotations

from typing import Annotated

import typer

from mnedge.cli._output import Json, print_json, print_table

PANEL = "Look"


def command(
    *,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Also load TensorFlow and ask it for GPUs, which takes seconds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is installed, what is missing, and how to get it.

    Exits with 4 where something is missing that `mnedge build` needs.
    """
    from dataclasses import asdict

    from mnedge.errors import ToolError
    from mnedge.workflows import doctor as diagnosis

    parts = [*diagnosis.packages(), *diagnosis.programs()]
    machine = diagnosis.machine()
    gpus = diagnosis.gpus() if gpu else None
    missing = [part for part in parts if part.needed and part.version is None]
    if as_json:
        rows = [asdict(part) for part in parts]
        print_json({"ok": not missing, "parts": rows, "machine": machine, "gpus": gpus})
    else:
        for title, needed in (("Needed by build", True), ("Gives more", False)):
            print_table(
                title,
                ("", "part", "version", "what it gives", "how to get it"),
                (
                    (
                        "ok" if part.version else "MISSING" if part.needed else "-",
                        part.name,
                        part.version,
                        part.gives,
                        "" if part.version else part.get,
                    )
                    for part in parts
                    if part.needed == needed
                ),
            )
        print_table("This machine", ("", ""), machine.items())
        if gpus is not None:
            typer.echo(f"TensorFlow sees {', '.join(gpus) if gpus else 'no GPU; training runs on the CPU'}")
    if missing:
        commands = "; ".join(part.get for part in missing)
        raise ToolError(f"{', '.join(part.name for part in missing)} missing, which build needs; {commands}")
