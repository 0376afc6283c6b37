"""`mnedge completion`: what the shell needs to complete commands, options and names."""

from __future__ import annotations

import click

from mnedge.cli._output import json_option, print_json

PANEL = "Look"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the completion script of a shell; new shells find it where these lines put it.

    \b
    mnedge completion bash > ~/.local/share/bash-completion/completions/mnedge
    mnedge completion zsh  > ~/.zfunc/_mnedge        with ~/.zfunc in fpath, before compinit
    mnedge completion fish > ~/.config/fish/completions/mnedge.fish
    """
    script = _script(shell)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from mnedge.cli import app

    completion = get_completion_class(shell)
    assert completion is not None, shell
    script = completion(app, {}, "mnedge", "_MNEDGE_COMPLETE")
    # Not source(): click's checks the version of whatever bash is on PATH, which need not be the one to complete in.
    return script.source_template % script.source_vars()
