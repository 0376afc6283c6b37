import errno
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mnedge import artifact, files
from mnedge.errors import InputError, StorageError


def _put(place: Path, *, force: bool = False, kind: artifact.Kind = "bundle", **files: str) -> None:
    """Writes a folder of text files; "__" in a name stands for "/"."""
    with artifact.folder(place, kind=kind, force=force) as scratch:
        for name, text in files.items():
            path = scratch / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def _names(place: Path) -> set[str]:
    """Relative paths of all files and links below a folder, but for the records."""
    paths = (path for path in place.rglob("*") if path.name != files.RECORD)
    return {path.relative_to(place).as_posix() for path in paths if path.is_symlink() or not path.is_dir()}


def test_a_delivery_leaves_its_record_and_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    artifact.deliver(path, b"abc")
    artifact.deliver(path, "other")
    artifact.check_file(path)
    assert path.read_text() == "other"
    assert {file.name for file in path.parent.iterdir()} == {"a.bin", files.RECORD}
    first = (path.parent / files.RECORD).read_bytes()
    artifact.deliver(path, "other")
    assert (path.parent / files.RECORD).read_bytes() == first


@pytest.mark.parametrize("of", ["the user", "mnedge, edited"])
def test_a_file_that_is_not_proven_stays_until_force(tmp_path: Path, of: str) -> None:
    path = tmp_path / "summary.md"
    if of != "the user":
        artifact.deliver(path, "mine")
    path.write_text("theirs")
    for attempt in (lambda: artifact.check_file(path), lambda: artifact.deliver(path, "new")):
        with pytest.raises(InputError, match=r"summary\.md .*(did not write it|was changed).*--force"):
            attempt()
    assert path.read_text() == "theirs"
    artifact.deliver(path, "new", force=True)
    artifact.deliver(path, "newer")
    assert path.read_text() == "newer"


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, said in (("pipe", "no regular file"), ("folder", "is a folder")):
        with pytest.raises(InputError, match=said):
            artifact.deliver(tmp_path / name, "x", force=True)
    artifact.deliver(tmp_path / "a", "x")
    with pytest.raises(InputError, match="is a file"):
        _put(tmp_path / "a", force=True, x="1")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_links_are_followed(tmp_path: Path) -> None:
    for name in ("file", "folder", "new"):
        (tmp_path / f"link-to-{name}").symlink_to(tmp_path / "real" / name)
    artifact.deliver(tmp_path / "real" / "file", "1")
    artifact.deliver(tmp_path / "link-to-file", "2")
    _put(tmp_path / "real" / "folder", a="1")
    _put(tmp_path / "link-to-folder", b="2")
    _put(tmp_path / "link-to-new", c="3")
    assert _names(tmp_path / "real") == {"file", "folder/b", "new/c"}
    assert (tmp_path / "real" / "file").read_text() == "2"
    assert all((tmp_path / f"link-to-{name}").is_symlink() for name in ("file", "folder", "new"))
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="cannot be written"):
        artifact.deliver(tmp_path / "circle", "1")


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        artifact.deliver(tmp_path / "file" / "a.bin", b"abc")
    for check in (
        artifact.check_file,
        artifact.check_reachable,
        lambda path: artifact.check_folder(path, kind="bundle"),
    ):
        with pytest.raises(InputError, match="cannot be written"):
            check(tmp_path / "file" / "deep" / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_no_wrong_input() -> None:
    with (
        pytest.raises(StorageError, match="/dev/full cannot be written: No space left"),
        artifact._explained(Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as stream,
    ):
        stream.write(b"x")


def test_a_disk_without_room_is_found_out_before_the_work(tmp_path: Path) -> None:
    artifact.check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(StorageError, match=r"No space left on device: [\d,]+ bytes are free, and at least"):
        artifact.check_space(tmp_path / "not" / "yet", 1 << 60)
    assert list(tmp_path.iterdir()) == []


def test_umask_decides_who_may_read(tmp_path: Path) -> None:
    for umask, mode in ((0o027, 0o640), (0o002, 0o664)):
        old = os.umask(umask)
        try:
            artifact.deliver(tmp_path / f"{mode}.bin", b"1")
            _put(tmp_path / f"{mode}", a="1")
        finally:
            os.umask(old)
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in (f"{mode}.bin", f"{mode}", f"{mode}/a")]
        assert modes == [mode, mode | 0o111 & ~umask, mode]


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    artifact.deliver(tmp_path / ("ä" * 127), b"1")
    with pytest.raises(InputError, match="cannot be written"):
        artifact.deliver(tmp_path / ("ä" * 128), b"1")


@pytest.mark.parametrize("below", ["", "x"])
def test_a_name_that_is_too_long_is_found_out_before_the_work(tmp_path: Path, below: str) -> None:
    place = tmp_path / ("n" * 300) / below
    for check in (
        artifact.check_file,
        partial(artifact.check_folder, kind="build"),
        artifact.check_reachable,
        partial(artifact.deliver, data=b"x"),
    ):
        with pytest.raises(InputError, match="cannot be written: File name too long; choose another place"):
            check(place)
    assert not list(tmp_path.iterdir())


def test_folder_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    place = tmp_path / "out"

    def interrupted() -> None:
        with artifact.folder(place, kind="bundle") as scratch:
            (scratch / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    _put(place, whole="1", sub__a="1")
    _put(place, new="2")
    assert {path.name for path in place.iterdir()} == {"new", files.RECORD}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    _put(tmp_path / "out", old="1")

    def failing() -> None:
        with artifact.folder(tmp_path / "out", kind="bundle"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert (tmp_path / "out" / "old").read_text() == "1"


def _add_source(place: Path) -> str:
    (place / "src").mkdir(parents=True)
    (place / "src" / "main.c").write_text("years of work")
    return "src/main.c"


def _add_link(place: Path) -> str:
    (place / "link").symlink_to("/etc")
    return "link"


def _add_folder(place: Path) -> str:
    (place / "empty").mkdir()
    return "empty/"


def _edit(place: Path) -> str:
    (place / "a").write_text("edited")
    return "a"


def _nest(place: Path) -> str:
    _put(place / "nested", x="1")
    return f"nested/{files.RECORD}"


def _damage_record(place: Path) -> str:
    (place / files.RECORD).write_text('{"mnedge": 1, "folder": {"a": 3}}')
    return files.RECORD


@pytest.mark.parametrize("change", [_add_source, _add_link, _add_folder, _edit, _nest, _damage_record])
def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path: Path, change: Callable[[Path], str]) -> None:
    place = tmp_path / "out"
    _put(place, a="1", gone="1", sub__b="1")
    name = change(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and not path.is_symlink()}
    with pytest.raises(InputError, match=f"holds {re.escape(name)}, which mnedge .*--force"):
        _put(place, a="2", c="2")
    assert before == {path: path.read_bytes() for path in before}
    _put(place, force=True, a="2", c="2")
    assert (place / "a").read_text() == (place / "c").read_text() == "2"
    # What mnedge wrote and what nobody touched since is out of date; the rest is still there.
    assert (place / "gone").exists() == (change is _damage_record)
    assert os.path.lexists(place / name)
    if change not in (_edit, _damage_record):
        with pytest.raises(InputError, match=re.escape(name)):
            _put(place, a="3")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_files_again_disturb_nobody(tmp_path: Path) -> None:
    _put(tmp_path / "out", a="1", sub__b="2")
    before = (tmp_path / "out").stat().st_ino
    _put(tmp_path / "out", a="1", sub__b="2")
    assert (tmp_path / "out").stat().st_ino == before
    (tmp_path / "out" / "a").unlink()
    _put(tmp_path / "out", a="1", sub__b="2")
    assert _names(tmp_path / "out") == {"a", "sub/b"}


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    _put(tmp_path / "out", kind="build", a="1")
    with pytest.raises(InputError, match="holds a, which mnedge wrote as part of a build"):
        _put(tmp_path / "out", kind="bundle", b="1")
    assert _names(tmp_path / "out") == {"a"}


def test_a_file_added_while_the_work_goes_on_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "out"
    _put(place, a="1")

    def late() -> None:
        with artifact.folder(place, kind="bundle") as scratch:
            (scratch / "a").write_text("2")
            _add_source(place)

    with pytest.raises(InputError, match=r"src/main\.c"):
        late()
    assert _names(place) == {"a", "src/main.c"}
    assert (place / "a").read_text() == "1"


def test_force_never_writes_through_a_link_or_over_a_folder(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.mkdir()
    (place / "sub").symlink_to(elsewhere)
    with pytest.raises(InputError, match="sub is no folder"):
        _put(place, force=True, sub__a="1")
    (place / "b").mkdir()
    with pytest.raises(InputError, match="b is no regular file"):
        _put(place, force=True, b="1")
    assert not _names(elsewhere)
    assert _names(place) == {"sub"}


def test_the_folder_one_stands_in_is_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    _put(Path(), a="1", b="1")
    _put(Path(), a="2")
    assert _names(tmp_path) == {"a"}
    assert tmp_path.stat().st_ino == before
    assert Path("a").read_text() == "2"


def test_a_removal_takes_only_what_is_proven(tmp_path: Path) -> None:
    artifact.deliver(tmp_path / "recipe.yaml", "1")
    artifact.withdraw(tmp_path / "recipe.yaml")
    artifact.withdraw(tmp_path / "recipe.yaml")
    assert not (tmp_path / "recipe.yaml").exists()
    artifact.deliver(tmp_path / "recipe.yaml", "1")
    (tmp_path / "recipe.yaml").write_text("2")
    artifact.withdraw(tmp_path / "recipe.yaml")
    assert (tmp_path / "recipe.yaml").read_text() == "2"


def test_killed_at_any_moment_the_file_stays_mnedges(tmp_path: Path) -> None:
    """Deliveries are killed at random; each later one finds the old file or the new one, and knows it as its own."""
    code = (
        "import sys; from pathlib import Path; from mnedge import artifact, files\n"
        "print('go', flush=True)\n"
        "for number in range(100000): artifact.deliver(Path(sys.argv[1]), f'{sys.argv[2]} {number}')\n"
    )
    chance = random.Random(7)  # noqa: S311 - moments
    for kill in range(8):
        argv = [sys.executable, "-c", code, str(tmp_path / "a"), str(kill)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            assert process.poll() is None
            process.kill()
    artifact.deliver(tmp_path / "a", "whole")


def _all(place: Path) -> dict[str, bytes | None]:
    """Everything below a folder, records and empty folders too."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_delivery_that_fails_leaves_what_was_there(
    tmp_path: Path, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    if is_there:
        artifact.deliver(path.with_name("b.txt"), "other")
        artifact.deliver(path, "old")
    before = _all(tmp_path)
    real = files.write_bytes

    def full(place: Path, data: bytes) -> None:
        if place.name != files.RECORD:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(place, data)

    monkeypatch.setattr(artifact, "write_bytes", full)
    with pytest.raises(StorageError):
        artifact.deliver(path, "new")
    monkeypatch.undo()
    left = {name: data for name, data in _all(tmp_path).items() if not name.endswith(files.RECORD)}
    assert left == {name: data for name, data in before.items() if not name.endswith(files.RECORD)}
    artifact.deliver(path, "new")
    assert path.read_text() == "new"


def test_what_is_delivered_together_goes_together(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    artifact.deliver(tmp_path / "mine" / "old.txt", "old")
    before = _all(tmp_path)

    @artifact.together()
    def deliver(*names: str, fails: bool = True) -> None:
        for name in names:
            with artifact.together():
                artifact.deliver(tmp_path / name, name)
        if fails:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver("new/deep/a.txt", "new/b.txt", "mine/c.txt")
    assert _all(tmp_path) == before
    with pytest.raises(KeyboardInterrupt):
        deliver("mine/old.txt", "mine/c.txt")
    # A file that was there before stays, and stays mnedge's.
    artifact.deliver(tmp_path / "mine" / "old.txt", "newest")
    assert _names(tmp_path) == {"mine/notes.txt", "mine/old.txt"}
    deliver("new/a.txt", fails=False)
    assert (tmp_path / "new" / "a.txt").read_text() == "new/a.txt"


def test_a_folder_that_fails_takes_the_folders_above_it_along(tmp_path: Path) -> None:
    with pytest.raises(InputError), artifact.folder(tmp_path / "new" / "deep" / "x", kind="bundle"):
        raise InputError("no")
    assert _all(tmp_path) == {}


def test_folders_that_replace_each_other_at_once_are_whole(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    place = tmp_path / "out"

    def put(number: int) -> None:
        with artifact.folder(place, kind="bundle") as scratch:
            for name in "abc":
                (scratch / name).write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(200)))
    assert len({(place / name).read_text() for name in "abc"}) == 1
    assert _names(place) == {"a", "b", "c"}
    assert list(tmp_path.iterdir()) == [place]


def test_what_was_delivered_into_a_folder_stays_when_that_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        with artifact.folder(out, kind="build") as scratch:
            files.write_text(scratch / "model", str(number))
        artifact.deliver(out / "gates.xml", "the same")
        assert (out / "model").read_text() == str(number)
    with artifact.folder(out, kind="build") as scratch:
        files.write_text(scratch / "model", "3")
    assert (out / "gates.xml").read_text() == "the same"
    # It is still mnedge's own: it may be written again, and the folder be made again.
    artifact.deliver(out / "gates.xml", "another")
    (out / "gates.xml").write_text("of the user")
    with (
        pytest.raises(InputError, match=r"gates\.xml, which mnedge wrote, but which was changed since"),
        artifact.folder(out, kind="build") as scratch,
    ):
        files.write_text(scratch / "model", "4")
    assert (out / "gates.xml").read_text() == "of the user"
    assert (out / "model").read_text() == "3"


def test_a_record_of_others_takes_nothing_from_outside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _put(out, a="1")
    (tmp_path / "diary.txt").write_text("private")
    record = json.loads((out / files.RECORD).read_text())
    outside = ("../diary.txt", "../../diary.txt", str(tmp_path / "diary.txt"))
    record["files"] = dict.fromkeys(outside, files.sha256(tmp_path / "diary.txt"))
    (out / files.RECORD).write_text(json.dumps(record))
    _put(out, a="2")
    assert (out / "a").read_text() == "2"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [files.RECORD, "a", "diary.txt"]
    assert "diary" not in (out / files.RECORD).read_text()


@pytest.mark.parametrize("is_full", [False, True])
def test_a_disk_without_hard_links_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    out = tmp_path / "out"
    _put(out, a="1")
    artifact.deliver(out / "gates.xml", "passed")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC if is_full else errno.EPERM, "refused")

    monkeypatch.setattr(os, "link", refuse)
    if is_full:
        monkeypatch.setattr(shutil, "copy2", refuse)
        with pytest.raises(StorageError):
            _put(out, a="2")
    else:
        _put(out, a="2")
    assert (out / "a").read_text() == ("1" if is_full else "2")
    assert (out / "gates.xml").read_text() == "passed"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_folder_is_left_in_place_beside_what_was_delivered(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _put(out, a="1")
    artifact.deliver(out / "gates.xml", "passed")
    inode = out.stat().st_ino
    _put(out, a="1")
    assert out.stat().st_ino == inode
    assert (out / "gates.xml").read_text() == "passed"


def test_files_delivered_at_once_are_all_recorded(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: artifact.deliver(tmp_path / f"{number}", "1"), range(60)))
    assert len(json.loads((tmp_path / files.RECORD).read_text())["files"]) == 60


def test_a_check_never_sees_a_delivery_half_done(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(number: int) -> None:
        artifact.check_file(tmp_path / "report.json")
        artifact.deliver(tmp_path / "report.json", f"{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(120)))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [files.RECORD, "report.json"]


def test_what_a_killed_program_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    names = {
        ".a.bin.mnedge-tmp-0123456789abcdef": True, ".out.mnedge-tmp-0123456789abcdef": True,
        ".a.bin.swp": False, ".a.bin.d": False, ".a.bin.mnedge-tmp-": False, ".out.x2": False,
        ".b.bin.mnedge-tmp-0123456789abcdef": False,
    }  # fmt: skip
    for name in names:
        if ".out" in name or name.endswith(".d"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "half").write_text("")
        else:
            (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - 7200, time.time() - 7200))
    young = tmp_path / ".a.bin.mnedge-tmp-fedcba9876543210"
    young.write_text("under way")
    artifact.deliver(tmp_path / "a.bin", b"1")
    _put(tmp_path / "out", x="1")
    kept = {name for name, is_mnedges in names.items() if not is_mnedges}
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "out", files.RECORD, young.name} | kept
