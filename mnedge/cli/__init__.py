"""The command line: one file per command, each of which parses, calls and prints.

The commands are the files of this folder, and only the one that is asked for is imported.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.main import get_command

from mnedge import __version__
from mnedge.cli._endings import catch_signals, flushed, interrupted, mend_streams, received, unexpected
from mnedge.cli._group import Commands, plain_app
from mnedge.cli._log import start_log
from mnedge.errors import MnedgeError
from mnedge.text import message

_INTERRUPTED = 130
# The command line, for the log.
_WORDS: list[str] = []
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
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Tell stages and times; -vv also each program that is run.",
        ),
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From the name of a MobileNet, or your own model, to an int8 artifact proven on its device.

    \b
    mnedge build --variant v3-small --int8      the whole way, with the demo data
    mnedge doctor                               what is installed, and what is missing

    MNEDGE_LOG=FILE keeps a log of all that -vv tells, with times.
    """
    del version
    start_log(verbose, _WORDS)


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
    _WORDS[:] = words
    try:
        result = _invoke(words)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        exc.show()  # type: ignore[attr-defined] # all that Typer raises have it
        return exc.exit_code
    except MnedgeError as exc:
        code, said = exc.exit_code, str(exc)
    except (typer.Abort, KeyboardInterrupt):
        code, said = _INTERRUPTED, "interrupted"
    except Exception as exc:  # noqa: BLE001 - the one handler for what should not have happened
        # Libraries that a signal meets in the middle of their work make other errors of it.
        is_stopped = interrupted() or received() is not None
        code, said = (_INTERRUPTED, "interrupted") if is_stopped else unexpected(exc, words)
    else:
        return result if isinstance(result, int) else 0
    if (ending := received()) is not None:
        code, said = ending.exit_code, f"ended by {ending}"
    typer.echo(f"mnedge: {message(said)}", err=True)
    return code


def _invoke(words: list[str]) -> object:
    group = get_command(app)
    if _COMPLETING in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined] # it is there in all versions

        completion_init()
        group.main(words, prog_name="mnedge")
    # Not Typer's own main(): it ends with 1 where the reader of a pipe has left.
    with group.make_context("mnedge", list(words)) as context:
        return group.invoke(context)
