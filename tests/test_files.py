import hashlib
import os
import subprocess
import time
from pathlib import Path

from mnedge import files


def test_write_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    files.write_bytes(path, b"abc")
    assert path.read_bytes() == b"abc"
    assert list(path.parent.iterdir()) == [path]
    assert files.sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_folder_checksum_sees_names_and_contents(tmp_path: Path) -> None:
    for name, file, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    sums = [files.sha256(tmp_path / name) for name in "abcd"]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3


def test_sizes_and_checksums_leave_the_record_out(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "abc")
    before = files.sha256(tmp_path)
    files.write_text(tmp_path / files.RECORD, "{}")
    assert files.files_of(tmp_path) == [tmp_path / "a"]
    assert files.size_bytes(tmp_path) == files.size_bytes(tmp_path / "a") == 3
    assert files.sha256(tmp_path) == before


def test_a_scratch_name_is_known_and_no_longer_than_a_name_may_be(tmp_path: Path) -> None:
    for name in ("a.bin", "ä" * 127):
        scratch = files.temporary(tmp_path / name)
        scratch.write_text("half")
        assert files.is_scratch(scratch.name)
        assert not files.is_scratch(name)


def test_only_old_scratch_files_of_the_same_name_are_left_over(tmp_path: Path) -> None:
    old, young, other = (files.temporary(tmp_path / name) for name in ("a", "a", "b"))
    for path in (old, young, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert list(files.leftovers(tmp_path / "a")) == [old]
    files.write_bytes(tmp_path / "a", b"1")
    assert set(tmp_path.iterdir()) == {tmp_path / "a", young, other}


def test_a_folder_of_its_own_removes_those_of_processes_that_are_no_more(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = f"mnedge-thing-{ended.pid}"
    kept = {f"mnedge-thing-{os.getpid()}-abcdefgh", f"{gone}-mine", f"{gone}-my_notes", "mnedge-other-1-abcdefgh"}
    for name in (f"{gone}-abcdefgh", *kept):
        (tmp_path / name).mkdir(0o755 if "notes" in name else 0o700)
    (tmp_path / f"{gone}-symlink_").symlink_to(tmp_path / f"{gone}-mine")
    kept.add(f"{gone}-symlink_")
    made = files.own_folder("thing", tmp_path)
    assert made.name.startswith(f"mnedge-thing-{os.getpid()}-")
    assert {path.name for path in tmp_path.iterdir()} == {made.name, *kept}
