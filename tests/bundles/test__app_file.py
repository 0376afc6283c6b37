"""`bundle android --check`: apps made here with zipfile, and native libraries that gcc links."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge import check_app
from mnedge.cli import _run
from mnedge.errors import InputError
from mnedge.formats.tflite_releases import first_release
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.results.app_check import AppCheck


def _model(version: int = 1) -> bytes:
    options = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "activation": "NONE"}
    graph = Graph(
        tensors={
            "input": Tensor("input", (1, 8, 8, 3), "float32"),
            "weights": constant("weights", np.full((4, 3, 3, 3), 0.1, np.float32)),
            "bias": constant("bias", np.zeros(4, np.float32)),
            "output": Tensor("output", (1, 8, 8, 4), "float32"),
        },
        ops=(replace(Op("CONV_2D", ("input", "weights", "bias"), ("output",), options), version=version),),
        inputs=("input",),
        outputs=("output",),
    )
    return write_tflite(graph)


def _library(folder: Path, page: int, text: str = "") -> bytes:
    """A shared library linked for pages of a size; `text` stands in it as a word."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    source, made = folder / "library.c", folder / f"library{page}.so"
    source.write_text(f'const char version[] = "\\000{text}"; int answer(void) {{ return 42; }}\n')
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-z,max-page-size={page}", "-Wl,-z,common-page-size=4096", "-o"]
    subprocess.run([*command, made, source], check=True)
    return made.read_bytes()


def _app(
    path: Path, files: Mapping[str, bytes], *, deflated: tuple[str, ...] = (), at: Mapping[str, int] | None = None
) -> Path:
    """An APK; the contents of files in `at` begin at a multiple of its value, as zipalign puts them, others behind."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"AndroidManifest.xml": b"\x03\0\x08\0", **files}.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED if name in deflated else zipfile.ZIP_STORED
            if at and name in at:
                assert archive.fp is not None
                start = archive.fp.tell() + 30 + len(name) + 4
                padding = -start % at[name]
                entry.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
            archive.writestr(entry, data)
    return path


def _said(found: AppCheck) -> dict[tuple[str, str], tuple[str, str]]:
    return {(row.check, row.subject): (row.state, row.says) for row in found.rows}


_NAME, _SO = "assets/net.tflite", "lib/arm64-v8a/libown.so"


@pytest.mark.parametrize(
    ("at", "state", "words"),
    [
        (16384, "good", "starts on a page of 16 KB"),
        (4096, "note", "page of 4 KB, not of 16 KB"),
        (4, "note", "bytes into a page of 4 KB"),
    ],
)
def test_where_a_stored_model_starts(tmp_path: Path, at: int, state: str, words: str) -> None:
    # The file before it has a length that lets no page begin by chance.
    files = {"a": bytes(5000), _NAME: _model()}
    path = _app(tmp_path / "a.apk", files, at={_NAME: at})
    if at == 4096:
        files["a"] = bytes(1)
        path = _app(tmp_path / "a.apk", files, at={_NAME: at})
    said = _said(check_app(path))
    assert said["stored", _NAME][0] == "good"
    assert said["page", _NAME][0] == state
    assert words in said["page", _NAME][1]


def test_a_model_between_two_words_asks_for_zipalign(tmp_path: Path) -> None:
    start = 30 + len("AndroidManifest.xml") + 4 + 30 + 1 + 30 + len(_NAME)
    path = _app(tmp_path / "a.apk", {"a": bytes((1 - start) % 4), _NAME: _model()})
    assert _said(check_app(path))["page", _NAME] == (
        "wrong", "starts 1 bytes past a multiple of 4: run zipalign -P 16 4 IN.apk OUT.apk before signing",
    )  # fmt: skip


def test_a_deflated_model_is_named_with_the_line_of_gradle(tmp_path: Path) -> None:
    found = check_app(_app(tmp_path / "a.apk", {_NAME: _model()}, deflated=(_NAME,)))
    state, says = _said(found)["stored", _NAME]
    assert state == "wrong"
    assert 'androidResources { noCompress += "tflite" }' in says
    assert ("page", _NAME) not in _said(found)
    # Its ops are read all the same.
    assert _said(found)["ops", _NAME] == ("good", "every runtime knows its ops")


@pytest.mark.parametrize(("page", "state"), [(4096, "wrong"), (16384, "good"), (65536, "good")])
def test_the_alignment_of_libraries(tmp_path: Path, page: int, state: str) -> None:
    library = _library(tmp_path, page)
    said = _said(check_app(_app(tmp_path / "a.apk", {_SO: library}, at={_SO: 16384})))
    assert said["elf", _SO][0] == state
    assert f"{page:,} bytes" in said["elf", _SO][1]
    assert said["zip", _SO] == ("good", "lies on a multiple of 16 KB")
    said = _said(check_app(_app(tmp_path / "a.apk", {"a": bytes(99), _SO: library})))
    assert said["zip", _SO][0] == "wrong"
    assert "zipalign -P 16 4" in said["zip", _SO][1]
    said = _said(check_app(_app(tmp_path / "a.apk", {_SO: library}, deflated=(_SO,))))
    assert said["zip", _SO][0] == "good"
    assert said["elf", _SO][0] == state


def test_32_bits_have_small_pages_and_nonsense_is_not_known(tmp_path: Path) -> None:
    files = {"lib/armeabi-v7a/libown.so": b"\x7fELF", _SO: b"\x7fELF\x02\x01" + b"\xff" * 90}
    said = _said(check_app(_app(tmp_path / "a.apk", files)))
    assert said["elf", "lib/armeabi-v7a/libown.so"][0] == "good"
    assert said["elf", _SO][0] == "not known"


_TFLITE = "lib/arm64-v8a/libtensorflowlite_jni.so"


@pytest.mark.parametrize(
    ("text", "version", "state", "words"),
    [
        ("2.8.0", 6, "wrong", "needs TensorFlow 2.9 or later (CONV_2D 6), and the app's runtime is 2.8"),
        ("2.14.0", 6, "good", "needs TensorFlow 2.9 or later (CONV_2D 6)"),
        ("2.14.0", 7, "not known", "of CONV_2D 7 it is not known"),
        ("2.3.0-rc1", 4, "good", "needs TensorFlow 2.3"),
        ("9.9.9", 6, "not known", "the version of the runtime is not known"),
        ("9.9.9", 3, "good", "every runtime knows its ops"),
    ],
)
def test_the_runtime_knows_the_ops(tmp_path: Path, text: str, version: int, state: str, words: str) -> None:
    files = {_NAME: _model(version), _TFLITE: _library(tmp_path, 16384, text)}
    said = _said(check_app(_app(tmp_path / "a.apk", files)))
    assert said["ops", _NAME][0] == state
    assert words in said["ops", _NAME][1]
    assert ("its code says" in said["runtime", _TFLITE][1]) == text.startswith("2.")


def test_two_versions_in_a_library_are_none(tmp_path: Path) -> None:
    library = _library(tmp_path, 16384, "2.8.0\\0002.9.1\\0")
    said = _said(check_app(_app(tmp_path / "a.apk", {_NAME: _model(6), _TFLITE: library})))
    assert said["runtime", _TFLITE] == ("not known", "TensorFlow Lite, or LiteRT 1; its version is not known")


def test_litert_2_and_version_files(tmp_path: Path) -> None:
    files = {
        _NAME: _model(6), "lib/arm64-v8a/libLiteRt.so": _library(tmp_path, 16384),
        "META-INF/com.google.ai.edge.litert_litert.version": b"2.1.0\n",
        "META-INF/org.tensorflow_bad.version": b"task ':x' property 'version'\n",
    }  # fmt: skip
    said = _said(check_app(_app(tmp_path / "a.apk", files)))
    assert said["runtime", "META-INF/com.google.ai.edge.litert_litert.version"] == ("good", "2.1.0")
    assert said["runtime", "META-INF/org.tensorflow_bad.version"] == ("not known", "holds no version")
    assert said["runtime", "lib/arm64-v8a/libLiteRt.so"][0] == "good"
    assert said["ops", _NAME][0] == "good"


def test_an_app_bundle_leaves_the_places_to_bundletool(tmp_path: Path) -> None:
    library = _library(tmp_path, 4096)
    path = tmp_path / "a.aab"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {
            "BundleConfig.pb": b"\n\0", "base/assets/net.tflite": _model(), "base/lib/arm64-v8a/libown.so": library,
        }.items():  # fmt: skip
            archive.writestr(name, data)
    found = check_app(path)
    assert found.kind == "aab"
    said = _said(found)
    assert said["stored", "base/assets/net.tflite"][0] == "not known"
    assert said["elf", "base/lib/arm64-v8a/libown.so"][0] == "wrong"
    assert ("zip", "base/lib/arm64-v8a/libown.so") not in said
    assert said["runtime", ""][0] == "not known"


def test_what_is_no_app_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.apk").write_text("no app")
    with zipfile.ZipFile(tmp_path / "plain.apk", "w") as archive:
        archive.writestr("a", b"")
    for name, words in (
        ("none.apk", "does not exist"),
        ("text.apk", "is no APK or AAB, or is damaged"),
        ("plain.apk", "has neither AndroidManifest.xml"),
        (".", "is no APK or AAB"),
    ):
        with pytest.raises(InputError, match=words):
            check_app(tmp_path / name)


def test_hostile_apps_are_bounded(tmp_path: Path) -> None:
    bomb = _app(tmp_path / "bomb.apk", {_NAME: bytes(100 << 20)}, deflated=(_NAME,))
    assert "unpacks to more than 100 times" in _said(check_app(bomb))["ops", _NAME][1]
    many = _app(tmp_path / "many.apk", {f"assets/{number}.tflite": b"" for number in range(65)})
    with pytest.raises(InputError, match="has 65 models; at most 64"):
        check_app(many)
    with zipfile.ZipFile(tmp_path / "twice.apk", "w") as archive:
        archive.writestr("AndroidManifest.xml", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("AndroidManifest.xml", b"")
    with pytest.raises(InputError, match="more than once"):
        check_app(tmp_path / "twice.apk")
    # A header that is not where the directory says; every cut; and bytes at random.
    whole = bytearray(_app(tmp_path / "a.apk", {_NAME: _model(), _SO: _library(tmp_path, 4096)}).read_bytes())
    place = whole.index(b"PK\x03\x04", 40)
    whole[place] = 0
    (tmp_path / "b.apk").write_bytes(whole)
    with pytest.raises(InputError, match="is damaged"):
        check_app(tmp_path / "b.apk")
    whole[place] = ord("P")
    chance = np.random.default_rng(3)
    for _ in range(150):
        broken = bytearray(whole[: int(chance.integers(1, len(whole)))] if chance.random() < 0.2 else whole)
        for at in chance.integers(max(0, len(broken) - 500), len(broken), 4):
            broken[at] = int(chance.integers(256))
        (tmp_path / "c.apk").write_bytes(broken)
        try:
            assert check_app(tmp_path / "c.apk").rows
        except InputError as exc:
            assert "\n" not in str(exc).strip()  # noqa: PT017 - either is right


def test_the_command_ends_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _app(tmp_path / "good.apk", {_NAME: _model()}, at={_NAME: 4})
    assert _run(["bundle", "android", "--check", str(good)]) == 0
    assert "every runtime knows" in capsys.readouterr().out
    bad = _app(tmp_path / "bad.apk", {_NAME: _model()}, deflated=(_NAME,))
    assert _run(["bundle", "android", "--check", str(bad), "--json"]) == 1
    captured = capsys.readouterr()
    assert '"state": "wrong"' in captured.out
    assert "1 of 3 checks ask for a repair" in captured.err
    assert _run(["bundle", "raspberry-pi", "--check", str(good)]) == 2
    assert _run(["bundle", "android"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_releases_of_op_versions() -> None:
    assert first_release("CONV_2D", 1) == (1, 0)
    assert first_release("CONV_2D", 5) == (2, 4)
    assert first_release("FULLY_CONNECTED", 5) == (2, 0)
    assert first_release("GELU", 1) == (2, 9)
    assert first_release("CONV_2D", 99) is None
    assert first_release("NO_SUCH_OP", 1) is None
