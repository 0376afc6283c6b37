from pathlib import Path

import pytest

from mnedge import recipe
from mnedge.errors import InputError


def _load(tmp_path: Path, text: str) -> recipe.Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return recipe.load(str(path))


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_that_comes_along_loads(name: str) -> None:
    assert isinstance(recipe.load(name), recipe.Recipe)


def test_flags_win_over_the_recipe(tmp_path: Path) -> None:
    found = _load(tmp_path, "variant: v1\nalpha: 0.25\ntargets: [cpu]\n")
    assert found.with_flags({"alpha": 0.5, "variant": None, "targets": ()}) == recipe.Recipe(variant="v1", alpha=0.5)


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    assert _load(tmp_path, "data: photos\nweights: demo\n").data == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("variant: v1\nresolutoin: 96\n", r"r\.yaml line 2: unknown key 'resolutoin'; did you mean 'resolution'"),
        ("variant: v1\n\nalpha: wide\n", r"r\.yaml line 3: alpha is 'wide'; it takes a int or float"),
        ("int8: 1\n", r"line 1: int8 is 1; it takes a bool"),
        ("resolution: true\n", r"line 1: resolution is True"),
        ("gates:\n  min_topp1: 0.5\n", r"line 1: unknown gate 'min_topp1'; did you mean 'min_top1'"),
        ("gates: {min_top1: high}\n", r"gate min_top1 is 'high'; it takes a number"),
        ("method: magic\n", r"unknown method 'magic'"),
        ("- v1\n", "a recipe is a list of `key: value` lines"),
        ("a: [1\n", "is not YAML"),
        ("", "a recipe is a list of"),
        ("targets: []\n", "targets is empty"),
        ("variant: !!python/object/apply:os.system [ls]\n", "is not YAML"),
    ],
)
def test_bad_recipes_say_where_and_what(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _load(tmp_path, text)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"did you mean 'demo'"):
        recipe.load("demoo")
