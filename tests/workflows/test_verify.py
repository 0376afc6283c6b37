"""`verify`: finds every difference, opens nothing but regular files, and follows no link."""

import gzip
import io
import json
import os
import random
import socket
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mnedge.bundles._archive import archive_path
from mnedge.errors import InputError
from mnedge.files import files_of
from mnedge.report.write import CHECKSUMS
from mnedge.results.manifest import FileRow, Verified
from mnedge.results.stored import as_json
from mnedge.validation.locked import check_tools
from mnedge.workflows.bundle import bundle, read_build
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify


def test_verify_names_every_difference(small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    assert verify(out).files == len(files_of(out)) - 1
    (out / "labels.txt").write_text("wrong\n")
    (out / "model.json").unlink()
    (out / "extra").write_text("")
    with pytest.raises(InputError) as caught:
        verify(out)
    for said in ("labels.txt was changed", "model.json is missing", "extra does not belong"):
        assert said in str(caught.value)


def test_verify_reads_archives_without_unpacking(small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    whole = archive_path(out).read_bytes()
    for at in (5, len(whole) // 2, len(whole) - 3):
        archive_path(out).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if at == 5:
            continue  # the date, which gzip does not protect
        with pytest.raises(InputError):
            verify(archive_path(out))
    archive_path(out).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        verify(archive_path(out))
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("top/link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(InputError, match="no plain file"):
        verify(tmp_path / "evil.tar.gz")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"slug": 1, "files": []}', '{"slug": "x", "files": [{"path": 1}]}', "{"]
)
def test_a_damaged_manifest_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"is not a manifest\.json"):
        verify(tmp_path)


def test_a_manifest_that_points_outside(small_build: Path) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    for path in ("../../etc/passwd", "/etc/passwd"):
        manifest["artifacts"][0]["path"] = path
        (small_build / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match="outside"):
            verify(small_build)


@pytest.mark.parametrize("name", ["labels.txt", "report.json", "report.html", "manifest.json", "net.int8.tflite"])
def test_every_file_of_a_build_is_under_verify(small_build: Path, tmp_path: Path, name: str) -> None:
    assert verify(small_build) == Verified(str(small_build), "build", "net", 5)
    whole = (small_build / name).read_text(encoding="latin-1")
    (small_build / name).write_text(whole.replace("1.5", "0.5").replace("ant", "bee").replace("TFL3", "TFL4")
                                    .replace('"slug": "net"', '"slug": "yet"'), encoding="latin-1")  # fmt: skip
    for check in (lambda: verify(small_build), lambda: bundle(small_build, "android", tmp_path / "out", Release())):
        with pytest.raises(InputError, match=rf"{name} was changed".replace(".", r"\.")):
            check()
    (small_build / name).unlink()
    with pytest.raises(InputError, match=rf"{name} (is missing|cannot be read)".replace(".", r"\.")):
        verify(small_build)
    if name != "manifest.json":
        (small_build / name).symlink_to("/etc/passwd")
        with pytest.raises(InputError, match=rf"{name} is a symbolic link".replace(".", r"\.")):
            verify(small_build)


def test_a_build_without_its_record_is_not_whole(small_build: Path) -> None:
    (small_build / CHECKSUMS).unlink()
    with pytest.raises(InputError, match=r"checksums\.json cannot be read"):
        verify(small_build)
    (small_build / CHECKSUMS).write_text('{"schema": 1, "files": []}')
    with pytest.raises(InputError, match=r"checksums\.json .* is damaged: it lists not all reports"):
        verify(small_build)


def test_bundles_inside_a_build_are_checked_too(small_build: Path, seal_build: Callable[..., None]) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["recipe"]["bundles"] = ["raspberry-pi"]
    seal_build(small_build, manifest)
    bundle(small_build, "raspberry-pi", small_build / "bundles" / "raspberry-pi", Release())
    assert verify(small_build).files > 5
    (small_build / "bundles" / "raspberry-pi" / "labels.txt").write_text("wrong\n")
    with pytest.raises(InputError, match=r"labels\.txt was changed"):
        verify(small_build)


def test_a_pipe_in_a_bundle_is_not_opened(small_build: Path, tmp_path: Path) -> None:
    bundle(small_build, "raspberry-pi", tmp_path / "out", Release())
    os.mkfifo(tmp_path / "out" / "pipe")
    with pytest.raises(InputError, match="pipe does not belong"):
        verify(tmp_path / "out")
    os.mkfifo(tmp_path / "pipe.tar.gz")
    with pytest.raises(InputError, match=r"pipe\.tar\.gz .*: it is no regular file|\] it is no regular file"):
        verify(tmp_path / "pipe.tar.gz")


def _special(place: Path, kind: str, target: Path) -> None:
    """Puts something that is no regular file in a place."""
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            here = Path.cwd()
            # The name of a socket has at most 107 bytes.
            os.chdir(place.parent)
            try:
                listening.bind(place.name)
            finally:
                os.chdir(here)
    else:
        place.symlink_to(target if kind == "link" else "/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "link to a device"])
@pytest.mark.parametrize("name", ["manifest.json", CHECKSUMS, "labels.txt", "report.json", "net.int8.tflite"])
def test_nothing_but_regular_files_of_a_build_is_opened(
    small_build: Path, tmp_path: Path, name: str, kind: str
) -> None:
    target = (small_build / name).rename(tmp_path / "kept")
    _special(small_build / name, kind, target)
    for check in (
        lambda: verify(small_build), lambda: bundle(small_build, "android", tmp_path / "out", Release()),
        lambda: check_tools(small_build / "manifest.json") if name == "manifest.json" else verify(small_build),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            check()
        wanted = "is a symbolic link" if kind.startswith("link") else "is no regular file"
        assert f"{name} {wanted}" in str(caught.value) or f"{name} cannot be read: it {wanted}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "link to a device"])
def test_nothing_but_regular_files_of_a_bundle_is_opened(small_build: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    target = (out / "labels.txt").rename(tmp_path / "kept")
    _special(out / "labels.txt", kind, target)
    with pytest.raises(InputError, match=r"labels\.txt is (no regular file|a symbolic link)"):
        verify(out)


def test_a_folder_that_is_a_link_is_not_entered(
    small_build: Path, seal_build: Callable[..., None], tmp_path: Path
) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["recipe"]["bundles"] = ["raspberry-pi"]
    manifest["artifacts"].append({**manifest["artifacts"][0], "path": "c/net.tflite"})
    (small_build / "c").mkdir()
    (small_build / "c" / "net.tflite").write_bytes((small_build / "net.int8.tflite").read_bytes())
    seal_build(small_build, manifest)
    bundle(small_build, "raspberry-pi", small_build / "bundles" / "raspberry-pi", Release())
    verify(small_build)
    latest = tmp_path / "latest"
    latest.symlink_to(small_build)
    # What the user names may be a link; what lies below it may not.
    assert verify(latest).files == verify(small_build).files
    for name in ("c", "bundles"):
        (small_build / name).rename(tmp_path / name)
        (small_build / name).symlink_to(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}/\S+ is a symbolic link, or lies behind one"):
            verify(small_build)
        (small_build / name).unlink()
        (tmp_path / name).rename(small_build / name)


def _tar(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_an_archive_is_read_within_limits(small_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    with tarfile.open(archive_path(out)) as archive:
        entries = [(entry.name, archive.extractfile(entry).read()) for entry in archive]  # type: ignore[union-attr]
    top = entries[0][0].partition("/")[0]
    assert verify(_tar(tmp_path / "a.tar.gz", entries)).slug == "net"
    for name, said in ((entries[0][0], "is there twice"), (f"{top}/../../x", "leads out"), ("other/x", "one folder")):
        with pytest.raises(InputError, match=said):
            verify(_tar(tmp_path / "a.tar.gz", [*entries, (name, b"")]))
    monkeypatch.setattr("mnedge.workflows.verify._MANIFEST_BYTES", 100)
    with pytest.raises(InputError, match=r"manifest\.json of \S+ has more than 100 bytes"):
        verify(_tar(tmp_path / "a.tar.gz", entries))
    monkeypatch.setattr("mnedge.bundles._archive._LARGEST_BYTES", 5000)
    with pytest.raises(InputError, match="holds more than 5,000 bytes"):
        verify(_tar(tmp_path / "a.tar.gz", entries))
    with gzip.open(tmp_path / "a.tar.gz", "wb") as stream:
        stream.write(bytes(100_000))
    with pytest.raises(InputError, match="behind its end, or more than 5,000 bytes"):
        verify(tmp_path / "a.tar.gz")


def test_damaged_archives(small_build: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    whole = gzip.decompress(archive_path(out).read_bytes())
    for seed in range(request.config.getoption("--fuzz") // 3):
        chance = random.Random(seed)  # noqa: S311 - damage, not secrets
        data = bytearray(whole)
        # The first header, mostly, with a checksum that fits it: what is behind it would never be looked at else.
        at = chance.randrange(chance.choice((512, len(data))))
        data[at : at + 1] = chance.choice((b"", b"\xff", b"\0", b"L", b"x", b"7", b"\x80" + b"\0" * 10))
        data[148:156] = b"%06o\0 " % (256 + sum(data[:148]) + sum(data[156:512]))
        (tmp_path / "x.tar.gz").write_bytes(gzip.compress(bytes(data), 0))
        with suppress(InputError):
            verify(tmp_path / "x.tar.gz")


def test_damaged_manifests(small_build: Path, request: pytest.FixtureRequest) -> None:
    """Each is refused; nothing but InputError comes out, also of a manifest that its record vouches for."""
    text, record = ((small_build / name).read_bytes() for name in ("manifest.json", CHECKSUMS))
    for seed in range(request.config.getoption("--fuzz")):
        chance = random.Random(seed)  # noqa: S311 - damage, not secrets
        (small_build / "manifest.json").write_bytes(_damaged(text, chance))
        with pytest.raises(InputError):
            verify(small_build)
        rows = json.loads(record)
        rows["files"][0] = as_json(FileRow.of(small_build / "manifest.json"))
        (small_build / CHECKSUMS).write_text(json.dumps(rows))
        for check in (lambda: verify(small_build), lambda: read_build(small_build, Release())):
            with suppress(InputError):
                check()
        (small_build / "manifest.json").write_bytes(text)
        (small_build / CHECKSUMS).write_bytes(_damaged(record, chance))
        with suppress(InputError):
            verify(small_build)
        (small_build / CHECKSUMS).write_bytes(record)
    assert verify(small_build).files == 5


def _damaged(text: bytes, chance: random.Random) -> bytes:
    """A byte lost or changed, or one value of another kind; never the same bytes."""
    if chance.random() < 0.5:
        at = chance.randrange(len(text))
        return text[:at] + chance.choice((b"", b"\xff", b"\x00", b"[" * 5000, b"9" * 5000)) + text[at + 1 :]
    whole = json.loads(text)
    node: Any = whole
    while True:
        key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], (dict, list)) or not node[key] or chance.random() < 0.3:
            break
        node = node[key]
    values: tuple[Any, ...] = (None, 1.5, "x", [], {}, [[]], [1], {"a": 1})
    node[key] = chance.choice([value for value in values if value != node[key]])
    return json.dumps(whole).encode()
