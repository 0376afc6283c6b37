"""One door to the runtimes: nothing but their own files runs a model in this process."""

from __future__ import annotations

import ast
from pathlib import Path

import mnedge
from mnedge import registry, runtimes
from mnedge.runtimes._session import open_session

_PACKAGE = Path(mnedge.__file__).parent
# They run elsewhere: on a board, and in the user's own program.
_ELSEWHERE = {"devices/_agent.py", "bundles/_models.py"}
_ENGINES = ("LiteRtSession", "OnnxRuntimeSession", "CompiledCSession", "nodes_here", "metadata_here", "profile_here")
_MODULES = ("ai_edge_litert.interpreter", "onnxruntime", "tflite_runtime.interpreter")


def _engines_in(text: str) -> list[str]:
    """What a file imports that runs models in its own process."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in _MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if node.module in _MODULES else []
            found += [alias.name for alias in node.names if alias.name in _ENGINES]
    return [str(name) for name in found]


def test_only_runtimes_run_models_in_their_own_process() -> None:
    for path in _PACKAGE.rglob("*.py"):
        place = path.relative_to(_PACKAGE).as_posix()
        if not place.startswith("runtimes/") and place not in _ELSEWHERE:
            assert _engines_in(path.read_text()) == [], place


def test_a_way_around_the_door_is_seen() -> None:
    assert _engines_in("from mnedge.runtimes.litert import LiteRtSession") == ["LiteRtSession"]
    assert _engines_in("def late():\n    import onnxruntime") == ["onnxruntime"]
    assert _engines_in("from ai_edge_litert.interpreter import Interpreter") == ["ai_edge_litert.interpreter"]


def test_every_runtime_opens_in_a_child() -> None:
    for name in registry.names("mnedge.runtimes"):
        opened = runtimes.get(name).open
        assert (opened.func, opened.args) == (open_session, (name,))  # type: ignore[attr-defined] # a partial
