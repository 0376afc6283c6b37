"""The documents tell the truth about the program."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.core import TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from mnedge import registry
from mnedge.cli import app
from mnedge.cli._group import Panel, as_command

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_FOLDERS = ("target", "runtime", "device", "pass", "format", "op", "variant", "recipe")


def _commands(text: str) -> list[list[str]]:
    """The `mnedge …` lines of a document's code blocks, without comments and shell parts."""
    blocks = re.findall(r"^(?: {4}|\$ )(?:.* && )?(mnedge .+)$", text, re.MULTILINE)
    blocks += re.findall(r"^mnedge .+$", "\n".join(re.findall(r"```(?:\w*)\n(.*?)```", text, re.DOTALL)), re.MULTILINE)
    return [shlex.split(re.split(r"\s{2,}#|\s#|\s>\s|\s\|\s", line)[0]) for line in blocks]


def _command(words: list[str]) -> Any:
    """The command that the first words name, which are taken away."""
    command = as_command(words[0], registry.load("mnedge.cli", words.pop(0), "command"))
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    return command


def _option_names(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
    }


def test_every_command_stands_on_the_first_page() -> None:
    page = (_ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for name in registry.names("mnedge.cli"):
        assert f"mnedge {name}" in page, f"docs/index.md does not mention `mnedge {name}`"


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.relative_to(_ROOT).as_posix())
def test_pages_only_name_commands_and_options_that_exist(page: Path) -> None:
    for words in _commands(page.read_text(encoding="utf-8")):
        rest = words[1:]
        command = _command(rest) if rest and not rest[0].startswith("-") else get_command(app)
        options = {word.partition("=")[0] for word in rest if word.startswith("-")}
        assert options <= _option_names(command), (words, options - _option_names(command))


def test_the_page_of_commands_is_their_help() -> None:
    # In a process of its own: Typer keeps the help option of a command as it was first called, here by another test.
    script = "import runpy, sys; sys.stdout.reconfigure(encoding='utf-8'); "
    script += "print(runpy.run_path('docs/commands.py')['render'](), end='')"
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, check=True)
    page = (_ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == done.stdout.decode(), "run python docs/commands.py"


def _leaves(command: Any) -> list[Any]:
    return list(command.commands.values()) if hasattr(command, "commands") else [command]


@pytest.mark.parametrize("name", registry.names("mnedge.cli"))
def test_every_command_and_option_has_help(name: str) -> None:
    for command in _leaves(_command([name])):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, TyperOption):
                assert parameter.help, f"{name} {parameter.name}"


def test_summaries_fit_a_line_of_80_columns() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=78)  # two columns stay free
    assert shown.exit_code == 0
    assert "..." not in shown.stdout.partition("Build:")[2]
    for panel in get_args(Panel):
        assert f"{panel}:" in shown.stdout


def test_pages_link_to_what_is_there() -> None:
    for page in (*_PAGES, _ROOT / "CONTRIBUTING.md", _ROOT / "SECURITY.md"):
        for place in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / place).exists(), f"{page.name} links to {place}"


def test_the_messages_that_troubleshooting_explains_are_mnedges() -> None:
    page = (_ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (_ROOT / "mnedge").rglob("*.py"))
    said = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    assert len(said) > 5
    for message in said:
        assert message in source, message


def test_the_site_has_every_page() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (_ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(_ROOT / "docs").as_posix() for path in _PAGES[1:])


def test_contributing_says_in_four_lines_how_to_add_each_kind() -> None:
    text = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for kind in _FOLDERS:
        section = re.search(rf"^## How to add an? {kind}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
        assert section, kind
        assert re.findall(r"^(\d)\. ", section[1], re.MULTILINE) == ["1", "2", "3", "4"], kind


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"^(pip install .*pytest.*)$", _README, re.MULTILINE)
    assert len(commands) == 1
    assert "README.md" in (_ROOT / ".ci" / "run").read_text(encoding="utf-8")
