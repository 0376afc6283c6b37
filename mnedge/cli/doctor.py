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
    from mnedge.errors import ToolError
    from mnedge.workflows.doctor import doctor

    found = doctor(gpu=gpu)
    if as_json:
        print_json(found)
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
                    for part in found.parts
                    if part.needed == needed
                ),
            )
        print_table("This machine", ("", ""), found.machine.items())
        if found.gpus is not None:
            typer.echo(f"TensorFlow sees {', '.join(found.gpus) if found.gpus else 'no GPU; training runs on the CPU'}")
    if found.missing:
        commands = "; ".join(part.get for part in found.missing)
        raise ToolError(f"{', '.join(part.name for part in found.missing)} missing, which build needs; {commands}")
