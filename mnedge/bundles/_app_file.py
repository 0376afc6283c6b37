"""Reads somebody's APK or AAB: its models, native libraries and runtime. Nothing in it is trusted."""

from __future__ import annotations

import re
import struct
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, Literal

from mnedge.errors import InputError, MnedgeError
from mnedge.foreign import open_regular
from mnedge.formats.archive import DAMAGE, read_member
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_releases import first_release
from mnedge.results.app_check import AppCheck, AppRow, State

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.formats.tflite_releases import Release

_MODELS = (".tflite", ".onnx", ".ort")
# Google Play takes apps of 200 MB, and asset packs of 1.5 GB.
_MOST_BYTES = 4 << 30
_MOST_FILES, _MOST_MODELS, _MOST_LIBRARIES = 200_000, 64, 1_000
_MODEL_BYTES, _LIBRARY_BYTES = 512 << 20, 128 << 20
# An ELF's program headers follow its header at once, and Android's linker takes at most a page of them.
_ELF_BYTES = 1 << 16
_SMALL_PAGE, _LARGE_PAGE = 4096, 16384
_PT_LOAD = 1
_WIDE = ("arm64-v8a", "x86_64", "riscv64")
_LIBRARY = re.compile(r"(?:[^/]+/)?lib/([^/]+)/(lib[^/]+\.so)")
_VERSION_FILE = re.compile(
    r"(?:[^/]+/root/)?META-INF/(com\.google\.ai\.edge\.litert|org\.tensorflow|com\.google\.mediapipe)[^/]*\.version"
)
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,4}(?:[-+.][0-9A-Za-z.-]{1,20})?")
# TFLite's own version stands as a word of its own in its library; 2.1 to 2.20 are those there are.
_WORD = re.compile(rb"\x00(2\.(?:[1-9]|1[0-9]|20)\.[0-9]{1,2}(?:-[a-z0-9.]{1,12})?)(?=\x00)")
_TFLITE, _LITERT = "libtensorflowlite_jni.so", "libLiteRt.so"
# The first release of LiteRT was made from TensorFlow's sources of that time.
_LITERT_FROM: Release = (2, 17)
_RUNTIMES = {
    _TFLITE: "TensorFlow Lite, or LiteRT 1", _LITERT: "LiteRT 2",
    "libmediapipe_tasks_vision_jni.so": "MediaPipe Tasks", "libonnxruntime.so": "ONNX Runtime",
}  # fmt: skip


def check_app_file(path: Path) -> AppCheck:
    """Looks at an app's models and native libraries.

    Raises:
        InputError: The file is missing, no APK or AAB, damaged, or beyond the limits.
    """
    try:
        with open_regular(path) as stream:
            if stream.seek(0, 2) > _MOST_BYTES:
                raise InputError(f"{path} has more than {_MOST_BYTES:,} bytes; no app is as large")
            with zipfile.ZipFile(stream) as archive:
                return _checked(archive, stream, path)
    except FileNotFoundError as exc:
        raise InputError(f"{path} does not exist; give an .apk or .aab") from exc
    except DAMAGE as exc:
        raise InputError(f"{path} is no APK or AAB, or is damaged ({exc}); build or copy it again") from exc


def _checked(archive: zipfile.ZipFile, stream: BinaryIO, path: Path) -> AppCheck:
    entries = archive.infolist()
    kind = _kind_of([entry.filename for entry in entries], path)
    models = [entry for entry in entries if entry.filename.lower().endswith(_MODELS)]
    libraries = [(entry, found) for entry in entries if (found := _LIBRARY.fullmatch(entry.filename))]
    for what, count, most in (
        ("models", len(models), _MOST_MODELS),
        ("native libraries", len(libraries), _MOST_LIBRARIES),
    ):
        if count > most:
            raise InputError(f"{path} has {count:,} {what}; at most {most:,} are looked at")
    rows: list[AppRow] = []
    for entry in models:
        rows += _stored(entry, stream, kind)
    if not models:
        rows.append(
            AppRow("stored", "", "note", f"no model ends in {', '.join(_MODELS)}; is it downloaded, or hidden?")
        )
    for entry, found in libraries:
        rows += _aligned(archive, entry, stream, kind, found[1])
    release, told = _runtime(archive, [(entry, found[2]) for entry, found in libraries], str(path))
    ops = [_ops(archive, entry, release, str(path)) for entry in models]
    return AppCheck(str(path), kind, (*rows, *told, *ops))


def _kind_of(names: list[str], path: Path) -> Literal["apk", "aab"]:
    if len(names) > _MOST_FILES:
        raise InputError(f"{path} has {len(names):,} files; at most {_MOST_FILES:,} are looked at")
    if len(set(names)) < len(names):
        ((name, _),) = Counter(names).most_common(1)
        raise InputError(f"{path} holds {name!r} more than once, and which one counts is not known; build it again")
    if "BundleConfig.pb" in names:
        return "aab"
    if "AndroidManifest.xml" in names:
        return "apk"
    raise InputError(f"{path} is no app: it has neither AndroidManifest.xml (APK) nor BundleConfig.pb (AAB)")


def _stored(entry: zipfile.ZipInfo, stream: BinaryIO, kind: str) -> list[AppRow]:
    """Whether a model is mapped into memory as it lies in the app."""
    name = entry.filename
    if kind == "aab":
        says = "bundletool decides when it makes APKs: check one of them (bundletool build-apks --mode=universal)"
        return [AppRow("stored", name, "not known", says)]
    if entry.compress_type != zipfile.ZIP_STORED:
        suffix = name.rpartition(".")[2]
        says = f'deflated, so it cannot be mapped: androidResources {{ noCompress += "{suffix}" }} in build.gradle.kts'
        return [AppRow("stored", name, "wrong", says)]
    rows = [AppRow("stored", name, "good", f"stored, {entry.file_size:,} bytes")]
    start = _start(entry, stream)
    if start % _LARGE_PAGE == 0:
        return [*rows, AppRow("page", name, "good", "starts on a page of 16 KB")]
    if start % _SMALL_PAGE == 0:
        says = "starts on a page of 4 KB, not of 16 KB"
        return [*rows, AppRow("page", name, "note", f"{says}: {_MAPPED}")]
    if start % 4:
        says = f"starts {start % 4} bytes past a multiple of 4: run zipalign -P 16 4 IN.apk OUT.apk before signing"
        return [*rows, AppRow("page", name, "wrong", says)]
    return [*rows, AppRow("page", name, "note", f"starts {start % _SMALL_PAGE} bytes into a page of 4 KB: {_MAPPED}")]


_MAPPED = "Java's FileChannel.map takes it, mmap of native code needs the page's start and the rest added"


def _start(entry: zipfile.ZipInfo, stream: BinaryIO) -> int:
    """Offset of a file's contents in the app, bytes: behind its local header, which the directory does not repeat."""
    stream.seek(entry.header_offset)
    header = stream.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no header of {entry.filename!r} where the directory says")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    return int(entry.header_offset + 30 + name_bytes + extra_bytes)


def _aligned(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, stream: BinaryIO, kind: str, abi: str) -> list[AppRow]:
    """Whether a native library loads on a phone with pages of 16 KB, which 64-bit ones may have."""
    name = entry.filename
    if abi not in _WIDE:
        return [AppRow("elf", name, "good", f"{abi} is of 32 bits, whose phones have pages of 4 KB")]
    try:
        with archive.open(entry) as library:
            align = _load_alignment(library.read(_ELF_BYTES))
    except DAMAGE as exc:
        return [AppRow("elf", name, "wrong", f"cannot be read: {exc}; build the app again")]
    if align is None:
        rows = [AppRow("elf", name, "not known", "no ELF of 64 bits with headers in its first 64 KB")]
    elif align < _LARGE_PAGE:
        says = f"segments are aligned to {align:,} bytes, and 16 KB is needed: link with -Wl,-z,max-page-size=16384"
        rows = [AppRow("elf", name, "wrong", f"{says}, or take a newer version of the library")]
    else:
        rows = [AppRow("elf", name, "good", f"segments are aligned to {align:,} bytes")]
    if kind == "aab":
        return rows
    if entry.compress_type != zipfile.ZIP_STORED:
        return [*rows, AppRow("zip", name, "good", "deflated: the phone unpacks it when it installs the app")]
    start = _start(entry, stream)
    if start % _LARGE_PAGE:
        says = (
            f"lies {start % _LARGE_PAGE:,} bytes past a multiple of 16 KB: zipalign -P 16 4 IN.apk OUT.apk, then sign"
        )
        return [*rows, AppRow("zip", name, "wrong", says)]
    return [*rows, AppRow("zip", name, "good", "lies on a multiple of 16 KB")]


def _load_alignment(data: bytes) -> int | None:
    """The smallest alignment of an ELF's segments that are loaded; None where it is no little-endian ELF of 64 bits."""
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        return None
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    if size < 56 or not count or offset + size * count > len(data):
        return None
    found = []
    for place in range(offset, offset + size * count, size):
        (kind,) = struct.unpack_from("<I", data, place)
        if kind == _PT_LOAD:
            found.append(struct.unpack_from("<Q", data, place + 48)[0])
    return min(found, default=None)


def _runtime(
    archive: zipfile.ZipFile, libraries: list[tuple[zipfile.ZipInfo, str]], source: str
) -> tuple[Release | None, list[AppRow]]:
    """The TensorFlow release that the app's TFLite runtime comes from or is newer than; None where it is not told."""
    rows: list[AppRow] = []
    release: Release | None = None
    for name in archive.namelist():
        if _VERSION_FILE.fullmatch(name):
            text = read_member(archive, name, 1 << 10, source).decode("ascii", "replace").strip()
            says = text if _VERSION.fullmatch(text) else "holds no version"
            rows.append(AppRow("runtime", name, "good" if _VERSION.fullmatch(text) else "not known", says))
            if _VERSION.fullmatch(text) and "org.tensorflow" in name:
                release = _parsed(text)
    first = {name: entry for entry, name in reversed(libraries) if name in _RUNTIMES}
    for name, entry in first.items():
        says, state = f"{_RUNTIMES[name]}; its version is not known", "not known"
        if name == _LITERT:
            release, state = release or _LITERT_FROM, "good"
            says = f"{_RUNTIMES[name]}, made from TensorFlow {_shown(_LITERT_FROM)} or later"
        elif name == _TFLITE and (version := _version_in(archive, entry, source)):
            release, state = release or _parsed(version), "good"
            says = f"{_RUNTIMES[name]}: its code says {version}"
        rows.append(AppRow("runtime", entry.filename, _state(state), says))
    if not first:
        says = "no runtime with native libraries of its own: that of Google Play services, or one under another name"
        rows.append(AppRow("runtime", "", "not known", says))
    return release, rows


def _state(word: str) -> State:
    return "good" if word == "good" else "not known"


def _version_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: str) -> str | None:
    """The version that stands in TFLite's library; None where none does, or several."""
    try:
        data = read_member(archive, entry.filename, _LIBRARY_BYTES, source)
    except InputError:
        return None
    found = {match[1].decode("ascii") for match in _WORD.finditer(data)}
    return found.pop() if len(found) == 1 else None


def _parsed(version: str) -> Release:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _shown(release: Release) -> str:
    return ".".join(map(str, release))


def _ops(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, release: Release | None, source: str) -> AppRow:
    """Whether the runtime knows every op of a model in its version."""
    name = entry.filename
    if not name.lower().endswith(".tflite"):
        return AppRow("ops", name, "not known", "only .tflite says the version of each op")
    try:
        graph = parse_tflite(read_member(archive, name, _MODEL_BYTES, source), f"{name} in {source}")
    except MnedgeError as exc:
        return AppRow("ops", name, "not known", str(exc))
    wanted = {(op.kind, op.version): first_release(op.kind, op.version) for op in graph.ops}
    unlisted = sorted(f"{kind} {version}" for (kind, version), first in wanted.items() if first is None)
    due = max((first for first in wanted.values() if first is not None), default=(1, 0))
    newest = ", ".join(sorted(f"{kind} {version}" for (kind, version), first in wanted.items() if first == due))
    needs = f"needs TensorFlow {_shown(due)} or later ({newest})" if due > (1, 0) else "every runtime knows its ops"
    if release is not None and due > release:
        says = f"{needs}, and the app's runtime is {_shown(release)}: take a newer one in build.gradle.kts"
        return AppRow("ops", name, "wrong", says)
    if unlisted:
        return AppRow("ops", name, "not known", f"{needs}; of {', '.join(unlisted)} it is not known")
    if release is None and due > (1, 0):
        return AppRow("ops", name, "not known", f"{needs}, and the version of the runtime is not known")
    return AppRow("ops", name, "good", needs)
