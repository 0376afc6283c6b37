import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


_RECORDS = (
    b"", b"{}", b"[]", b"null", b"7", b'"files"', b'{"files": null}', b'{"files": {}}', b'{"files": []}',
    b'{"files": [1]}',
    b'{"files": {"out.txt": 1}}', b'{"files": {"../../etc/passwd": "0"}}', b'{"files": {"": "0"}}', b"\xff\xfe",
    b'{"files": {"a\\u0000b": "0"}}', b"[" * 100_000, b'{"files": ' + b"[" * 100_000, b"9" * 5000,
)  # fmt: skip


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("record", _RECORDS, ids=range(len(_RECORDS)))
@pytest.mark.parametrize("emptied", [False, True])
def test_an_entry_whose_record_is_damaged_is_made_again(record: bytes, emptied: bool) -> None:
    calls: list[str] = []
    entry = cache.stage("s", {}, _make("good", calls))
    (entry / "entry.json").write_bytes(record)
    if emptied:
        (entry / "out.txt").unlink()
    assert (cache.stage("s", {}, _make("good", calls)) / "out.txt").read_text() == "good"
    assert calls == ["good"] * 2


def _file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("no folder")


def _link(entry: Path) -> None:
    elsewhere = entry.with_name("elsewhere")
    entry.rename(elsewhere)
    (elsewhere / "out.txt").write_text("evil")
    entry.symlink_to(elsewhere)


def _file_is_folder(entry: Path) -> None:
    (entry / "out.txt").unlink()
    (entry / "out.txt").mkdir()


def _file_is_pipe(entry: Path) -> None:
    (entry / "out.txt").unlink()
    os.mkfifo(entry / "out.txt")


def _file_is_link(entry: Path) -> None:
    (entry / "out.txt").rename(entry.with_name("out.txt"))
    (entry / "out.txt").symlink_to(entry.with_name("out.txt"))


def _one_more(entry: Path) -> None:
    (entry / "more.txt").write_text("")


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("damage", [_file, _link, _file_is_folder, _file_is_pipe, _file_is_link, _one_more])
def test_an_entry_of_another_kind_is_made_again(damage: Callable[[Path], None]) -> None:
    calls: list[str] = []
    entry = cache.stage("s", {}, _make("good", calls))
    damage(entry)
    assert (cache.stage("s", {}, _make("good", calls)) / "out.txt").read_text() == "good"
    assert calls == ["good"] * 2
    assert not entry.is_symlink()
    assert not (entry / "out.txt").is_symlink()


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
