from __future__ import annotations

import json

from typer.testing import CliRunner

from mnedge import recipe
from mnedge.cli import app
from mnedge.errors import InputError


def test_the_list_names_every_recipe() -> None:
    done = CliRunner().invoke(app, ["recipes"], catch_exceptions=False)
    for name in recipe.names():
        assert name in done.stdout


def test_one_is_shown_as_it_is_written() -> None:
    done = CliRunner().invoke(app, ["recipes", "demo"], catch_exceptions=False)
    assert done.stdout == (recipe.folder() / "demo.yaml").read_text(encoding="utf-8")


def test_json_is_the_resolved_recipe() -> None:
    rows = json.loads(CliRunner().invoke(app, ["recipes", "--json"], catch_exceptions=False).stdout)
    assert [row["name"] for row in rows] == recipe.names()
    one = json.loads(CliRunner().invoke(app, ["recipes", "demo", "--json"], catch_exceptions=False).stdout)
    assert one in rows
    assert one == {"name": "demo", **json.loads(json.dumps(recipe.load("demo").as_json()))}


def test_an_unknown_one_is_an_input_error() -> None:
    done = CliRunner().invoke(app, ["recipes", "nothing"])
    assert isinstance(done.exception, InputError)
