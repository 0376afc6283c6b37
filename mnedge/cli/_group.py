"""The group of all commands: one file a command, found by name, imported when asked for, listed in panels."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mnedge import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

# Headings of `mnedge --help`, in this order; every command's file names its own in `PANEL`.
Panel = Literal["Build", "Measure", "Ship", "Look"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(Protocol):
    """A parser as Typer makes it; its class is private, and another one in other versions of Typer."""

    name: str | None

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence of the help, cut to a number of characters."""
        ...


class Formatter(Protocol):
    """Writer of a help text."""

    width: int

    def section(self, name: str) -> AbstractContextManager[None]:
        """Indents the text that is written in the block, under a heading."""
        ...

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None:
        """Writes rows of two columns."""
        ...


class Commands(TyperGroup):
    """A group whose commands are the files of this package: `command`, a function or a Typer app, and `PANEL`."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # typer names its base privately
        del ctx
        return registry.names("mnedge.cli")

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Command | None:  # type: ignore[override] # likewise
        if cmd_name not in self.list_commands(ctx):
            return None
        return as_command(cmd_name, registry.load("mnedge.cli", cmd_name, "command"))

    def resolve_command(  # type: ignore[override] # likewise
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            ctx.fail(f"no command {args[0]!r}{hint} `mnedge --help` lists them.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: Formatter) -> None:  # type: ignore[override] # likewise
        names = self.list_commands(ctx)
        width = max(len(name) for name in names)
        for panel in get_args(Panel):
            rows = [
                (f"{name:<{width}}", summary(name, formatter.width - width - 6))
                for name in names
                if registry.load("mnedge.cli", name, "PANEL") == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


def summary(name: str, limit: int) -> str:
    """Cuts the first sentence of a command's help to a number of characters; the parser of its options is not made."""
    command: Callable[..., object] | typer.Typer = registry.load("mnedge.cli", name, "command")
    if isinstance(command, typer.Typer):
        return as_command(name, command).get_short_help_str(limit)
    return TyperCommand(name, help=inspect.getdoc(command)).get_short_help_str(limit)


def as_command(name: str, command: Callable[..., object] | typer.Typer) -> Command:
    """Makes the parser of one command from its function's signature, or of a group from its Typer app."""
    if isinstance(command, typer.Typer):
        app = command
    else:
        app = plain_app()
        app.command(name, context_settings=CONTEXT)(command)
    made = get_command(app)
    made.name = name
    return made


def plain_app(cls: type[TyperGroup] = TyperGroup, *, no_args_is_help: bool = False) -> typer.Typer:
    """A Typer app as all of mnedge's are: plain text, no completion options of its own."""
    return typer.Typer(
        cls=cls,
        no_args_is_help=no_args_is_help,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=CONTEXT,
    )
