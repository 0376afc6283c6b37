import hashlib
import os
import time
from pathlib import Path

import pytest

from mnedge import artifact
from mnedge.errors import InputError


def test_write_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    artifact.write_bytes(path, b"abc")
    assert path.read_bytes() == b"abc"
    assert list(path.parent.iterdir()) == [path]
    assert artifact.sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        artifact.write_bytes(tmp_path / "file" / "a.bin", b"abc")


def test_folder_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    place = tmp_path / "out"

    def interrupted() -> None:
        with artifact.folder(place) as scratch:
            (scratch / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with artifact.folder(place) as scratch:
        (scratch / "whole").write_text("1")
    with artifact.folder(place) as scratch:
        (scratch / "new").write_text("2")
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("1")

    def failing() -> None:
        with artifact.folder(tmp_path / "out"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert (tmp_path / "out" / "old").read_text() == "1"


def test_folder_checksum_sees_names_and_contents(tmp_path: Path) -> None:
    for name, file, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    sums = [artifact.sha256(tmp_path / name) for name in "abcd"]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3


def test_row_has_the_fields_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "m.int8.tflite"
    path.write_bytes(b"1234")
    row = artifact.Artifact(path, "tflite", "int8", "int8", "cpu").row()
    assert row == {
        "path": "m.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
        "bytes": 4, "sha256": artifact.sha256(path),
    }  # fmt: skip


def test_folders_that_replace_each_other_at_once_are_whole(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    place = tmp_path / "out"

    def put(number: int) -> None:
        with artifact.folder(place) as scratch:
            for name in "abc":
                (scratch / name).write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(200)))
    assert len({path.read_text() for path in place.iterdir()}) == 1
    assert sorted(path.name for path in place.iterdir()) == ["a", "b", "c"]
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_program_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    old_file, old_folder, young = tmp_path / ".a.bin.x1", tmp_path / ".out.x2", tmp_path / ".a.bin.x3"
    old_file.write_text("half")
    old_folder.mkdir()
    (old_folder / "half").write_text("")
    young.write_text("under way")
    for path in (old_file, old_folder):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    artifact.write_bytes(tmp_path / "a.bin", b"1")
    with artifact.folder(tmp_path / "out"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "out", ".a.bin.x3"}
