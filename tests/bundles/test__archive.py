import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from mnedge.bundles._archive import tar_gz_bytes, zip_bytes
from mnedge.errors import InputError


def test_a_zip_is_sorted_stored_and_dated() -> None:
    data = zip_bytes({"b/two": b"22", "a": b"1" * 1000})
    assert data == zip_bytes({"a": b"1" * 1000, "b/two": b"22"})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a", "b/two"]
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644


def test_a_zip_behind_other_bytes_leaves_them_alone() -> None:
    data = zip_bytes({"labels.txt": b"cat\n"}, behind=b"TFL3 model")
    assert data.startswith(b"TFL3 model")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("labels.txt") == b"cat\n"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200_000])
def test_a_tar_gz_is_what_gzip_and_tar_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model").write_bytes(bytes(index % 251 for index in range(size)))
    (tmp_path / "run").write_bytes(b"#!/bin/sh\n")
    data = tar_gz_bytes(tmp_path, "top")
    gzip.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == ["top/run", "top/x/model"]
        assert [member.mode for member in members] == [0o755, 0o644]
        assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 315532800)}
        stream = archive.extractfile("top/x/model")
        assert stream is not None
        assert stream.read() == (tmp_path / "x" / "model").read_bytes()


def test_source_date_epoch_dates_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with zipfile.ZipFile(io.BytesIO(zip_bytes({"a": b""}))) as archive:
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)
    with tarfile.open(fileobj=io.BytesIO(tar_gz_bytes(tmp_path, "t"))) as archive:
        assert archive.getmember("t/a").mtime == 1700000000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        zip_bytes({})
