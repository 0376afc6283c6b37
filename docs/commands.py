# ruff: noqa: INP001 - a script, no package
"""Writes docs/commands.md from every command's own --help: `python docs/commands.py`; a test holds them together."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from mnedge import registry
from mnedge.cli import app

_PAGE = Path(__file__).parent / "commands.md"
_WIDTH = 100
# Commands that are groups of their own.
_GROUPS = {"device": ("setup", "check")}


def render() -> str:
    """The page: the help of `mnedge` and of each command and subcommand."""
    parts = ["# Commands\n\nWritten by `python docs/commands.py` from the program's own help.\n"]
    for words in _paths():
        path = " ".join(("mnedge", *words))
        parts.append(f"## {path}\n\n```text\n{_help(words)}\n```\n")
    return "\n".join(parts)


def _paths() -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = [()]
    for name in registry.names("mnedge.cli"):
        paths += [(name,), *((name, inner) for inner in _GROUPS.get(name, ()))]
    return paths


def _help(words: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="mnedge", terminal_width=_WIDTH)
    assert shown.exit_code == 0, shown.output
    return shown.stdout.rstrip()


if __name__ == "__main__":
    _PAGE.write_text(render(), encoding="utf-8")
