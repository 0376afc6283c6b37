"""`mnedge recipes`: the recipes that come with mnedge."""

from __future__ import annotations

import click

from mnedge.cli._output import json_option, print_json, print_table

PANEL = "Look"


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the recipes that come with mnedge, or show the one called NAME."""
    from mnedge import recipe

    if name is not None:
        found = recipe.load(name)
        if as_json:
            print_json({"name": name, **found.as_json()})
        else:
            click.echo((recipe.folder() / f"{name}.yaml").read_text(encoding="utf-8"), nl=False)
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
