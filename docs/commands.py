# ruff: noqa: INP001 - a script, no package
"""Writes docs/commands.md from every command's own --help: `python docs/commands.py`; a test holds them together."""

from __future__ import annotations

from pathlib import Path

import click

from mnedge.cli import app

_PAGE = Path(__file__).parent / "commands.md"
_WIDTH = 100


def render() -> str:
    """The page: the help of `mnedge` and of each command and subcommand."""
    parts = ["# Commands\n\nWritten by `python docs/commands.py` from the program's own help.\n"]
    parts += [f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(app, "mnedge", None)]
    return "\n".join(parts)


def _helps(command: click.Command, path: str, parent: click.Context | None) -> list[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": _WIDTH}
    context = click.Context(command, parent=parent, info_name=path.rpartition(" ")[2], **settings)
    found = [(path, command.get_help(context))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            found += _helps(inner, f"{path} {name}", context)
    return found


if __name__ == "__main__":
    _PAGE.write_text(render(), encoding="utf-8")
