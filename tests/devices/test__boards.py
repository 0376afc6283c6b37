"""The table of emulated boards."""

from __future__ import annotations

import itertools
import re

import pytest

from mnedge.devices import _boards
from mnedge.errors import InputError


@pytest.mark.parametrize(("alias", "core"), [*_boards.ALIASES.items(), *((core, core) for core in _boards.BOARDS)])
def test_an_alias_names_the_board_of_its_core(alias: str, core: str) -> None:
    assert _boards.board(alias) is _boards.BOARDS[core]


def test_an_unknown_core_is_told_what_there_is() -> None:
    with pytest.raises(InputError, match=r"cortex-m5.*cortex-m4"):
        _boards.board("cortex-m5")


@pytest.mark.parametrize("core", _boards.BOARDS)
def test_the_regions_of_a_board_lie_apart(core: str) -> None:
    board = _boards.BOARDS[core]
    regions = sorted([(board.code_origin, board.code_bytes), board.const, board.ram])
    for (origin, size), (following, _) in itertools.pairwise(regions):
        assert origin + size <= following


def test_missing_tools_are_those_that_are_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert _boards.missing_tools("m4") == ["arm-none-eabi-gcc", "qemu-system-arm"]
    assert _boards.missing_tools("esp32-c3") == ["riscv64-unknown-elf-gcc", "qemu-system-riscv32"]
    assert re.search("apt-get install .*gcc-riscv64", _boards.board("rv32imc").tools.advice)
