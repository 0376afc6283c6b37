"""The process that runs models: it answers, says how it ended, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from mnedge.errors import InputError, ToolError
from mnedge.runtimes._child import Child, DiedError


def test_a_process_that_does_not_start_is_no_models_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ToolError, match="the process for litert does not start: it ended with status 1"):
        Child().start("litert")


def test_an_error_of_its_own_is_raised_here_and_a_bug_with_its_traceback() -> None:
    child = Child()
    try:
        child.start("litert")
        absent = {"path": "absent.tflite", "model_bytes": None}
        with pytest.raises(InputError, match=r"absent\.tflite"):
            child.ask(60.0, do="open", runtime="litert", threads=1, options={}, **absent)
        with pytest.raises(RuntimeError, match=r"in a child process:\n(?s:.*)absent_function"):
            child.ask(60.0, do="call", module="_prefix", function="absent_function", arguments=[])
    finally:
        child.end()


@pytest.mark.parametrize(("number", "blames"), [(signal.SIGSEGV, True), (signal.SIGKILL, False)])
def test_the_signal_that_ended_it_says_whose_fault_it_is(number: signal.Signals, blames: bool) -> None:
    child = Child()
    pid = child._process.pid
    os.kill(pid, number)
    with pytest.raises(DiedError) as caught:
        child.ask(60.0, do="start", runtime="litert")
    assert caught.value.told() == f"was ended by {number.name}"
    assert caught.value.blames_model == blames
    assert not psutil.pid_exists(pid)
    assert not child.end.alive


def test_no_answer_in_time_ends_it() -> None:
    child = Child()
    os.kill(child._process.pid, signal.SIGSTOP)
    with pytest.raises(DiedError) as caught:
        child.ask(0.2, do="start", runtime="litert")
    assert caught.value.told() == "gave no answer in time"
    assert caught.value.blames_model
    assert not psutil.pid_exists(child._process.pid)
