import gzip
import io
import tarfile
from pathlib import Path

import pytest

from mnedge.bundles._archive import tar_gz_bytes


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


def test_source_date_epoch_dates_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with tarfile.open(fileobj=io.BytesIO(tar_gz_bytes(tmp_path, "t"))) as archive:
        assert archive.getmember("t/a").mtime == 1700000000
