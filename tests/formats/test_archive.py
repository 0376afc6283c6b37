import io
import zipfile

import pytest

from mnedge.errors import InputError
from mnedge.formats.archive import read_associated, read_member, zip_bytes


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


def test_source_date_epoch_dates_a_zip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with zipfile.ZipFile(io.BytesIO(zip_bytes({"a": b""}))) as archive:
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        zip_bytes({})


def test_a_member_is_read_up_to_its_limit() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"0" * 10_000_000)
    with zipfile.ZipFile(buffer) as archive:
        assert len(read_member(archive, "config.json", 10_000_000, "m.keras")) == 10_000_000
        with pytest.raises(InputError, match=r"config.json in m.keras is larger than 9,999,999 bytes"):
            read_member(archive, "config.json", 9_999_999, "m.keras")
        with pytest.raises(InputError, match=r"m.keras holds no metadata.json"):
            read_member(archive, "metadata.json", 1, "m.keras")


def test_associated_files_are_read_and_bounded() -> None:
    data = zip_bytes({"labels.txt": b"cat\n", "more/vocabulary.txt": b"a"}, behind=b"TFL3 model")
    assert read_associated(data, "m") == {"labels.txt": b"cat\n", "more/vocabulary.txt": b"a"}
    assert read_associated(b"weights PK\x05\x06 in the middle of a model that carries no ZIP", "m") == {}
    many = zip_bytes({f"{number}": b"" for number in range(65)}, behind=b"TFL3 model")
    with pytest.raises(InputError, match="m carries 65 associated files; at most 64 are read"):
        read_associated(many, "m")
    with pytest.raises(InputError, match="m are cut short or damaged"):
        read_associated(data.replace(b"PK\x01\x02", b"PKxx"), "m")
    with pytest.raises(InputError, match=r"labels.txt in m is cut short or damaged"):
        read_associated(data.replace(b"cat\n", b"dog\n"), "m")
