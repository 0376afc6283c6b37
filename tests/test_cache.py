import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mnedge import cache
from mnedge.errors import InputError, StorageError


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
def test_a_folder_without_the_record_of_an_entry_stays_and_the_result_is_made_beside_it(
    record: bytes, emptied: bool
) -> None:
    calls: list[str] = []
    entry = cache.stage("s", {}, _make("good", calls))
    (entry / "entry.json").write_bytes(record)
    if emptied:
        (entry / "out.txt").unlink()
    for _ in range(2):
        assert (cache.stage("s", {}, _make("good", calls)) / "out.txt").read_text() == "good"
    assert calls == ["good"] * 2
    # It may be a folder of the user's: only what carries name and record may go.
    assert (entry / "entry.json").read_bytes() == record
    assert emptied or (entry / "out.txt").read_text() == "good"


@pytest.mark.usefixtures("private_cache")
def test_folders_of_others_under_both_names_stay_too(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    for _ in range(2):
        entry = cache.stage("s", {}, _make("good", calls))
        shutil.rmtree(entry)
        entry.mkdir()
        (entry / "thesis.txt").write_text("years of work")
    for _ in range(2):
        found = cache.stage("s", {}, _make("good", calls))
        assert (found / "out.txt").read_text() == "good"
    assert calls == ["good"] * 3
    assert [path.read_text() for path in cache.root().rglob("thesis.txt")] == ["years of work"] * 2
    assert "is left alone" in caplog.text
    shutil.rmtree(found)


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


def _record_is_pipe(entry: Path) -> None:
    (entry / "entry.json").unlink()
    os.mkfifo(entry / "entry.json")


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize(
    "damage", [_file, _link, _record_is_pipe, _file_is_folder, _file_is_pipe, _file_is_link, _one_more]
)
def test_an_entry_of_another_kind_is_made_again(damage: Callable[[Path], None]) -> None:
    calls: list[str] = []
    entry = cache.stage("s", {}, _make("good", calls))
    damage(entry)
    provable = damage not in (_file, _link, _record_is_pipe)
    again = cache.stage("s", {}, _make("good", calls))
    assert (again / "out.txt").read_text() == "good"
    assert calls == ["good"] * 2
    assert not again.is_symlink()
    assert not (again / "out.txt").is_symlink()
    # What may be somebody else's is still there.
    assert (again == entry) == provable
    assert os.path.lexists(entry)


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


def test_prune_takes_only_what_is_proven_to_be_the_caches(private_cache: Path) -> None:
    entry = cache.stage("s", {}, _make("x", []))
    cache.keep(cache.resumable("work", {}), b"in", b"out")
    theirs = {
        "Documents/thesis.txt": "years of work",
        f"photos-{'0' * 32}/cat.jpg": "no record",
        f"backup-{'1' * 32}/entry.json": '{"stage": "other", "files": {}}',
        f"json-{'2' * 32}/entry.json": "[]",
        "short-0123/entry.json": '{"stage": "short", "files": {}}',
        ".making-tea/recipe.txt": "a folder of the user's",
        ".summary.mnedge-tmp-notes/a": "not the mark",
    }
    for name, text in theirs.items():
        (private_cache / name).parent.mkdir()
        (private_cache / name).write_text(text)
    (private_cache / f"link-{'3' * 32}").symlink_to(entry)
    assert {found.stage for found in cache.entries()} == {"s", "work"}
    assert cache.prune() > 0
    kept = {path.relative_to(private_cache).as_posix() for path in private_cache.rglob("*") if path.is_file()}
    assert kept == theirs.keys()


def _damaged(entry: Path, rng: np.random.Generator) -> None:
    """One of the files of an entry changed, cut, or put in another's place."""
    files = sorted(path for path in entry.rglob("*") if path.is_file())
    path = files[int(rng.integers(len(files)))]
    data = bytearray(path.read_bytes() or b"?")
    way = int(rng.integers(6))
    if way == 0:
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif way == 1:
        del data[int(rng.integers(len(data))) :]
    elif way == 2:
        start = int(rng.integers(len(data)))
        data[start : start + int(rng.integers(1, 9))] = bytes(rng.integers(0, 256, int(rng.integers(9)), np.uint8))
    elif way == 3:
        words = (b"null", b"[]", b"{}", b"-1", b"1e999", b'"../x"', b'"stage"', b'{"out.txt": null}')
        for _ in range(2):
            parts = bytes(data).split(b'"')
            parts[int(rng.integers(len(parts)))] = words[int(rng.integers(len(words)))]
            data = bytearray(b'"'.join(parts))
    elif way == 4:
        data = bytearray(files[int(rng.integers(len(files)))].read_bytes())
    else:
        path.unlink()
        return
    path.write_bytes(data)


def test_a_damaged_entry_breaks_no_later_build(private_cache: Path, request: pytest.FixtureRequest) -> None:
    rng = np.random.default_rng(15)

    def make(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "out.txt").write_text("good")
        (folder / "deep" / "more.bin").write_bytes(bytes(range(64)))

    for number in range(request.config.getoption("--fuzz") // 3):
        entry = cache.stage("s", {"n": number}, make)
        for _ in range(int(rng.integers(1, 3))):
            _damaged(entry, rng)
        for _ in range(2):
            found = cache.stage("s", {"n": number}, make)
            assert (found / "out.txt").read_text() == "good"
            assert (found / "deep" / "more.bin").read_bytes() == bytes(range(64))
        cache.entries()
        cache.prune()
        # Of what is not provably the cache's nothing is removed, and so it stays in the way of nothing.
        assert all(cache._record(path) is None for path in private_cache.iterdir())
        shutil.rmtree(private_cache)


def test_a_damaged_part_of_unfinished_work_is_none(private_cache: Path) -> None:
    work = cache.resumable("parts", {})
    cache.keep(work, b"in", b"out")
    (part,) = (path for path in work.iterdir() if path.name != "entry.json")
    part.unlink()
    os.mkfifo(part)
    assert cache.recall(work, b"in") is None
    part.unlink()
    part.mkdir()
    assert cache.recall(work, b"in") is None
    assert private_cache.is_dir()


@pytest.fixture
def read_only(private_cache: Path) -> Iterator[Path]:
    """A cache with one entry, as it is baked into an image: root itself may not write to it."""
    cache.stage("s", {"n": 1}, _make("baked", []))
    if subprocess.run(["mount", "--bind", "-o", "ro", private_cache, private_cache], check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield private_cache
    subprocess.run(["umount", "-l", private_cache], check=True)


def test_a_cache_that_may_only_be_read_gives_what_it_has(read_only: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    assert cache.stage("s", {"n": 1}, _make("never", calls)).parent == read_only
    made = cache.stage("s", {"n": 2}, _make("fresh", calls))
    assert (made / "out.txt").read_text() == "fresh"
    assert cache.stage("s", {"n": 2}, _make("never", calls)) == made
    cache.keep(cache.resumable("parts", {}), b"in", b"out")
    assert calls == ["fresh"]
    assert f"the cache {read_only} may only be read" in caplog.text
    assert [entry.stage for entry in cache.entries()] == ["s"]


def test_a_stage_without_room_for_its_result_is_not_begun(private_cache: Path) -> None:
    calls: list[str] = []
    with pytest.raises(StorageError, match=r"No space left on device; free some space, or set (MNEDGE_CACHE|TMPDIR)"):
        cache.stage("s", {}, _make("x", calls), least_bytes=1 << 60)
    assert calls == []
    assert list(private_cache.iterdir()) == []
    cache.stage("s", {}, _make("x", calls))
    # What is there needs no room.
    cache.stage("s", {}, _make("x", calls), least_bytes=1 << 60)
    assert calls == ["x"]


def test_entries_are_as_readable_as_umask_says(private_cache: Path) -> None:
    old = os.umask(0o022)
    try:
        entry = cache.stage("s", {}, _make("x", []))
    finally:
        os.umask(old)
    assert entry.stat().st_mode & 0o777 == 0o755
    assert private_cache.stat().st_mode & 0o777 == 0o755


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNEDGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="MNEDGE_CACHE"):
        cache.stage("s", {}, _make("x", []))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a user without a name")
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nonexistent"}])
def test_a_user_without_a_home_has_a_cache_for_one_run(home: dict[str, str], tmp_path: Path) -> None:
    # As with `docker run --user 12345`: no entry in passwd, and nothing to write to but /tmp.
    script = """
from pathlib import Path
from mnedge import cache
def make(folder):
    (folder / "result").write_text("made")
first, second = (cache.stage("s", {"n": 1}, make) for _ in range(2))
assert first == second, (first, second)
print(first)
"""
    tmp_path.chmod(0o755)
    # Whatever may be read by root may be read, as the image's files may by all; what is written is this user's.
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    user += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(cache.__file__).parents[1]), **home}
    done = subprocess.run(
        [*user, sys.executable, "-B", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists(), "it goes with the run"
    assert done.stderr.count("cannot be made (MNEDGE_CACHE names another folder)") == 1


def test_parts_of_unfinished_work_are_kept_until_it_is_whole(private_cache: Path) -> None:
    work = cache.resumable("parts", {"model": "a"})
    cache.keep(work, b"in", b"out")
    assert cache.recall(work, b"in") == b"out"
    assert cache.recall(work, b"other") is None
    assert cache.recall(cache.resumable("parts", {"model": "b"}), b"in") is None
    assert [entry.stage for entry in cache.entries()] == ["parts"]
    (file,) = (path for path in work.iterdir() if path.name != "entry.json")
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
        f"the cache {tmp_path / 'file'} cannot be written (Not a directory)"
    ]
