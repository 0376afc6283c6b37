import hashlib
import json
from pathlib import Path

import pytest

from mnedge import artifact, files
from mnedge.errors import InputError
from mnedge.record import Record, checksum_of, entries, read_record, strangers


def test_the_record_is_the_same_bytes_and_names_no_machine(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with artifact.folder(tmp_path / name, kind="bundle") as scratch:
            (scratch / "sub").mkdir()
            (scratch / "sub" / "c").write_text("3")
            (scratch / "a").write_text("1")
    records = [(tmp_path / name / files.RECORD).read_text() for name in ("one", "two")]
    assert records[0] == records[1]
    assert json.loads(records[0])["folder"]["sub/c"] == hashlib.sha256(b"3").hexdigest()
    assert str(tmp_path) not in records[0]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"mnedge": 1, "files": []}', '{"mnedge": 1, "kind": 3}', "[" * 100000]
)
def test_a_damaged_record_proves_nothing(tmp_path: Path, text: str) -> None:
    artifact.deliver(tmp_path / "a", "1")
    (tmp_path / files.RECORD).write_text(text)
    with pytest.raises(InputError, match="did not write it"):
        artifact.deliver(tmp_path / "a", "2")


def test_entries_are_files_links_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    (tmp_path / "sub" / "a").write_text("1")
    (tmp_path / "link").symlink_to("/etc")
    assert list(entries(tmp_path)) == ["link", "sub/a", "sub/empty/"]
    assert [checksum_of(tmp_path / name) for name in entries(tmp_path)] == [None, hashlib.sha256(b"1").hexdigest(), ""]


def test_strangers_are_told_with_why_they_are(tmp_path: Path) -> None:
    for name in ("mine", "edited", "theirs"):
        (tmp_path / name).write_text(name)
    known = {name: files.sha256(tmp_path / name) for name in ("mine", "edited")}
    (tmp_path / files.RECORD).write_text(Record(kind="build", folder=known).text)
    (tmp_path / "edited").write_text("by hand")
    assert read_record(tmp_path).owns("mine", tmp_path / "mine")
    assert dict(strangers(tmp_path, "build")) == {
        "edited": "wrote, but which was changed since",
        "theirs": "did not write",
    }
    assert dict(strangers(tmp_path, "bundle"))["mine"] == "wrote as part of a build"
