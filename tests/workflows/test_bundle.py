"""Bundles as a whole: the same bytes, refusals, and what `verify` finds."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.bundles._archive import archive_path
from mnedge.errors import InputError, StorageError
from mnedge.files import RECORD, sha256
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.quantization.io import with_io
from mnedge.registry import names
from mnedge.results.report import GateRow
from mnedge.results.stored import to_json
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release
from mnedge.workflows.verify import verify

if TYPE_CHECKING:
    from mnedge.choices import AndroidRuntime

_KINDS = names("mnedge.bundles")


def test_the_kinds_are_the_files() -> None:
    assert _KINDS == ["android", "microcontroller", "onnxruntime-mobile", "raspberry-pi", "web"]


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
    small_build: Path, seal_build: Callable[..., None], tmp_path: Path, small_int8: Graph, io: Any
) -> None:
    runtimes: dict[AndroidRuntime, str] = {"litert": "net.int8.tflite", "tasks": "net.uint8.tflite"}
    for runtime in runtimes:
        bundle(small_build, "android", tmp_path / "int8" / runtime, Release(runtime=runtime))
    path = small_build / "net.int8.tflite"
    path.write_bytes(write_tflite(with_io(small_int8, io)))
    manifest = json.loads((small_build / "manifest.json").read_text())
    manifest["artifacts"][0]["io"] = io
    seal_build(small_build, manifest)
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


def test_an_unknown_kind_names_the_known(small_build: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'android'"):
        bundle(small_build, "androit", tmp_path / "out", Release())


def test_a_build_that_lost_something_says_what(
    small_build: Path, seal_build: Callable[..., None], tmp_path: Path
) -> None:
    (small_build / "labels.txt").write_text("ant\nbee\n")
    seal_build(small_build)
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


def test_the_manifest_has_no_paths_of_this_machine(small_build: Path, tmp_path: Path) -> None:
    manifest = bundle(small_build, "android", tmp_path / "out", Release())
    assert str(tmp_path) not in to_json(manifest)
    assert all(row.bytes >= 0 for row in manifest.files)


def test_a_broken_gate_is_said_wherever_the_build_goes(
    small_build: Path, seal_build: Callable[..., None], tmp_path: Path
) -> None:
    gates = (GateRow("min_top1", 0.9, 0.5, passed=False), GateRow("int8_only", limit=True, measured=0.0, passed=True))
    seal_build(small_build, gates=gates)
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
