"""`sweep` as a notebook calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mnedge.errors import InputError
from mnedge.recipe import Recipe
from mnedge.results import stored
from mnedge.results.sweep import SweepResult
from mnedge.workflows.sweep.run import default_out, sweep


@pytest.mark.usefixtures("private_cache")
def test_a_recipe_and_values_give_the_result_that_sweep_json_says(tmp_path: Path, small_recipe: Recipe) -> None:
    result = sweep(small_recipe, {"granularity": ["per-tensor"]}, out=tmp_path / "out", workers=1, device="")
    (row,) = result.rows
    assert (row.tradeoff.status, row.images, row.error) == ("front", 18, None)
    assert (result.schema, result.recipe, result.units.done) == (2, "v1", 3)
    assert result == stored.read(tmp_path / "out" / "sweep.json", SweepResult)
    assert "granularity=per-tensor" in result._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"over": {"alfa": (1.0,)}}, "did you mean 'alpha'"),
        ({"over": {}, "workers": 0}, "--workers is 0"),
        ({"over": {}, "shard": 0}, "--shard is 0"),
        ({"over": {}, "recipe": "nothing"}, "no recipe file nothing"),
    ],
)
def test_arguments_that_a_command_line_would_refuse_are_refused_too(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sweep(**{"recipe": Recipe(), **arguments}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sweep_without_a_folder_goes_to_artifacts() -> None:
    assert default_out("recipes/mine.yaml") == Path("artifacts/sweep-mine")
    assert default_out(Recipe(variant="v2")) == Path("artifacts/sweep-v2")
