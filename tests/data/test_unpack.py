"""Archives of data sets: what comes out, and what is refused."""

import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError


def _zip(path: Path, folder: Path, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def _folder(root: Path) -> Path:
    for index, name in enumerate(("cat", "dog")):
        for number in range(3):
            place = root / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (60 * index, 0, 0)).save(place)
    return root


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("top", ["", "photos/", "photos/photos/"])
def test_a_zip_is_the_folder_in_it(tmp_path: Path, top: str) -> None:
    folder = _folder(tmp_path / "d")
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    (folder / "__MACOSX" / "cat" / "._0.png").write_bytes(b"x")
    (folder / "cat" / "desktop.ini").write_text("x")
    found = open_dataset(str(_zip(tmp_path / "d.zip", folder, top)))
    assert found.classes == ("cat", "dog")
    assert len(found.sources) == 6
    assert found.read(5, 8)[0, 0, 0] == 60


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.png", "would be written outside"),
        ("/etc/evil.png", "would be written outside"),
        ("a/../../evil.png", "would be written outside"),
        ("C:\\evil.png", "would be written outside"),
        ("link.png", "is a link"),
        ("bomb.png", "grows from"),
        ("cat/0.png", "has two members"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnedge.data import unpack

    monkeypatch.setattr(unpack, "_SMALL_BYTES", 1 << 16)
    path = _zip(tmp_path / "d.zip", _folder(tmp_path / "d"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        if name == "link.png":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with pytest.warns(UserWarning, match="Duplicate name") if name == "cat/0.png" else _nothing():
            archive.writestr(info, bytes(1 << 22) if name == "bomb.png" else b"x")
    with pytest.raises(InputError, match=said):
        open_dataset(str(path))
    assert not (tmp_path / "evil.png").exists()


def _nothing():  # noqa: ANN202 - a context that expects no warning
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.usefixtures("private_cache")
def test_a_broken_zip(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "d.zip", _folder(tmp_path / "d")).read_bytes()
    for data in (b"PK", whole[: len(whole) // 2], whole[:100] + b"\xff" * 20 + whole[120:]):
        (tmp_path / "d.zip").write_bytes(data)
        with pytest.raises(InputError, match=r"no \.zip that can be unpacked"):
            open_dataset(str(tmp_path / "d.zip"))


@pytest.mark.usefixtures("private_cache")
def test_an_archive_alone_in_a_folder_or_an_archive_stands_for_it(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    inner = _zip(tmp_path / "downloads" / "inner.zip", _folder(tmp_path / "d"))
    outer = _zip(tmp_path / "outer.zip", inner.parent)
    for given in (inner.parent, outer):
        assert open_dataset(str(given)).classes == ("cat", "dog")
