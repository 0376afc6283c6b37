"""The points of a grid: a recipe in which some keys take several values."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import yaml

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.recipe import Recipe

Value = str | float
# The keys that can be swept, and the types of their values.
KEYS: Mapping[str, tuple[type, ...]] = {
    "variant": (str,),
    "alpha": (float, int),
    "resolution": (int,),
    "classes": (int,),
    "weights": (str,),
    "method": (str,),
    "effort": (str,),
    "granularity": (str,),
    "io": (str,),
    "calibration": (str,),
    "seed": (int,),
}
# The keys that describe a variant, which the recipe of a model does not have.
_OF_VARIANTS = ("variant", "alpha", "resolution", "classes", "weights")


@dataclass(frozen=True)
class Point:
    """A point of the grid.

    Attributes:
        values: Values of the swept keys.
        recipe: The recipe with these values.
    """

    values: tuple[tuple[str, Value], ...]
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name in tables, e.g. "alpha=0.35 resolution=96"."""
        return " ".join(f"{key}={value}" for key, value in self.values) or "as it is"

    @property
    def folder(self) -> str:
        """Name of its folder, e.g. "alpha_0.35-resolution_96"."""
        shown = "-".join(f"{key}_{value}" for key, value in self.values) or "point"
        return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in shown)


def parse_axes(texts: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """Axes of the form key=value,value,… as in alpha=0.35,0.5.

    Raises:
        InputError: Not of that form, a key that cannot be swept, a value of another type, or a key twice.
    """
    axes: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        key, equals, listed = text.partition("=")
        if not equals or not listed:
            raise InputError(f"--over {text!r}: give a key and its values, e.g. alpha=0.35,0.5,1.0")
        if key not in KEYS:
            raise InputError.unknown("key to sweep", key, KEYS)
        if key in axes:
            raise InputError(f"--over names {key} twice; list its values together: {key}=A,B")
        axes[key] = tuple(dict.fromkeys(_value(key, part) for part in listed.split(",")))
    return axes


def _value(key: str, text: str) -> Value:
    wanted = KEYS[key]
    if wanted == (str,):
        return text.strip()
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isinstance(value, wanted):
        raise InputError(f"--over {key}: {text!r} is no {' or '.join(kind.__name__ for kind in wanted)}")
    return float(text) if float in wanted else value


def points(recipe: Recipe, axes: Mapping[str, Sequence[Value]]) -> list[Point]:
    """Lists all combinations of the axes' values, in their order.

    Raises:
        InputError: A key cannot be swept, has no values, has one that the recipe does not take, or describes a variant
            while the recipe names a model.
    """
    for key, listed in axes.items():
        _check(key, listed)
        if recipe.model is not None and key in _OF_VARIANTS:
            others = ", ".join(known for known in KEYS if known not in _OF_VARIANTS)
            raise InputError(
                f"{key} describes a variant, and the recipe names the model {recipe.model}; sweep one of {others}"
            )
    found = []
    for combination in itertools.product(*axes.values()):
        values = tuple(zip(axes, combination, strict=True))
        found.append(Point(values, _with_values(recipe, dict(values))))
    return found


def _check(key: str, listed: Sequence[Value]) -> None:
    if key not in KEYS:
        raise InputError.unknown("key to sweep", key, KEYS)
    if isinstance(listed, str) or not listed:
        raise InputError(f"the values of {key} are {listed!r}; give a list of them, e.g. [A, B]")
    for value in listed:
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise InputError(f"{key}: {value!r} is no {' or '.join(kind.__name__ for kind in KEYS[key])}")


def _with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    return replace(recipe, **values)  # type: ignore[arg-type] # `_check` held them against KEYS
