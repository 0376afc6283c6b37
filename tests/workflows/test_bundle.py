"""Bundles as a whole: the same bytes, refusals, and what `verify` finds."""

import gzip
import io
import json
import os
import random
import socket
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.artifact import RECORD, files_of, sha256
from mnedge.errors import InputError, StorageError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.quantization.io import with_io
from mnedge.registry import names
from mnedge.report.write import CHECKSUMS, REPORTS
from mnedge.results.manifest import BundleManifest, Checksums, FileRow, Verified
from mnedge.results.report import GateRow, Report, VariantRow
from mnedge.results.stored import as_json, read, to_json
from mnedge.validation.locked import check_tools
from mnedge.workflows.bundle import Release, archive_path, bundle, read_build, release_of, verify

if TYPE_CHECKING:
    from mnedge.bundles._android_runtimes import AndroidRuntime

_KINDS = names("mnedge.bundles")


@pytest.fixture
def small_build(tmp_path: Path, small_int8: Graph) -> Path:
    """A folder as `build` leaves it, around the small network; written by hand, so that these tests take no build."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "net.int8.tflite").write_bytes(write_tflite(small_int8))
    (folder / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    row = {
        "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
        "bytes": 1, "sha256": sha256(folder / "net.int8.tflite"),
    }  # fmt: skip
    manifest = {
        "schema": 1, "slug": "net", "recipe": {"resolution": 8}, "tools": {"ai-edge-litert": "2.3.0"},
        "weights_sha256": None, "calibration_sha256": "0",
        "dataset": {"name": "demo", "preprocessing": {"crop_fraction": 1.0, "interpolation": "bicubic"}},
        "artifacts": [row],
    }  # fmt: skip
    _sealed(folder, manifest)
    return folder


def _sealed(folder: Path, manifest: dict[str, Any] | None = None, gates: tuple[GateRow, ...] = ()) -> None:
    """Writes the manifest and the reports of a build, and the record of these, for the files as they are."""
    whole = manifest or json.loads((folder / "manifest.json").read_text())
    whole["labels"] = as_json(FileRow.of(folder / "labels.txt"))
    for row in whole["artifacts"]:
        row["sha256"] = sha256(folder / row["path"])
    (folder / "manifest.json").write_text(json.dumps(whole))
    report = Report(slug=whole["slug"], variant=VariantRow(None, None, 8, 4), gates=gates)
    for name in REPORTS:
        (folder / name).write_text(to_json(report) if name.endswith(".json") else f"the {name} of 1.5 ms")
    rows = tuple(FileRow.of(folder / name) for name in ("manifest.json", *REPORTS))
    (folder / CHECKSUMS).write_text(to_json(Checksums(rows)))


def test_the_kinds_are_the_files() -> None:
    assert _KINDS == ["android", "microcontroller", "onnxruntime-mobile", "raspberry-pi"]


@pytest.mark.parametrize("kind", ["android", "raspberry-pi"])
def test_the_same_build_gives_the_same_bytes(
    small_build: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = []
    for place, umask in (("one", 0o022), ("elsewhere/two", 0o077)):
        old = os.umask(umask)
        try:
            bundle(small_build, kind, tmp_path / place, Release())
        finally:
            os.umask(old)
        sums.append([sha256(tmp_path / place)])
        if archive_path(tmp_path / place).exists():
            sums[-1].append(sha256(archive_path(tmp_path / place)))
    assert sums[0] == sums[1]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    bundle(small_build, kind, tmp_path / "later", Release())
    assert (sha256(tmp_path / "later") != sums[0][0]) == (kind == "android")


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_a_build_with_other_ends_ships_the_same_models(
    small_build: Path, tmp_path: Path, small_int8: Graph, io: Any
) -> None:
    runtimes: dict[AndroidRuntime, str] = {"litert": "net.int8.tflite", "tasks": "net.uint8.tflite"}
    for runtime in runtimes:
        bundle(small_build, "android", tmp_path / "int8" / runtime, Release(runtime=runtime))
    path = small_build / "net.int8.tflite"
    path.write_bytes(write_tflite(with_io(small_int8, io)))
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["artifacts"][0]["io"] = io
    _sealed(small_build, manifest)
    for runtime, name in runtimes.items():
        bundle(small_build, "android", tmp_path / "other" / runtime, Release(runtime=runtime))
        places = [tmp_path / way / runtime / "assets" / name for way in ("int8", "other")]
        graphs = [parse_tflite(place.read_bytes(), name) for place in places]
        assert [op.kind for op in graphs[0].ops] == [op.kind for op in graphs[1].ops]
        ends = [[graph.tensors[end].dtype for end in (*graph.inputs, *graph.outputs)] for graph in graphs]
        assert ends[0] == ends[1] == [name.split(".")[1]] * 2


def test_a_changed_build_is_not_shipped(small_build: Path, tmp_path: Path) -> None:
    with (small_build / "net.int8.tflite").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match=r"net\.int8\.tflite was changed"):
        bundle(small_build, "android", tmp_path / "out", Release())
    assert not (tmp_path / "out").exists()


def test_what_is_no_bundle_is_not_replaced(small_build: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.txt, which mnedge did not write"):
        bundle(small_build, "android", tmp_path / "home", Release())
    with pytest.raises(InputError, match="which mnedge did not write"):
        bundle(small_build, "android", small_build, Release())
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    bundle(small_build, "android", tmp_path / "out", Release())
    bundle(small_build, "raspberry-pi", tmp_path / "out", Release())
    assert verify(tmp_path / "out").bundle == "raspberry-pi"


def test_a_bundle_with_something_of_the_users_is_not_replaced(small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, Release())
    (out / "labels.txt").write_text("translated\n")
    with pytest.raises(InputError, match=r"labels\.txt, which mnedge wrote, but which was changed since.*--force"):
        bundle(small_build, "raspberry-pi", out, Release())
    (out / "notes.txt").write_text("mine")
    bundle(small_build, "raspberry-pi", out, Release(), force=True)
    assert (out / "labels.txt").read_text().startswith("ant\n")
    assert (out / "notes.txt").read_text() == "mine"


def test_an_archive_that_is_not_mnedges_is_not_overwritten(small_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    archive_path(out).write_text("holiday photos")
    with pytest.raises(InputError, match=r"out\.tar\.gz exists, and mnedge did not write it"):
        bundle(small_build, "raspberry-pi", out, Release())
    assert not out.exists()
    bundle(small_build, "raspberry-pi", out, Release(), force=True)
    bundle(small_build, "raspberry-pi", out, Release())
    with tarfile.open(archive_path(out)) as archive:
        assert not [name for name in archive.getnames() if name.endswith(RECORD)]
    verify(archive_path(out))


@pytest.mark.parametrize(
    ("release", "said"),
    [
        (Release(group="../../etc"), "--group '../../etc' is no Maven group"),
        (Release(group="single"), "is no Maven group"),
        (Release(version="../1"), "--version '../1' is no version"),
        (Release(version=""), "is no version"),
    ],
)
def test_names_that_would_lead_elsewhere(small_build: Path, tmp_path: Path, release: Release, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bundle(small_build, "android", tmp_path / "out", release)


def test_an_unknown_kind_names_the_known(small_build: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'android'"):
        bundle(small_build, "androit", tmp_path / "out", Release())


def test_a_build_that_lost_something_says_what(small_build: Path, tmp_path: Path) -> None:
    (small_build / "labels.txt").write_text("ant\nbee\n")
    _sealed(small_build)
    with pytest.raises(InputError, match=r"net has 4 outputs, but labels\.txt 2 lines"):
        bundle(small_build, "android", tmp_path / "out", Release())
    (small_build / "labels.txt").unlink()
    with pytest.raises(InputError, match=r"labels\.txt is missing"):
        bundle(small_build, "android", tmp_path / "out", Release())
    manifest = json.loads((small_build / "manifest.json").read_text())
    del manifest["dataset"]
    (small_build / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="missing required field `dataset`"):
        bundle(small_build, "android", tmp_path / "out", Release())


def test_no_build(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json cannot be read"):
        bundle(tmp_path, "android", tmp_path / "out", Release())


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


def test_bundles_inside_a_build_are_checked_too(small_build: Path) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["recipe"]["bundles"] = ["raspberry-pi"]
    _sealed(small_build, manifest)
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


def test_a_folder_that_is_a_link_is_not_entered(small_build: Path, tmp_path: Path) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["recipe"]["bundles"] = ["raspberry-pi"]
    manifest["artifacts"].append({**manifest["artifacts"][0], "path": "c/net.tflite"})
    (small_build / "c").mkdir()
    (small_build / "c" / "net.tflite").write_bytes((small_build / "net.int8.tflite").read_bytes())
    _sealed(small_build, manifest)
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
    monkeypatch.setattr("mnedge.workflows.bundle._MANIFEST_BYTES", 100)
    with pytest.raises(InputError, match=r"manifest\.json of \S+ has more than 100 bytes"):
        verify(_tar(tmp_path / "a.tar.gz", entries))
    monkeypatch.setattr("mnedge.bundles._archive._LARGEST_BYTES", 5000)
    with pytest.raises(InputError, match="holds more than 5,000 bytes"):
        verify(_tar(tmp_path / "a.tar.gz", entries))
    with gzip.open(tmp_path / "a.tar.gz", "wb") as stream:
        stream.write(bytes(100_000))
    with pytest.raises(InputError, match="behind its end, or more than 5,000 bytes"):
        verify(tmp_path / "a.tar.gz")


def test_a_bundle_whose_archive_cannot_be_written_is_not_left(
    small_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes | str, *, force: bool = False) -> None:
        del data, force
        raise StorageError(f"{path} cannot be written")

    monkeypatch.setattr("mnedge.artifact.deliver", full)
    with pytest.raises(StorageError):
        bundle(small_build, "raspberry-pi", tmp_path / "new" / "out", Release())
    assert not (tmp_path / "new").exists()


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


def test_the_manifest_has_no_paths_of_this_machine(small_build: Path, tmp_path: Path) -> None:
    manifest = bundle(small_build, "android", tmp_path / "out", Release())
    assert str(tmp_path) not in to_json(manifest)
    assert all(row.bytes >= 0 for row in manifest.files)


def test_the_recipe_says_what_a_bundle_says_of_itself(small_build: Path, tmp_path: Path) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    said = {"version": "2.3.0", "group": "com.acme.ml", "license": "CC-BY-4.0", "description": "Tells *ants*."}
    manifest["recipe"]["release"] = said
    _sealed(small_build, manifest)
    assert bundle(small_build, "android", tmp_path / "out").version == "2.3.0"
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert card.startswith("# net 2.3.0\n\nTells \\*ants\\*.\n")
    assert "| licence | CC-BY-4.0 |" in card
    files = read(tmp_path / "out" / "manifest.json", BundleManifest).files
    assert any("com/acme/ml" in row.path for row in files)
    release = release_of(small_build, {"version": "2.4.0"})
    assert (release.version, release.group) == ("2.4.0", "com.acme.ml")
    with pytest.raises(InputError, match=r"'vesion'.*did you mean 'version'"):
        release_of(small_build, {"vesion": "1"})


def test_a_broken_gate_is_said_wherever_the_build_goes(small_build: Path, tmp_path: Path) -> None:
    gates = (GateRow("min_top1", 0.9, 0.5, passed=False), GateRow("int8_only", limit=True, measured=0.0, passed=True))
    _sealed(small_build, gates=gates)
    assert verify(small_build).broken_gates == ("min_top1",)
    manifest = bundle(small_build, "raspberry-pi", tmp_path / "out")
    assert [(gate.name, gate.passed) for gate in manifest.gates] == [("min_top1", False), ("int8_only", True)]
    assert verify(tmp_path / "out").broken_gates == ("min_top1",)
    assert verify(archive_path(tmp_path / "out")).broken_gates == ("min_top1",)
    assert "| min\\_top1 | 0.9 | FAILED |" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_the_bill_of_materials_is_one_by_the_standards_schema(small_build: Path, tmp_path: Path) -> None:
    schema = pytest.importorskip("cyclonedx.schema")
    validators = pytest.importorskip("cyclonedx.validation.json")
    texts = []
    for place in ("one", "two"):
        bundle(small_build, "android", tmp_path / place, sbom=True)
        texts.append((tmp_path / place / "sbom.cdx.json").read_text())
    assert texts[0] == texts[1]
    assert validators.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(texts[0]) is None
    found = json.loads(texts[0])
    sums = {row["name"]: row["hashes"][0]["content"] for row in found["components"] if row["type"] == "file"}
    assert sums["MODEL_CARD.md"] == sha256(tmp_path / "one" / "MODEL_CARD.md")
    assert found["metadata"]["component"]["modelCard"]["modelParameters"]["task"] == "image classification"
    assert verify(tmp_path / "one").files == len(sums) + 1


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key as openssl makes them."""
    pytest.importorskip("model_signing", reason="model-signing is not installed: pip install 'mnedge[sign]'")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, *form))
    public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "public.pem").write_bytes(private.public_key().public_bytes(*public))
    return tmp_path / "key.pem", tmp_path / "public.pem"


def test_a_signature_shows_what_checksums_cannot(small_build: Path, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    out = tmp_path / "out"
    bundle(small_build, "raspberry-pi", out, sign=private)
    assert verify(out, key=public).signed
    assert verify(archive_path(out)).files == verify(out).files
    # Somebody changes a file, and the manifest with it: the checksums hold.
    (out / "labels.txt").write_text("ant\nbee\ncat\nwolf\n")
    manifest = json.loads((out / "manifest.json").read_text())
    for row in manifest["files"]:
        row["sha256"] = sha256(out / row["path"])
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert not verify(out).signed
    with pytest.raises(InputError, match="is no signature of"):
        verify(out, key=public)


def test_keys_that_are_none_are_refused_before_the_work(
    small_build: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    (tmp_path / "letter.pem").write_text("Dear key")
    for wrong in (tmp_path / "letter.pem", public):
        with pytest.raises(InputError, match=r"is no private key to sign with: .*openssl"):
            bundle(small_build, "raspberry-pi", tmp_path / "out", sign=wrong)
    with pytest.raises(InputError, match="is no file; give a private key"):
        bundle(small_build, "raspberry-pi", tmp_path / "out", sign=tmp_path / "none.pem")
    assert not (tmp_path / "out").exists()
    bundle(small_build, "raspberry-pi", tmp_path / "out")
    with pytest.raises(InputError, match=r"has no model\.sig; bundle it with --sign"):
        verify(tmp_path / "out", key=public)
    bundle(small_build, "raspberry-pi", tmp_path / "out", sign=private)
    with pytest.raises(InputError, match="is no public key"):
        verify(tmp_path / "out", key=tmp_path / "letter.pem")
    with pytest.raises(InputError, match="unpack the archive"):
        verify(archive_path(tmp_path / "out"), key=public)
    with pytest.raises(InputError, match="bundles are signed"):
        verify(small_build, key=public)
