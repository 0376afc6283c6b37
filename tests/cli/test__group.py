"""The group of all commands: a panel for each, one import for one command, and names that are nearly right."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
import typer
from typer.main import get_command

from mnedge import registry
from mnedge.cli import _run, app
from mnedge.cli._group import Panel, as_command, summary

# What `mnedge --help` may import besides the standard library: Typer and its parts, and of mnedge the command line with
# the plain values that options are made of.
_PACKAGES = {"annotated_doc", "colorama", "mnedge", "shellingham", "typer", "typing_extensions"}
_OWN = {
    "mnedge", "mnedge.choices", "mnedge.errors", "mnedge.models", "mnedge.models.families",
    "mnedge.models.families._family", "mnedge.models.heads", "mnedge.models.network", "mnedge.models.variant",
    "mnedge.progress", "mnedge.registry", "mnedge.text",
}  # fmt: skip
_SAY = """
import sys
before = set(sys.modules)
from mnedge.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(set(sys.modules) - before), file=sys.stderr)
"""


def _imported(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _SAY, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_the_command_line_alone() -> None:
    found = _imported("--help")
    roots = {name.partition(".")[0] for name in found}
    assert roots - sys.stdlib_module_names - _PACKAGES == set()
    own = {name for name in found if name.startswith("mnedge") and not name.startswith("mnedge.cli")}
    assert own - _OWN == set()


@pytest.mark.parametrize("name", ["lock", "bundle"])
def test_help_of_a_command_imports_no_other_command(name: str) -> None:
    found = _imported(name, "--help")
    commands = {f"mnedge.cli.{other.replace('-', '_')}" for other in registry.names("mnedge.cli")}
    assert found & commands == {f"mnedge.cli.{name}"}
    own = {module for module in found if module.startswith("mnedge") and not module.startswith("mnedge.cli")}
    assert own - _OWN == set()


def test_every_command_stands_in_one_panel(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["--help"]) == 0
    shown = capsys.readouterr().out
    headings = [f"{panel}:" for panel in get_args(Panel)]
    assert [line for line in shown.splitlines() if line in headings] == headings
    for name in registry.names("mnedge.cli"):
        assert registry.load("mnedge.cli", name, "PANEL") in get_args(Panel)
        assert shown.count(f"\n  {name} ") == 1


@pytest.mark.parametrize("name", registry.names("mnedge.cli"))
def test_a_summary_is_what_the_parser_would_say(name: str) -> None:
    made = as_command(name, registry.load("mnedge.cli", name, "command"))
    assert summary(name, 60) == made.get_short_help_str(60)


def test_a_name_that_is_nearly_right_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["biuld"]) == 2
    assert "no command 'biuld'; did you mean 'build'?" in capsys.readouterr().err
    assert _run(["zzz"]) == 2
    assert "no command 'zzz'. `mnedge --help` lists them." in capsys.readouterr().err


def test_a_folder_of_subcommands_is_a_command_too() -> None:
    group = get_command(app)
    with typer.Context(group) as context:
        found = group.get_command(context, "device")  # type: ignore[attr-defined] # the class is private
        assert found.name == "device"
        assert group.get_command(context, "absent") is None  # type: ignore[attr-defined] # likewise
