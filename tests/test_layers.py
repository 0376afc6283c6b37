"""Imports point down only."""

import ast
from pathlib import Path

import pytest

import mnedge

_PACKAGE = Path(mnedge.__file__).parent
# Lower may not import higher, and none of a rank may import another of that rank.
_RANKS = {
    "mnedge": 0,
    "errors": 0,
    "registry": 1,
    "command": 1,
    "artifact": 1,
    "silence": 1,
    "cache": 2,
    "targets": 3,
    "data": 3,
    "graph": 3,
    "recipe": 3,
    "runtimes": 4,
    "devices": 5,
    "models": 6,
    "training": 6,
    "formats": 6,
    "passes": 6,
    "quantize": 6,
    "codegen": 6,
    "validation": 6,
    "bundle": 6,
    "report": 6,
    "tasks": 7,
    "job": 8,
    "preflight": 9,
    "stages": 9,
    "measure": 9,
    "optimize": 9,
    "diagnosis": 9,
    "transfer": 9,
    "ship": 9,
    "pipeline": 10,
    "search": 10,
    "sweep": 10,
    "cli": 11,
    "__main__": 12,
}
# Reading a file to look into it is a stage's work too; the formats are leaves among the stages.
_LEAVES = {"formats"}


def _modules() -> list[Path]:
    return sorted(_PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    inside = path.relative_to(_PACKAGE)
    return "mnedge" if inside.name == "__init__.py" and len(inside.parts) == 1 else inside.parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} if node.module != "mnedge" else {f"mnedge.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "mnedge"}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = _part(path)
    assert own in _RANKS, f"{own} has no rank; say where it stands"
    for name in _imported(path):
        other = name.split(".")[1] if "." in name else "mnedge"
        other = other if other in _RANKS else "mnedge"
        if other in (own, "mnedge") or (other in _LEAVES and _RANKS[own] >= _RANKS[other]):
            continue
        assert _RANKS[other] < _RANKS[own], f"{path.relative_to(_PACKAGE)} imports {name}, upward or sideways"


def test_an_upward_import_is_caught(tmp_path: Path) -> None:
    module = tmp_path / "x.py"
    module.write_text("from mnedge.cli import main\nimport mnedge.graph.graph\n")
    assert _imported(module) == {"mnedge.cli", "mnedge.graph.graph"}
    assert _RANKS["cli"] > _RANKS["graph"]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_heavy_libraries_are_not_imported_at_module_level(path: Path) -> None:
    heavy = {"tensorflow", "keras", "onnx", "onnxruntime", "sklearn", "matplotlib"}
    for node in ast.parse(path.read_text()).body:
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            names = {node.module or ""}
        assert not {name.split(".")[0] for name in names} & heavy, path
