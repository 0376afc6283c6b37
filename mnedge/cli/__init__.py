"""The command line: one file per command, each of which parses, calls and prints.

The commands are the files of this folder, and only the one that is asked for is imported.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from typing import Any

import click

from mnedge import __version__, registry
from mnedge.errors import MnedgeError

_INTERRUPTED = 130


class _Commands(click.Group):
    """A group whose commands are the files of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return registry.names("mnedge.cli")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = registry.load("mnedge.cli", cmd_name, "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            ctx.fail(f"no command {args[0]!r}{hint} `mnedge --help` lists them.")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mnedge")
@click.option("-v", "--verbose", count=True, help="Say what is done; twice for every program that is run.")
def app(verbose: int) -> None:
    """From the name of a MobileNet to an int8 artifact that is fast, small and proven on its device.

    \b
    mnedge build --variant v3-small --int8      the whole way, with the demo data
    mnedge doctor                               what is installed, and what is missing
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 good, 1 a gate failed, 2 wrong input, 3 unsupported, 4 a tool failed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.exit(_run(args))


def _run(args: list[str] | None) -> int:
    try:
        result: Any = app.main(args, prog_name="mnedge", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("mnedge: interrupted", err=True)
        return _INTERRUPTED
    except MnedgeError as exc:
        click.echo(f"mnedge: {exc}", err=True)
        return exc.exit_code
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0
