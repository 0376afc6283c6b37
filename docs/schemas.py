# ruff: noqa: INP001 - a script, no package
"""Writes the schemas of mnedge's files and the pages on them: `python docs/schemas.py`; a test holds them together.

schemas/NAME-VERSION.json are JSON Schemas (draft 2020-12), made from the nouns and from `Recipe`; schemas.md and
recipe_keys.md say the same for people. The number of a result is its `schema`; a recipe goes by mnedge's version.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mnedge import __version__
from mnedge.results import manifest, report
from mnedge.results.accuracy import Figures, WorstPicture
from mnedge.results.metric import declared
from mnedge.results.two_classes import TwoClasses

_HERE = Path(__file__).parent
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# The noun of each file, the version of its JSON, and where it lies.
_FILES: dict[str, tuple[type, int, str]] = {
    "report": (report.Report, report.SCHEMA, "`report.json` in the folder of a build"),
    "manifest": (manifest.BuildManifest, manifest.SCHEMA, "`manifest.json` in the folder of a build"),
    "bundle-manifest": (manifest.BundleManifest, manifest.SCHEMA, "`manifest.json` in a bundle"),
    "checksums": (manifest.Checksums, manifest.SCHEMA, "`checksums.json` in the folder of a build"),
}
_FILES_PAGE = """# Files and their schemas

JSON Schemas (draft 2020-12), made by `python docs/schemas.py` from the code that writes the files. The number in a name
is the `schema` of the file; it changes when a field is renamed, removed or given another meaning
([What is stable](stability.md)). A field may be added without it: readers pass over what they do not know. `null`
stands for a figure that was not measured or does not exist. Names end in their unit; a share is 0..1.

| file | schema |
|---|---|"""
_RECIPE_PAGE = """# Recipe keys

What a recipe may say; made from the code by `python docs/schemas.py`.
[recipe-@SERIES@.json](schemas/recipe-@SERIES@.json) says the same to editors and programs: the line
`# yaml-language-server: $schema=…` in a recipe makes an editor complete and check it. An unknown key is an error.
`mnedge recipes` lists the recipes that come along.

| key | value | default | |
|---|---|---|---|"""
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def render() -> dict[str, str]:
    """The text of every file, by its path in docs/."""
    made = {f"schemas/{name}-{version}.json": schema_of(noun, version) for name, (noun, version, _) in _FILES.items()}
    recipe = json.loads(runpy.run_path(str(_HERE / "recipe_schema.py"))["render"]())
    series = ".".join(__version__.split(".")[:2])
    made[f"schemas/recipe-{series}.json"] = recipe
    texts = {path: json.dumps(schema, indent=2) + "\n" for path, schema in made.items()}
    return {**texts, "schemas.md": _page(made), "recipe_keys.md": _recipe_page(recipe, series)}


def schema_of(noun: type, version: int) -> dict[str, Any]:
    """The JSON Schema of a noun's file; what a later mnedge adds is allowed, as its readers allow it."""
    definitions: dict[str, Any] = {}
    top = _object(noun, definitions)
    top["properties"]["schema"] = {**top["properties"]["schema"], "const": version}
    return {"$schema": _DRAFT, "title": f"mnedge {noun.__name__}, schema {version}", **top, "$defs": definitions}


def _object(noun: type, definitions: dict[str, Any]) -> dict[str, Any]:
    if noun is Figures:
        return _figures(definitions)
    text = inspect.getdoc(noun) or ""
    said, kinds = _attributes(text), get_type_hints(noun)
    row: dict[str, Any] = {
        "description": _of_json(text.partition("\n")[0]),
        "type": "object",
        "properties": {},
        "required": [],
    }
    for field in fields(noun):
        if "flat" in field.metadata:
            inner = _object(_noun_of(kinds[field.name]), definitions)
            # The rows of a noun that may be missing are missing together.
            row["properties"] |= inner["properties"]
            row["required"] += [] if _may_be_none(kinds[field.name]) else inner["required"]
            continue
        shape = _shape(kinds[field.name], definitions)
        row["properties"][field.name] = {"description": said.get(field.name, ""), **shape}
        if not _has_default(field):
            row["required"].append(field.name)
    if noun is WorstPicture:
        del row["properties"]["counts"]
        row["required"].remove("counts")
        row["additionalProperties"] = {"type": ["integer", "number"]}
    for shape in row["properties"].values():
        if not shape.get("description"):
            shape.pop("description", None)
    return row


def _figures(definitions: dict[str, Any]) -> dict[str, Any]:
    """The figures of a task, which stand in the row that holds them; a row has those of its task."""
    share, interval = {"type": "number", "minimum": 0, "maximum": 1}, _shape(tuple[float, float], definitions)
    properties: dict[str, Any] = {}
    for metric in declared():
        if metric.by_class:
            by_class = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
            properties[metric.key] = {"description": f"{metric.name} of each class, 0..1.", **by_class}
            continue
        properties[metric.key] = {"description": f"{metric.name}, 0..1.", **share}
        properties[f"{metric.key}_interval"] = {"description": f"95 % interval of {metric.name}.", **interval}
    worst = _shape(tuple[WorstPicture, ...], definitions)
    properties["worst"] = {"description": "The pictures that were met worst, where the task names them.", **worst}
    curves = _shape(TwoClasses, definitions)
    properties["two_classes"] = {"description": "Curves and best threshold of two classes.", **curves}
    return {"properties": properties, "required": []}


def _shape(  # noqa: C901, PLR0911 - one kind of annotation after the other
    kind: Any,  # noqa: ANN401 - an annotation
    definitions: dict[str, Any],
) -> dict[str, Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is object:
        return {}
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple and parts[-1] is Ellipsis:
        return {"type": "array", "items": _shape(parts[0], definitions)}
    if origin is tuple:
        rows = [_shape(part, definitions) for part in parts]
        return {"type": "array", "prefixItems": rows, "minItems": len(rows), "maxItems": len(rows)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _shape(parts[1], definitions)}
    if origin in (UnionType, Union):
        rows = [_shape(part, definitions) for part in parts]
        if all(list(row) == ["type"] for row in rows):
            return {"type": [row["type"] for row in rows]}
        return {"anyOf": rows}
    if isinstance(kind, type) and is_dataclass(kind):
        name = kind.__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    raise TypeError(f"no schema for {kind}")


def _noun_of(kind: Any) -> type:  # noqa: ANN401 - an annotation
    return next(part for part in (kind, *get_args(kind)) if isinstance(part, type) and is_dataclass(part))


def _may_be_none(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return NoneType in get_args(kind)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _attributes(text: str) -> dict[str, str]:
    rows = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text.partition("Attributes:\n")[2], re.MULTILINE)
    return {name: _of_json(" ".join(said.split())) for name, said in rows}


def _of_json(text: str) -> str:
    """A docstring's words for JSON, whose None is null."""
    return re.sub(r"\bNone\b", "null", text)


def _page(made: dict[str, dict[str, Any]]) -> str:
    lines = [_FILES_PAGE]
    for name, (_, version, place) in _FILES.items():
        lines.append(f"| {place} | [{name}-{version}.json](schemas/{name}-{version}.json) |")
    (recipe,) = (path for path in made if path.startswith("schemas/recipe"))
    lines.append(
        f"| a recipe, `mnedge build --recipe FILE` | [{Path(recipe).name}]({recipe}), [keys](recipe_keys.md) |"
    )
    shown: set[str] = set()
    for name, (_, version, place) in _FILES.items():
        schema = made[f"schemas/{name}-{version}.json"]
        lines += ["", f"## {name}", "", f"{place[0].upper() if place[0] != '`' else place[0]}{place[1:]}.", ""]
        lines += _table(schema)
        for inner, rows in sorted(schema["$defs"].items()):
            if inner not in shown:
                shown.add(inner)
                lines += ["", f"### {inner}", "", _escaped(rows["description"]), "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(schema: dict[str, Any]) -> list[str]:
    lines = ["| field | type | |", "|---|---|---|"]
    for name, shape in schema["properties"].items():
        lines.append(f"| `{name}` | {_kind(shape)} | {_escaped(shape.get('description', ''))} |")
    return lines


def _kind(shape: dict[str, Any]) -> str:  # noqa: PLR0911 - one kind of schema after the other
    """A type in words."""
    if "const" in shape:
        return f"`{shape['const']}`"
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(_kind(part) for part in shape["anyOf"])
    kind = shape.get("type", "any value")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return (
            f"list of {_kind(shape['items'])}" if "items" in shape else " and ".join(map(_kind, shape["prefixItems"]))
        )
    if kind == "object" and isinstance(shape.get("additionalProperties"), dict):
        return f"{_kind(shape['additionalProperties'])} by name"
    return str(kind)


def _recipe_page(schema: dict[str, Any], series: str) -> str:
    lines = [_RECIPE_PAGE.replace("@SERIES@", series)]
    for name, shape in schema["properties"].items():
        default = f"`{json.dumps(shape['default'])}`" if shape.get("default") not in (None, {}, []) else ""
        value = f"[below](#{name})" if "properties" in shape else _kind(shape)
        default = "" if "properties" in shape else default
        # In YAML a key that says nothing is left out.
        said = shape["description"].replace("None for ", "without it, ")
        lines.append(f"| `{name}` | {value} | {default} | {_escaped(said)} |")
    for name, shape in schema["properties"].items():
        if "properties" in shape:
            lines += ["", f"## {name}", "", "| key | value | |", "|---|---|---|"]
            for key, inner in shape["properties"].items():
                lines.append(f"| `{key}` | {_kind(inner)} | {_escaped(inner.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for place, text in render().items():
        path = _HERE / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
