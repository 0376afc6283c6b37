"""The command line: one file per command, each of which parses, calls and prints.

The commands are the files of this folder, and only the one that is asked for is imported.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import click
import typer
from typer.main import get_command

from mnedge import __version__, registry
from mnedge.cli._group import Commands, plain_app
from mnedge.errors import MnedgeError

_INTERRUPTED = 130
# The variable by which a shell asks for completions.
_COMPLETING = "_MNEDGE_COMPLETE"


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mnedge {__version__}")
        raise typer.Exit


app = plain_app(cls=Commands)


@app.callback()
def _mnedge(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Tell the stages; -vv tells every program that is run.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From the name of a MobileNet, or your own model, to an int8 artifact proven on its device.

    \b
    mnedge build --variant v3-small --int8      the whole way, with the demo data
    mnedge doctor                               what is installed, and what is missing
    """
    del version
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 good, 1 a gate failed, 2 wrong input, 3 unsupported, 4 a tool failed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if _COMPLETING in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined] # it is there in all versions

        completion_init()
    sys.exit(_run(args))


def _run(args: list[str] | None) -> int:
    try:
        words = sys.argv[1:] if args is None else args
        old = next((word for word in words if not word.startswith("-")), "")
        if old in registry.names("mnedge.cli") and isinstance(
            command := registry.load("mnedge.cli", old, "command"), click.Command
        ):
            # Until every command is Typer's.
            result: Any = command.main(
                words[words.index(old) + 1 :], prog_name=f"mnedge {old}", standalone_mode=False,
                help_option_names=["-h", "--help"], max_content_width=100,
            )  # fmt: skip
        else:
            result = get_command(app).main(args, prog_name="mnedge", standalone_mode=False)
    except (typer.TyperException, click.ClickException) as exc:
        exc.show()  # type: ignore[union-attr] # all that Typer raises have it
        return exc.exit_code
    except (typer.Abort, click.exceptions.Abort, KeyboardInterrupt):
        result = _INTERRUPTED
    except MnedgeError as exc:
        typer.echo(f"mnedge: {exc}", err=True)
        return exc.exit_code
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if result == _INTERRUPTED:
        typer.echo("mnedge: interrupted", err=True)
    return result if isinstance(result, int) else 0
