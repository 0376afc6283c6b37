"""What stands on stdout and stderr where there is no terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnedge.cli import main
from mnedge.cli._output import print_json, print_table, progress, say
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def test_a_table_neither_colours_nor_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Title", ("name", ">count"), [("a" * 60, 12), ("b", None)])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "a" * 60 in printed
    lines = [line.strip() for line in printed.splitlines()]
    assert lines[0] == "Title"
    assert next(line for line in lines if line.startswith("b")).endswith("–")
    assert next(line for line in lines if line.startswith("aaa")).endswith(" 12")


def test_a_title_wider_than_its_table_stays_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    title = "/a/path/that/is/wider/than/the/table [cache]: 2 entries"
    print_table(title, ("n",), [(1,)])
    assert capsys.readouterr().out.splitlines()[0] == title


def test_a_line_is_one_line_whatever_is_in_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    say("net\nok: 100 %.tflite\x1b[2J holds\u2028it")
    assert capsys.readouterr().out == "net\\nok: 100 %.tflite\\x1b[2J holds\\u2028it\n"


def test_commands_print_names_through_that(
    tmp_path: Path, small_int8: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\nverified"
    folder.mkdir()
    (folder / "m.tflite").write_bytes(write_tflite(small_int8))
    for arguments in (
        ("inspect", folder / "m.tflite"),
        ("optimize", folder / "m.tflite", "-o", folder / "o.tflite", "--no-measure"),
        ("compile", folder / "m.tflite", "--target", "generic", "--out", folder / "c"),
    ):
        with pytest.raises(SystemExit, match="0"):
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr().out
        assert "a\\nverified" in printed
        assert not [found for found in printed.splitlines() if found.startswith("verified")]


def test_json_takes_paths(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a/b")})
    assert json.loads(capsys.readouterr().out) == {"path": str(Path("a/b"))}


def test_progress_is_one_line_a_stage_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as told:
        for stage in ("one", "two"):
            for share in (0.0, 0.5, 1.0, 1.0):
                told(stage, share)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(":")[0] for line in printed.err.splitlines()] == ["one", "two"]
