# ruff: noqa: INP001 - a script, no package
"""Writes recipes/schema.json from `Recipe`: `python docs/recipe_schema.py`; a test holds them together."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from mnedge import registry
from mnedge.models import families
from mnedge.recipe import Recipe, kinds, known_gates, known_release, known_tolerances, limit_kind

_FILE = Path(__file__).parent.parent / "recipes" / "schema.json"
_NAMES: dict[str, dict[str, Any]] = {
    "variant": {"enum": list(families.names())},
    "task": {"enum": registry.names("mnedge.tasks")},
    "targets": {"items": {"enum": registry.names("mnedge.targets")}},
    "bundles": {"items": {"enum": registry.names("mnedge.bundles")}},
}
# Given with flags only.
_FLAGS = {"skip_broken"}


def render() -> str:
    """The JSON Schema (draft 2020-12) of a recipe, for editors and for other programs."""
    said, defaults = _descriptions(), Recipe().as_json()
    properties: dict[str, Any] = {}
    for name, kind in kinds().items():
        if name in _FLAGS:
            continue
        shape = {"description": said[name], **_shape(kind), **_NAMES.get(name, {})}
        if name in ("gates", "tolerances"):
            known = known_gates() if name == "gates" else known_tolerances()
            shape = {"description": said[name], **_mapping(known)}
        if name == "release":
            rows = {entry: {"description": text, "type": "string"} for entry, text in known_release().items()}
            shape = {"description": said[name], "type": "object", "properties": rows, "additionalProperties": False}
        properties[name] = shape if defaults[name] is None else {**shape, "default": defaults[name]}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mnedge recipe",
        "description": "One thing to build: mnedge build --recipe FILE",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return json.dumps(schema, indent=2) + "\n"


def _shape(kind: object) -> dict[str, Any]:
    """The schema of a type; a key that may be left out has no null: YAML says so by leaving it out."""
    shape = msgspec.json.schema(kind)
    return next((part for part in shape.get("anyOf", ()) if part != {"type": "null"}), shape)


def _mapping(known: dict[str, str]) -> dict[str, Any]:
    rows = {name: {"description": text, **_shape(limit_kind(name, text))} for name, text in known.items()}
    return {"type": "object", "properties": rows, "additionalProperties": False}


def _descriptions() -> dict[str, str]:
    """The Attributes of Recipe's docstring, by field."""
    text = inspect.getdoc(Recipe) or ""
    rows = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text.partition("Attributes:\n")[2], re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in rows}


if __name__ == "__main__":
    _FILE.write_text(render(), encoding="utf-8")
