"""`mnedge device`: boards, phones and browsers that measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli._group import plain_app
from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table, progress, say
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from mnedge.results.device import BoardCheck, BrowserCheck, PhoneCheck

PANEL = "Measure"


command = plain_app(no_args_is_help=True)


@command.callback()
def _device() -> None:
    """Set up and check boards, phones and browsers.

    \b
    mnedge device setup ssh://pi@raspberrypi.local
    mnedge device check ssh://pi@raspberrypi.local
    mnedge device check adb://
    mnedge device check browser://chromium

    \b
    A device is a URI, the same for `validate --device` and `bench --device`:
      ssh://[user@]host[:port]  a Linux board, over your own ssh and its configuration
      adb://[serial]            a phone, over your own adb; no serial if it is the only one, or ANDROID_SERIAL names it
      browser://chromium        a browser of this machine, with the runtimes that npm installed
    Options stand behind ?, joined by &:
      python=PATH               the Python there, if not that of `device setup`
      tmp=DIR                   the folder there for temporary files
      silence_s=30              seconds without a sign of life until it is given up
      delegate=optional         accept figures without the delegate; they say so
      ssh_config=FILE           ssh: as `ssh -F FILE`
      benchmark_model=FILE      adb: the program to measure with, here or there
      accelerator=gpu           adb: cpu, gpu or npu, for benchmark_model
      cores=big                 adb: big, or a hexadecimal mask of cores
      modules=DIR               browser: the node_modules with the runtimes, if MNEDGE_WEB_MODULES does not name it
      program=FILE              browser: the program
    """


@command.command()
def setup(
    uri: Annotated[str, typer.Argument(help="The board.", show_default=False)],
    *,
    wheels: Annotated[
        bool, typer.Option("--wheels", help="Fetch wheels here and copy them: for a board without internet.")
    ] = False,
    package: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Package to install instead, as pip takes it; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a Python environment with the runtimes on a board.

    It lies in ~/.local/share/mnedge/env there; an older one stays until the new one is whole. URI is
    ssh://[user@]host[:port].
    """
    from mnedge.workflows.device import setup_device

    with progress() as told:
        result = setup_device(uri, packages=package or (), wheels=wheels, progress=told)
    _print(result, as_json=as_json)


@command.command()
def check(
    uri: Annotated[str, typer.Argument(help="The device.", show_default=False)], *, as_json: Json = False
) -> None:
    """Check a device and its runtimes, and say what to fix.

    URI is ssh://[user@]host[:port], adb://[serial] or browser://chromium.

    Exits 4 where nothing can be measured: the device is out of reach, or no runtime works there. Advice about steadier
    figures, such as a governor, leaves the exit status 0.
    """
    from mnedge.workflows.device import check_device

    result = check_device(uri)
    _print(result, as_json=as_json)
    if not result.measures:
        raise typer.Exit(ToolError.exit_code)


def _print(result: BoardCheck | PhoneCheck | BrowserCheck, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    print_table(result.device, ("", ""), result.rows())
    for line in result.advice:
        say(f"! {line}")
    if not result.advice:
        say("Ready.")
