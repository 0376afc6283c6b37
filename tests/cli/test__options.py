"""Commands that share an option spell and describe it alike."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from mnedge import registry
from mnedge.cli._group import as_command

# Options that mean one thing wherever they stand; the others take what their command needs.
_SHARED = (
    "--allow-float", "--calibration", "--force", "--granularity", "--io", "--json", "--method", "--output-stride",
    "--positive", "--skip-broken",
)  # fmt: skip
# Those that a command may have under a condition, or with another default.
_ALIKE = ("--pixels", "--size", "--split")


def _leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(name, command)]
    return [leaf for own, part in inner.items() for leaf in _leaves(f"{name} {own}", part)]


def _uses() -> dict[str, dict[str, Any]]:
    """The parameter of each command, by the option's long name."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name in registry.names("mnedge.cli"):
        for command, parser in _leaves(name, as_command(name, registry.load("mnedge.cli", name, "command"))):
            for parameter in parser.params:
                if parameter.param_type_name == "option":
                    long = next(word for word in parameter.opts if word.startswith("--"))
                    found[long][command] = parameter
    return found


@pytest.mark.parametrize("option", _SHARED)
def test_a_shared_option_says_one_thing(option: str) -> None:
    # A search takes several granularities, and says so.
    uses = {name: use for name, use in _uses()[option].items() if (name, option) != ("search", "--granularity")}
    assert len(uses) > 1
    assert len({(use.metavar, use.help) for use in uses.values()}) == 1, sorted(uses)


@pytest.mark.parametrize("option", _ALIKE)
def test_a_condition_or_a_default_is_all_that_differs(option: str) -> None:
    uses = _uses()[option]
    told = {use.help.partition(": ")[2] if use.help.startswith("With ") else use.help for use in uses.values()}
    assert len(uses) > 1
    assert len({use.metavar for use in uses.values()}) == 1
    assert len({text.partition(" [default")[0].lower() for text in told}) == 1, told


def test_every_out_is_spelt_alike() -> None:
    for command, use in _uses()["--out"].items():
        assert use.opts == ["-o", "--out"], command
        assert use.metavar in ("DIR", "FILE"), command
