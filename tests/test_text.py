"""Names of others never command a terminal, break a page or end a program."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mnedge.artifact import deliver
from mnedge.cli._output import print_json, print_table, progress
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.report.html import environment
from mnedge.report.junit import render_junit
from mnedge.report.markdown import render_markdown
from mnedge.report.terminal import print_report
from mnedge.results import shown
from mnedge.results.report import GateRow, Report, VariantRow
from mnedge.results.stored import from_json, to_json
from mnedge.text import line, message, plain

# A colour, a title, a bell, a line break of Unicode, a turn of the direction, markup of rich, a byte that is no UTF-8.
_HOSTILE = "conv[/b]x\x1b[31m\x1b]0;t\x07\u2028\u202e[red]\n\x85\x00\udcff<b>&\ufffe"
_CONTROLS = ("\x1b", "\x07", "\u2028", "\u202e", "\x85", "\x00", "\udcff", "\ufffe")


def _is_harmless(text: str) -> bool:
    return not any(control in text for control in _CONTROLS)


def test_lines_and_messages() -> None:
    assert line("a\tb\nc\x1b[0m") == "a\\tb\\nc\\x1b[0m"
    assert line("Čapek's façade, 猫, 🐈, a\u0301") == "Čapek's façade, 猫, 🐈, a\u0301"
    assert plain("a\nb\x9b") == "a\nb\\x9b"
    assert message("no file x\nmnedge: all is well") == "no file x\n  mnedge: all is well"
    assert _is_harmless(line(_HOSTILE))
    assert "\n" not in line(_HOSTILE)


@pytest.fixture
def hostile() -> Report:
    variant = VariantRow("v1", 0.25, 48, 10)
    return Report(slug=_HOSTILE, variant=variant, gates=(GateRow(_HOSTILE, 1.0, 0.5, passed=False),))


def test_reports_of_every_kind(hostile: Report, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_report(hostile)
    page = environment().from_string("{{ title }} {% for row in rows %}<i>{{ row }}</i>{% endfor %}")
    texts = [
        capsys.readouterr().out, render_markdown(hostile), render_junit(hostile),
        page.render(title=_HOSTILE, rows=[_HOSTILE]),
    ]  # fmt: skip
    for text in texts:
        assert _is_harmless(text)
        assert "conv" in text
    assert ET.fromstring(texts[2]).find("testcase") is not None  # noqa: S314 - our own XML
    assert "<b>" not in texts[3]
    assert "conv[/b]x" in texts[0]
    deliver(tmp_path / "x.html", f"{shown.table(_HOSTILE, (_HOSTILE,), [(_HOSTILE,)])}{shown.line(_HOSTILE)}")


def test_results_with_such_names_are_written_and_read_again(hostile: Report, tmp_path: Path) -> None:
    deliver(tmp_path / "report.json", to_json(hostile))
    again = from_json((tmp_path / "report.json").read_bytes(), Report, "it")
    # Bytes that are no UTF-8 cannot stand in JSON, and are shown instead; all else is as it was.
    assert again.slug == _HOSTILE.replace("\udcff", "\\udcff")


def test_tables_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(_HOSTILE, (_HOSTILE, f">{_HOSTILE}"), [(_HOSTILE, "model[int8].tflite"), ("[/]", None)])
    with progress() as told:
        told(_HOSTILE, 1.0)
    printed = capsys.readouterr()
    assert _is_harmless(printed.out)
    assert _is_harmless(printed.err)
    for kept in ("model[int8].tflite", "[/]", "conv[/b]x"):
        assert kept in printed.out


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": _HOSTILE, "also": "\x7f\x9b"})
    assert json.loads(plain(capsys.readouterr().out)) == {"name": _HOSTILE, "also": "\x7f\x9b"}


def _run(*arguments: str | bytes) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mnedge", *arguments], capture_output=True, timeout=300, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_model_of_such_names_in_a_file_of_such_a_name(tmp_path: Path) -> None:
    name = _HOSTILE.replace("\x00", "").replace("\udcff", "")
    tensors = [Tensor("x" + name, (1, 4), "float32"), Tensor("y" + name, (1, 4), "float32")]
    graph = Graph({tensor.name: tensor for tensor in tensors}, (Op("RELU", ("x" + name,), ("y" + name,)),),
                  ("x" + name,), ("y" + name,))  # fmt: skip
    path = tmp_path / "model[int8]\x1b[31m\n\u2028.tflite"
    path.write_bytes(write_tflite(graph))
    code, out, err = _run("inspect", str(path))
    assert (code, err) == (0, "")
    assert _is_harmless(out)
    assert "model[int8]" in out
    assert "conv[/b]x" in out
    code, out, _ = _run("inspect", "--json", str(path))
    assert (code, json.loads(out)["path"]) == (0, str(path))


def test_a_name_cannot_forge_a_line(tmp_path: Path) -> None:
    code, out, err = _run("inspect", f"{tmp_path}/x\nmnedge: all is well\x1b[2K.tflite")
    assert (code, out) == (2, "")
    assert err.splitlines()[1] == "  mnedge: all is well\\x1b[2K.tflite cannot be read: No such file or directory"
    code, out, err = _run("inspect", os.fsencode(tmp_path) + b"/x\xff.tflite")
    assert (code, out) == (2, "")
    assert "x\\udcff.tflite cannot be read" in err
    assert _run("insp\x1b[31mect")[0] == 2


def test_a_markdown_summary_keeps_its_cells(hostile: Report) -> None:
    gates = (replace(hostile.gates[0], name="a|b\nc\x1b"),)
    assert r"a\|b c\\x1b" in render_markdown(replace(hostile, gates=gates))


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        deliver(tmp_path / ("x" * 256), b"")
