"""`mnedge recipes`: the recipes that come with mnedge."""

from __future__ import annotations

from typing import Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table

PANEL = "Look"


def command(
    name: Annotated[str | None, typer.Argument(help="The recipe to show; all are listed without it.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the recipes that come with mnedge, or show one."""
    from mnedge import recipe

    if name is not None:
        found = recipe.load(name)
        if as_json:
            print_json({"name": name, **found.as_json()})
        else:
            typer.echo((recipe.folder() / f"{name}.yaml").read_text(encoding="utf-8"), nl=False)
        return
    recipes = {known: recipe.load(known) for known in recipe.names()}
    if as_json:
        print_json([{"name": known, **found.as_json()} for known, found in recipes.items()])
        return
    print_table(
        "Recipes (`mnedge build --recipe NAME`; `mnedge recipes NAME` shows one)",
        ("recipe", "variant", ">alpha", ">resolution", "targets", "gates"),
        (
            (
                known,
                found.variant,
                found.alpha,
                found.resolution,
                " ".join(found.targets),
                " ".join(found.gates) or None,
            )
            for known, found in recipes.items()
        ),
    )
