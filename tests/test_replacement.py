"""A finished folder in the place of an older one: whole where that is mnedge's, file by file where it is asked for."""

from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.files import RECORD, sha256
from mnedge.record import Record, read_record
from mnedge.replacement import is_fixed, occupied, take_place


def _made(folder: Path, **files: str) -> Path:
    """A folder of text files with its record, as `artifact.folder` hands it over."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    sums = {name: sha256(folder / name) for name in files}
    (folder / RECORD).write_text(Record(kind="build", folder=sums).text)
    return folder


def _put(scratch: Path, place: Path, *, force: bool = False) -> None:
    take_place(scratch, place, place, kind="build", force=force)


def test_an_older_folder_of_mnedges_goes_whole(tmp_path: Path) -> None:
    place = _made(tmp_path / "out", old="1", both="1")
    _put(_made(tmp_path / "new", both="2"), place)
    assert {path.name: path.read_text() for path in place.iterdir() if path.name != RECORD} == {"both": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_not_mnedges_stops_it_or_stays_beside(tmp_path: Path) -> None:
    place = _made(tmp_path / "out", old="1")
    (place / "mine").write_text("mine")
    with pytest.raises(InputError, match="out holds mine, which mnedge did not write, so the folder is not replaced"):
        _put(_made(tmp_path / "new", fresh="2"), place)
    assert (place / "old").read_text() == "1"
    _put(tmp_path / "new", place, force=True)
    found = {path.name: path.read_text() for path in place.iterdir() if path.name != RECORD}
    assert found == {"fresh": "2", "mine": "mine"}
    assert read_record(place).folder.keys() == {"fresh"}


def test_the_folder_that_one_stands_in_is_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not is_fixed(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert is_fixed(tmp_path / "a")
    assert is_fixed(Path("/proc"))


def test_the_error_says_how_to_go_on(tmp_path: Path) -> None:
    assert "or give --force to write into it" in str(occupied(tmp_path, "a", "did not write"))
