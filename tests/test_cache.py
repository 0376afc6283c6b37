import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnedge import cache
from mnedge.errors import InputError


def _make(text: str, calls: list[str]):  # noqa: ANN202 - a closure for stage()
    def make(folder: Path) -> None:
        calls.append(text)
        (folder / "out.txt").write_text(text)

    return make


@pytest.mark.usefixtures("private_cache")
def test_made_once_per_key() -> None:
    calls: list[str] = []
    first = cache.stage("s", {"a": 1}, _make("one", calls))
    assert cache.stage("s", {"a": 1}, _make("one", calls)) == first
    assert cache.stage("s", {"a": 2}, _make("two", calls)) != first
    assert calls == ["one", "two"]
    assert (first / "out.txt").read_text() == "one"


@pytest.mark.usefixtures("private_cache")
def test_a_corrupted_entry_is_made_again() -> None:
    calls: list[str] = []
    entry = cache.stage("s", {}, _make("good", calls))
    (entry / "out.txt").write_text("evil")
    assert (cache.stage("s", {}, _make("good", calls)) / "out.txt").read_text() == "good"
    (entry / "entry.json").write_text("{")
    cache.stage("s", {}, _make("good", calls))
    assert calls == ["good"] * 3


def test_a_failed_stage_leaves_nothing(private_cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.stage("s", {}, make)
    assert list(private_cache.iterdir()) == []


def test_a_killed_stage_is_never_seen(private_cache: Path) -> None:
    code = (
        "from mnedge import cache; import time\n"
        "def make(folder):\n (folder / 'half').write_text('x'); print('in', flush=True); time.sleep(60)\n"
        "cache.stage('s', {}, make)"
    )
    environment = {**os.environ, "MNEDGE_CACHE": str(private_cache)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert cache.entries() == []
    calls: list[str] = []
    assert (cache.stage("s", {}, _make("whole", calls)) / "out.txt").read_text() == "whole"
    cache.prune()
    assert list(private_cache.iterdir()) == []


@pytest.mark.usefixtures("private_cache")
def test_prune_keeps_what_was_used_last() -> None:
    calls: list[str] = []
    old = cache.stage("s", {"n": 1}, _make("x" * 1000, calls))
    new = cache.stage("s", {"n": 2}, _make("x" * 1000, calls))
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert [entry.path for entry in cache.entries()] == [new, old]
    assert cache.prune(keep_bytes=cache.entries()[0].size_bytes) > 0
    assert [entry.path for entry in cache.entries()] == [new]


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="MNEDGE_CACHE"):
        cache.stage("s", {}, _make("x", []))


def test_parts_of_unfinished_work_are_kept_until_it_is_whole(private_cache: Path) -> None:
    work = cache.resumable("parts", {"model": "a"})
    cache.keep(work, b"in", b"out")
    assert cache.recall(work, b"in") == b"out"
    assert cache.recall(work, b"other") is None
    assert cache.recall(cache.resumable("parts", {"model": "b"}), b"in") is None
    assert [entry.stage for entry in cache.entries()] == ["parts"]
    (file,) = work.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert cache.recall(work, b"in") is None
    cache.forget(work)
    assert list(private_cache.iterdir()) == []


def test_work_goes_on_where_its_parts_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "file"))
    work = cache.resumable("parts", {})
    for inputs in (b"one", b"two"):
        cache.keep(work, inputs, b"out")
        assert cache.recall(work, inputs) is None
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        f"the cache {tmp_path / 'file'} cannot be written"
    ]
