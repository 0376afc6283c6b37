"""The points of a grid."""

from __future__ import annotations

import pytest

from mnedge.errors import InputError
from mnedge.recipe import Recipe
from mnedge.workflows.sweep.grid import parse_axes, points


def test_all_combinations_in_order() -> None:
    grid = points(Recipe(), parse_axes(["alpha=0.35,1", "variant=v1,v2", "resolution=96"]))
    found = [(point.recipe.alpha, point.recipe.variant, point.recipe.resolution) for point in grid]
    assert found == [(0.35, "v1", 96), (0.35, "v2", 96), (1.0, "v1", 96), (1.0, "v2", 96)]
    assert grid[1].name == "alpha=0.35 variant=v2 resolution=96"
    assert grid[1].folder == "alpha_0.35-variant_v2-resolution_96"


def test_a_value_twice_is_one_point() -> None:
    assert len(points(Recipe(), parse_axes(["alpha=0.5,0.50,0.5"]))) == 1


def test_the_model_of_a_recipe_has_no_keys_of_variants() -> None:
    assert [point.recipe.seed for point in points(Recipe(model="my.keras"), {"seed": (1, 2)})] == [1, 2]
    with pytest.raises(InputError, match=r"alpha describes a variant, and the recipe names the model my\.keras; sweep"):
        points(Recipe(model="my.keras"), {"alpha": (0.5,)})


def test_a_path_makes_a_folder_name_that_leads_nowhere() -> None:
    (point,) = points(Recipe(), parse_axes(["weights=../../a b.keras"]))
    assert point.folder == "weights_.._.._a_b.keras"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["alpha"], "give a key and its values"),
        (["alpha="], "give a key and its values"),
        (["alfa=1"], "did you mean 'alpha'"),
        (["alpha=wide"], "is no float"),
        (["resolution=96.5"], "is no int"),
        (["resolution=true"], "is no int"),
        (["alpha=1", "alpha=2"], "names alpha twice"),
    ],
)
def test_what_is_no_axis_is_told(axes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_axes(axes)


def test_a_value_that_no_recipe_takes_is_told() -> None:
    with pytest.raises(InputError, match="unknown effort 'much'"):
        points(Recipe(), parse_axes(["effort=fast,much"]))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"alfa": (1.0,)}, "did you mean 'alpha'"),
        ({"alpha": ("wide",)}, "'wide' is no float or int"),
        ({"resolution": (True,)}, "True is no int"),
        ({"variant": "v1"}, "give a list"),
        ({"alpha": ()}, "give a list"),
    ],
)
def test_values_that_are_no_text_are_checked_too(axes: dict[str, tuple[str | float, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        points(Recipe(), axes)
