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
from mnedge.cli._endings import catch_signals, flushed, mend_streams, received, unexpected
from mnedge.errors import MnedgeError

_INTERRUPTED = 130
_COMPLETE = "_MNEDGE_COMPLETE"


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
    """Runs the command line and exits.

    0 good, 1 a gate failed, 2 wrong input, 3 unsupported, 4 a tool failed, 70 a bug, 74 a disk is full,
    130 Ctrl-C, 143 SIGTERM.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    catch_signals()
    mend_streams()
    code = flushed(_run(args))
    # A command that ends early with what it has does not tell Ctrl-C and SIGTERM apart.
    ending = received()
    sys.exit(code if ending is None else ending.exit_code)


def _run(args: list[str] | None) -> int:
    words = sys.argv[1:] if args is None else args
    try:
        result = _invoke(words)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except MnedgeError as exc:
        code, said = exc.exit_code, str(exc)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code, said = _INTERRUPTED, "interrupted"
    except Exception as exc:  # noqa: BLE001 - the one handler for what should not have happened
        # Libraries that a signal meets in the middle of their work make other errors of it.
        code, said = unexpected(exc, words) if received() is None else (_INTERRUPTED, "interrupted")
    else:
        return result if isinstance(result, int) else 0
    if (ending := received()) is not None:
        code, said = ending.exit_code, f"ended by {ending}"
    click.echo(f"mnedge: {said}", err=True)
    return code


def _invoke(words: list[str]) -> Any:  # noqa: ANN401 - what a command returns
    if _COMPLETE in os.environ:
        app.main(words, prog_name="mnedge")
    # Not click's own main(): it ends with 1 where the reader of a pipe has left.
    with app.make_context("mnedge", list(words)) as context:
        return app.invoke(context)
