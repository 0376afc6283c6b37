"""recipes/schema.json says what the loader says."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mnedge import recipe, registry
from mnedge.errors import InputError

_ROOT = Path(__file__).parent.parent
_SCHEMA: dict[str, Any] = json.loads((_ROOT / "recipes" / "schema.json").read_text(encoding="utf-8"))
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)
_USES = {
    "android-app", "raspberry-pi-4", "raspberry-pi-5", "cortex-m4", "cortex-m7", "cortex-m55", "ethos-u55",
    "own-photos", "demo",
}  # fmt: skip


def test_it_is_generated_from_the_dataclass() -> None:
    render = runpy.run_path(str(_ROOT / "docs" / "recipe_schema.py"))["render"]
    assert (_ROOT / "recipes" / "schema.json").read_text(encoding="utf-8") == render(), (
        "run python docs/recipe_schema.py"
    )
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)


def test_every_key_is_described() -> None:
    assert all(len(entry["description"]) > 5 for entry in _SCHEMA["properties"].values())


def test_there_is_a_recipe_for_each_use() -> None:
    assert set(recipe.names()) >= _USES


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_fits_and_says_what_it_is_for(name: str) -> None:
    text = (recipe.folder() / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert re.match(r"# [A-Z].{20,}", lines[0])
    assert lines[1] == "# yaml-language-server: $schema=schema.json"
    _VALIDATOR.validate(yaml.safe_load(text))
    found = recipe.load(name)
    assert found.gates
    for target in found.targets:
        assert target in registry.names("mnedge.targets")


@pytest.mark.parametrize(
    "text",
    [
        "variant: v1\n", "alpha: 1\n", "alpha: 0.5\n", "alpha: wide\n", "alpha: true\n", "resolution: 96\n",
        "resolution: 96.5\n", "resolution: true\n", "int8: true\n", "int8: 1\n", "gates: {}\n", "gates: []\n",
        "gates: {min_top1: 0.5, int8_only: true}\n", "gates: {min_top1: high}\n", "gates: {min_topp1: 1}\n",
        "tolerances: {top1: 0.01}\n", "tolerances: {top2: 0.01}\n", "bundles: [android]\n", "bundles: [ios]\n",
        "bundles: android\n", "targets: []\n", "targets: [cpu]\n", "method: magic\n", "method: qat\n", "threads: 0\n",
        "threads: 4\n", "calibration: 7\n", "calibration: mine.yaml\n", "nonsense: 1\n", "io: int4\n",
        "classes: 0\n", "resolution: 0\n", "alpha: 0\n", "alpha: -1\n", "seed: -1\n", "allow_float: [1]\n",
        "allow_float: [ADD]\n", "gates: {min_top1: 2}\n", "gates: {min_top1: true}\n", "gates: {int8_only: 1}\n",
        "gates: {max_p50_ms: 20}\n", "gates: {max_p50_ms: -1}\n", "tolerances: {p50_ms: 2}\n",
        "weights: 5\n", "{}\n", "skip_broken: true\n", "granularity: per-tensor\n", "granularity: per-row\n",
    ],
)  # fmt: skip
def test_editor_and_loader_agree(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    fits = _VALIDATOR.is_valid(yaml.safe_load(text))
    try:
        recipe.load(str(path))
    except InputError:
        assert not fits
    else:
        assert fits
