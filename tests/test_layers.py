"""Imports point down only."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mnedge
from mnedge import registry
from mnedge.models import families

_PACKAGE = Path(mnedge.__file__).parent
# Lower may not import higher, and none of a rank may import another of that rank.
_FLOORS = (
    ("mnedge", "choices", "errors", "redaction", "text", "untyped"),
    ("batch", "command", "files", "foreign", "heap", "pixels", "progress", "registry", "silence"),
    ("cache", "record"),
    ("replacement",),
    ("artifact",),
    ("amounts", "results"),
    ("data", "graph", "recipe", "targets"),
    ("runtimes",),
    ("devices",),
    ("bundles", "codegen", "formats", "models", "passes", "quantization", "report", "training", "validation"),
    ("sources", "tasks"),
    ("workflows",),
    ("cli",),
    ("__main__",),
)
_RANKS = {part: rank for rank, parts in enumerate(_FLOORS) for part in parts}
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


# What the package itself names, it imports when it is asked for: tests/test_api.py.
_FACE = _PACKAGE / "__init__.py"


@pytest.mark.parametrize(
    "path", [path for path in _modules() if path != _FACE], ids=lambda path: str(path.relative_to(_PACKAGE))
)
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


def _arrows(root: Path) -> dict[str, set[str]]:
    """By dotted name, the files of the package at `root` that each file imports anywhere, also for types only."""
    paths = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    arrows: dict[str, set[str]] = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import name` reads the file `name`, or a name of the package itself.
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= inside & set(files) or {node.module}
                found |= {node.module} if inside - set(files) else set()
        arrows[name] = found & set(files) - {name}
    return arrows


def _rings(arrows: dict[str, set[str]]) -> set[frozenset[str]]:
    """Sets of files that reach each other by their imports."""
    reached: dict[str, set[str]] = {}
    for name, direct in arrows.items():
        seen: set[str] = set()
        waiting = direct
        while waiting:
            seen |= waiting
            waiting = set().union(*(arrows[other] for other in waiting)) - seen
        reached[name] = seen
    rings = (frozenset(other for other in seen if name in reached[other]) for name, seen in reached.items())
    return {ring for ring in rings if ring}


def test_no_files_import_each_other() -> None:
    arrows = _arrows(_PACKAGE)
    # What the package itself names, it imports when it is asked for.
    arrows["mnedge"] = set()
    rings = _rings(arrows)
    assert not rings, [sorted(ring) for ring in rings]


def test_a_ring_is_caught_also_where_types_close_it(tmp_path: Path) -> None:
    root = tmp_path / "mnedge"
    (root / "b").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "a.py").write_text("def late():\n    from mnedge import b\n")
    (root / "b" / "__init__.py").write_text("import mnedge.b.c\n")
    (root / "b" / "c.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mnedge.a import late\n"
    )
    (root / "d.py").write_text("from mnedge.a import late\n")
    assert _rings(_arrows(root)) == {frozenset({"mnedge.a", "mnedge.b", "mnedge.b.c"})}
    (root / "b" / "c.py").write_text("")
    assert _rings(_arrows(root)) == set()


@cache
def _compared(source: str) -> set[str]:
    """The texts that a file compares something with."""
    compared = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare))
    sides = (side for node in compared for side in (node.left, *node.comparators))
    parts = (part for side in sides for part in (side.elts if isinstance(side, (ast.Tuple, ast.Set)) else [side]))
    return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def test_what_differs_between_tasks_targets_and_families_stands_in_their_own_files() -> None:
    """No `if task == "…"` elsewhere: methods and data of the task, the target or the family say what is different."""
    for package, also in (("tasks", ()), ("targets", ("devices",)), ("models.families", ("models",))):
        known = set(registry.names(f"mnedge.{package}"))
        if package == "models.families":
            known = set(families.names())
        own = (package.replace(".", "/"), *also)
        for path in _modules():
            inside = path.relative_to(_PACKAGE).as_posix()
            if not inside.startswith(own):
                assert not _compared(path.read_text()) & known, f"{inside} compares with a name of mnedge/{own[0]}"


def test_a_comparison_with_a_name_is_caught() -> None:
    assert _compared('if report.task == "detect" or name in ("v1", "v2"): pass') == {"detect", "v1", "v2"}
    assert _compared('task = "detect"') == set()


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_heavy_libraries_are_not_imported_at_module_level(path: Path) -> None:
    heavy = {"tensorflow", "keras", "onnx", "onnxruntime", "sklearn", "matplotlib"}
    for node in ast.parse(path.read_text()).body:
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            names = {node.module or ""}
        assert not {name.split(".")[0] for name in names} & heavy, path


# Of the whole package: each says beside it why the type is not known; most values of which only the running program
# knows more have a name in untyped.py.
_MOST_ANY = 20
_NAMES_ANY = re.compile(r"\bAny\s*[\],|]|->\s*Any\b|^Any$")


def _anys(source: str) -> int:
    """How often a file says `Any` as a type, also inside quotes; imports do not count."""
    nodes = list(ast.walk(ast.parse(source)))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    quoted = [
        len(_NAMES_ANY.findall(node.value))
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes) + sum(quoted)


def test_what_is_passed_on_has_a_type() -> None:
    counts = {str(path.relative_to(_PACKAGE)): _anys(path.read_text()) for path in _modules()}
    assert sum(counts.values()) <= _MOST_ANY, {name: count for name, count in counts.items() if count}


def test_any_is_counted_in_annotations_and_in_quotes_but_not_in_sentences() -> None:
    said = '"""Any value, from typing import Any."""\nfrom typing import Any\n'
    assert _anys(said) == 0
    assert _anys(f"{said}def f(x: Any) -> dict[str, Any]:\n    '''Any, or none.'''\n") == 2
    assert _anys(f"{said}Row = 'dict[str, Any]'\nx: list['Any'] = []\n") == 2


# Folders whose files are their entries: files that are no entries begin with an underscore there, whoever imports them.
_REGISTRIES = {
    "bundles", "cli", "data/formats", "devices", "models/families", "models/heads", "passes", "runtimes", "sources",
    "targets", "tasks",
}  # fmt: skip


def test_what_other_folders_import_has_no_underscore_but_in_registries() -> None:
    for path in _modules():
        for name in _imported(path):
            *folders, module = name.split(".")[1:]
            folder = "/".join(folders)
            inside = path.relative_to(_PACKAGE).as_posix()
            if module.startswith("_") and folder not in _REGISTRIES and not inside.startswith(f"{folder}/"):
                assert not (_PACKAGE / folder / f"{module}.py").exists(), f"{inside} imports {name}"
