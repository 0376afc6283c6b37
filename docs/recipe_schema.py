# ruff: noqa: INP001 - a script, no package
"""Writes recipes/schema.json from `Recipe`: `python docs/recipe_schema.py`; a test holds them together."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mnedge import registry
from mnedge.models import families
from mnedge.recipe import FLAGS, RANGES, SHARE, Recipe, known_gates, known_tolerances

_FILE = Path(__file__).parent.parent / "recipes" / "schema.json"
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string"}
_EXTRA: dict[str, dict[str, Any]] = {
    "variant": {"enum": list(families.names())},
    "task": {"enum": registry.names("mnedge.tasks")},
    "targets": {"items": {"enum": registry.names("mnedge.targets")}, "minItems": 1},
    "bundles": {"items": {"enum": registry.names("mnedge.bundles")}},
    "alpha": {"exclusiveMinimum": 0},
    **{name: {"minimum": least, "maximum": most} for name, (least, most) in RANGES.items()},
}
# Given with flags only.
_FLAGS = {"skip_broken"}


def render() -> str:
    """The JSON Schema (draft 2020-12) of a recipe, for editors and for other programs."""
    hints, said = get_type_hints(Recipe), _descriptions()
    properties: dict[str, Any] = {}
    for entry in dataclasses.fields(Recipe):
        if entry.name in _FLAGS:
            continue
        shape = {"description": said[entry.name], **_shape(hints[entry.name]), **_EXTRA.get(entry.name, {})}
        if entry.name in ("gates", "tolerances"):
            shape = {
                "description": said[entry.name],
                **_mapping(known_gates() if entry.name == "gates" else known_tolerances()),
            }
        default = Recipe().as_json()[entry.name]
        properties[entry.name] = shape if default is None else {**shape, "default": default}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mnedge recipe",
        "description": "One thing to build: mnedge build --recipe FILE",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=2) + "\n"


def _shape(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - a type
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _shape(get_args(hint)[0])}
    # X | None: a key that may be left out; YAML says so by leaving it out.
    return _shape(next(part for part in get_args(hint) if part is not type(None)))


def _mapping(known: dict[str, str]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for name, text in known.items():
        shape = {"type": "boolean"} if name in FLAGS else {"type": "number", "minimum": 0}
        rows[name] = {"description": text, **shape, **({"maximum": 1} if SHARE in text else {})}
    return {"type": "object", "properties": rows, "additionalProperties": False}


def _descriptions() -> dict[str, str]:
    """The Attributes of Recipe's docstring, by field."""
    text = inspect.getdoc(Recipe) or ""
    rows = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text.partition("Attributes:\n")[2], re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in rows}


if __name__ == "__main__":
    _FILE.write_text(render(), encoding="utf-8")
