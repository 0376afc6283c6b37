"""Ends of the program, in process: what an unforeseen error is, and an output whose reader or disk is gone."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mnedge.cli import _endings
from mnedge.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_is_told_as_one_wherever_it_was_met() -> None:
    code, said = _endings.unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), [])
    assert (code, said) == (74, "/data/x cannot be written: No space left on device; free some space there")
    assert "set TMPDIR" in _endings.unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), [])[1]
    code, said = _endings.unexpected(OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "x" * 300), [])
    assert code == 2
    assert said.endswith("File name too long; give it a shorter name")


def test_ctrl_c_inside_a_library_is_ctrl_c() -> None:
    error = RuntimeError("wrapped")
    error.__cause__ = ValueError("again")
    error.__cause__.__context__ = KeyboardInterrupt()
    assert _endings.unexpected(error, []) == (130, "interrupted")
    # A ring of causes ends.
    error.__cause__.__context__ = error
    assert _endings.unexpected(error, ["cost"])[0] == 70


def test_a_bug_names_a_file_with_command_versions_and_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said = _endings.unexpected(KeyError("lost"), ["cost", "--variant", "a b"])
    assert code == 70
    assert said.startswith("this is a bug in mnedge, not in what you gave it: KeyError: 'lost'")
    (path,) = tmp_path.iterdir()
    assert str(path) in said
    text = path.read_text()
    assert "command: mnedge cost --variant 'a b'\n" in text
    assert re.search(r"^versions: mnedge \d", text, re.MULTILINE)
    assert text.rstrip().endswith("KeyError: 'lost'")


def test_a_bug_that_no_file_can_hold_is_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    _, said = _endings.unexpected(KeyError("lost"), ["cost"])
    assert "command: mnedge cost" in said
    assert said.endswith("Report the lines above, with the input where you can.")


def test_text_is_dropped_once_its_reader_has_left() -> None:
    reading, writing = os.pipe()
    stream = _endings._Stream(writing)
    assert stream.write(b"seen") == 4
    os.close(reading)
    assert stream.write(b"dropped") == 7
    assert stream.write(b"dropped") == 7
    os.close(writing)


def test_what_is_shown_holds_nothing_that_a_terminal_obeys() -> None:
    reading, writing = os.pipe()
    shown = _endings._Shown(
        io.BufferedWriter(_endings._Stream(writing)), encoding="utf-8", errors="strict", line_buffering=False
    )
    shown.write("a\x1b[2Jb\n")
    shown.flush()
    assert b"\x1b" not in os.read(reading, 100)
    os.close(reading)
    os.close(writing)


def test_the_last_of_the_output_that_cannot_be_written_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise StorageError("standard output cannot be written: no space")

    assert _endings.flushed(0) == 0
    monkeypatch.setattr("sys.stdout", Full())
    assert (_endings.flushed(0), _endings.flushed(3)) == (74, 3)
    assert "mnedge: standard output cannot be written" in capsys.readouterr().err


def test_a_signal_that_comes_twice_within_two_seconds_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_endings, "_RECEIVED", [])
    with pytest.raises(_endings.Terminated) as caught:
        _endings._receive(15, None)
    assert caught.value.exit_code == 143
    assert str(_endings.received()) == "SIGTERM"
    _endings._receive(15, None)


_IN_A_FINALIZER = """
import os, signal, sys, time
from mnedge.cli import _endings

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

_endings.catch_signals()
try:
    Finalized()
    time.sleep(20)
except KeyboardInterrupt as exc:
    print(type(exc).__name__)
"""


@pytest.mark.parametrize(("name", "caught"), [("SIGTERM", "Terminated"), ("SIGINT", "KeyboardInterrupt")])
def test_a_signal_that_meets_a_finalizer_is_not_lost(name: str, caught: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_FINALIZER.format(name=name)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == (caught, "", 0)
