"""`mnedge completion`: what the shell needs to complete commands, options and names."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json

PANEL = "Look"


def command(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Print the completion script of a shell.

    New shells find the script where these lines put it.

    \b
    mnedge completion bash > ~/.local/share/bash-completion/completions/mnedge
    mnedge completion zsh  > ~/.zfunc/_mnedge        with ~/.zfunc in fpath, before compinit
    mnedge completion fish > ~/.config/fish/completions/mnedge.fish
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined] # it is there in all versions

    script = get_completion_script(prog_name="mnedge", complete_var="_MNEDGE_COMPLETE", shell=shell) + "\n"
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        typer.echo(script, nl=False)
