import errno
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mnedge import command
from mnedge.errors import StorageError, ToolError


def test_collects_output_and_status() -> None:
    done = command.run(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"], check=False
    )
    assert (done.returncode, done.text.strip(), done.last_words) == (3, "out", "err")


def test_a_failure_carries_the_last_words() -> None:
    with pytest.raises(ToolError, match=r"status 3: no board"):
        command.run([sys.executable, "-c", "import sys; sys.exit(print('no board', file=sys.stderr) or 3)"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_program_that_finds_no_room_is_a_full_disk(number: int) -> None:
    script = f"import os, sys; print('ld: x:', os.strerror({number})); print('failed', file=sys.stderr); sys.exit(1)"
    with pytest.raises(StorageError, match=r"found no room on a disk: ld: x: .*; free some space .*TMPDIR"):
        command.run([sys.executable, "-c", script])
    done = command.run([sys.executable, "-c", script], check=False)
    with pytest.raises(StorageError):
        command.check_room(done)
    # What a program says on its way to a good end is no failure.
    command.check_room(replace(done, returncode=0))


def test_programs_say_in_english_what_their_caller_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de:fr")
    script = "import os; print(os.environ['LANGUAGE'], os.environ.get('TOLD'))"
    assert command.run([sys.executable, "-c", script], env={"TOLD": "x"}).text.split() == ["en", "x"]


def test_a_missing_program_says_how_to_get_it() -> None:
    with pytest.raises(ToolError, match="not found"):
        command.run(["no-such-program-here"])
    with pytest.raises(ToolError, match="apt-get install it"):
        command.find("no-such-program-here", "apt-get install it")


def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(ToolError, match="stopped after"):
        command.run([sys.executable, "-c", script], timeout_s=5)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the grandchild still runs")


def test_another_thread_can_stop_a_program() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(ToolError, match="interrupted"):
        command.run([sys.executable, "-c", "import time; time.sleep(60)"], stop=stop)
    assert time.monotonic() - begin < 20
    timer.join()


def test_a_long_input_arrives_whole_while_stop_is_watched() -> None:
    echo = "import sys, time; time.sleep(1); sys.stdout.buffer.write(sys.stdin.buffer.read())"
    data = bytes(range(256)) * 8192
    assert command.run([sys.executable, "-c", echo], stdin=data, timeout_s=60, stop=threading.Event()).stdout == data


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_program_that_prints_without_an_end_is_stopped(descriptor: int) -> None:
    begin = time.monotonic()
    with pytest.raises(ToolError, match="printed more than 4 MiB, without an end"):
        command.run(["sh", "-c", f"yes >&{descriptor}"], timeout_s=60, most_bytes=4 << 20)
    assert time.monotonic() - begin < 30


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert command.run(["true"], stdin=bytes(4 << 20), timeout_s=60).returncode == 0


def test_the_last_words_of_a_process_that_goes_on_are_not_waited_for() -> None:
    process = command.start(["sh", "-c", "echo nothing works >&2; (sleep 60) & exec sleep 60"])
    time.sleep(0.5)
    begin = time.monotonic()
    assert command.last_words(process) == "nothing works"
    assert time.monotonic() - begin < 10
    command.kill(process)


def test_a_gentle_end_lets_a_process_clean_up_and_kills_one_that_does_not_listen(tmp_path: Path) -> None:
    cleans = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        "try:\n    mark.touch()\n    time.sleep(60)\nfinally:\n    mark.unlink()"
    )
    deaf = (
        "import pathlib, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\ntime.sleep(60)"
    )
    marks = [tmp_path / "cleans", tmp_path / "deaf"]
    processes = [
        command.start([sys.executable, "-c", script, mark]) for script, mark in zip((cleans, deaf), marks, strict=True)
    ]
    end = time.monotonic() + 30
    while not all(mark.exists() for mark in marks) and time.monotonic() < end:
        time.sleep(0.02)
    command.end_gently(processes, 2.0)
    assert [process.returncode for process in processes] == [7, -9]
    assert [mark.exists() for mark in marks] == [False, True]
    for process in processes:
        command.kill(process)


def test_an_interrupted_program_may_remove_its_files(tmp_path: Path) -> None:
    # As gcc does, whose assembler files a SIGTERM of `mnedge compile` left in the temporary folder.
    left = tmp_path / "cc1.s"
    script = f"trap 'rm {left}; exit 1' TERM; touch {left}; while true; do sleep 0.05; done"

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    def tell() -> None:
        while not left.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=tell, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            command.run(["sh", "-c", script])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not left.exists()
