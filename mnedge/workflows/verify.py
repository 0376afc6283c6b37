"""`verify`: holds every file of a build or bundle against the checksums that it brings."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import artifact, bundles
from mnedge.bundles._archive import archive_path, tar_members
from mnedge.bundles._bundle import MANIFEST
from mnedge.bundles._signature import SIGNATURE, check_signature
from mnedge.errors import InputError
from mnedge.files import RECORD, sha256
from mnedge.foreign import is_folder, open_regular
from mnedge.report.write import CHECKSUMS, REPORT, REPORTS
from mnedge.results.manifest import BuildManifest, Checksums, Inventory, Verified
from mnedge.results.report import Report
from mnedge.results.stored import from_json, read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mnedge.results.stored import Noun

_MANIFEST_BYTES = 16 << 20
_MOST_FAULTS = 10


def verify(path: Path | str, *, key: Path | str | None = None) -> Verified:
    """Checks every file of a bundle, of its .tar.gz, or of a build against the checksums that they bring.

    A build's manifest.json lists its artifacts and labels.txt, its checksums.json the manifest and the reports; the
    bundles that its recipe asked for are checked as bundles. Files that a build did not write may stand beside. In a
    bundle, what Python makes where it runs, `__pycache__` and virtual environments, is passed over and named in the
    result. Links below the folder are not followed, and pipes and devices not opened.

    Args:
        path: The folder of a build or bundle, or the archive of a bundle.
        key: Public key (PEM, elliptic curve) of whoever signed the bundle; None to check checksums alone.

    Raises:
        InputError: No manifest, or a file is missing, changed, no regular file, or not in the manifest; the message
            names each. With `key` also where the signature is missing or not made by that key's owner.
    """
    place = Path(path)
    passed_over: tuple[str, ...] = ()
    if key is not None and not is_folder(place):
        raise InputError(f"{place} is no folder; unpack the archive and verify its folder with the key")
    if os.path.lexists(place) and not is_folder(place):
        inventory, sums = _read_archive(place)
        due = {row.path: row.sha256 for row in inventory.files or ()}
        wrong = _missing(due, sums) + [f"{name} was changed" for name in sorted(due.keys() & sums.keys())
                                       if due[name] != sums[name]]  # fmt: skip
        names = set(sums)
    else:
        inventory = inventory_of(place)
        if inventory.files is None:
            if key is not None:
                raise InputError(f"{place} is a build, and bundles are signed; verify the bundle with the key")
            return _verify_build(place, read_own(place / MANIFEST, BuildManifest))
        due = {row.path: row.sha256 for row in inventory.files}
        files, passed_over = _shipped_files(place, due)
        wrong, names = _differences(due, files, place), set(files)
    own = {MANIFEST, RECORD, SIGNATURE}
    wrong += [f"{name} does not belong to it" for name in sorted(names - due.keys() - own)]
    if wrong:
        raise InputError(f"{place} is not what its {MANIFEST} says: {_some(wrong)}; make it again")
    if key is not None:
        check_signature(place, Path(key))
    broken = tuple(gate.name for gate in inventory.gates if not gate.passed)
    return Verified(str(place), inventory.bundle, inventory.slug, len(due), broken, key is not None, passed_over)


def _verify_build(folder: Path, manifest: BuildManifest) -> Verified:
    """Checks a build and the bundles that its recipe asked for."""
    files = check_build(folder, manifest)
    kinds = manifest.recipe.get("bundles", [])
    if not isinstance(kinds, (list, tuple)) or not all(isinstance(kind, str) for kind in kinds):
        raise InputError(f"bundles of the recipe in {folder / MANIFEST} is no list of names; build it again")
    report = read_own(folder / REPORT, Report)
    broken = tuple(gate.name for gate in report.gates if not gate.passed)
    # A build that broke a gate makes no bundles.
    for kind in () if broken else kinds:
        has_archive = bundles.get(kind).has_archive
        place = folder / "bundles" / kind
        if why := _refusal(folder, f"bundles/{kind}"):
            raise InputError(f"{place} {why}, where a bundle of the build is to be; build it again")
        files += verify(place).files
        if has_archive:
            files += verify(archive_path(place)).files
    return Verified(str(folder), "build", manifest.slug, files, broken)


def check_build(folder: Path, manifest: BuildManifest) -> int:
    """Checks what `build` wrote, without bundles; gives the number of files and folders that were checked."""
    if manifest.labels is None or manifest.labels.path != artifact.LABELS:
        raise InputError(f"{folder / MANIFEST} does not list {artifact.LABELS}; build it again")
    rows = read_own(folder / CHECKSUMS, Checksums).files
    due = {row.path: row.sha256 for row in manifest.artifacts}
    due |= {row.path: row.sha256 for row in (manifest.labels, *rows)}
    if not {*REPORTS, MANIFEST} <= due.keys():
        raise InputError(f"the {CHECKSUMS} of {folder} is damaged: it lists not all reports; build it again")
    places = {name: folder / _inside(name, folder) for name in due}
    there = {name: place for name, place in places.items() if os.path.lexists(place)}
    if wrong := _differences(due, there, folder):
        raise InputError(f"{folder} is not what its {MANIFEST} and {CHECKSUMS} say: {_some(wrong)}; build it again")
    return len(due)


def _missing(due: Mapping[str, str], there: Collection[str]) -> list[str]:
    return [f"{name} is missing" for name in sorted(due) if name not in there]


def _differences(due: Mapping[str, str], there: Mapping[str, Path], folder: Path) -> list[str]:
    """Describes each fault of a folder's files in a phrase; only regular files are opened.

    Args:
        due: The checksum that each file, or folder of C sources, is to have.
        there: Paths of the files that exist, by name.
        folder: What they are below.
    """
    wrong = _missing(due, there)
    for name in sorted(due.keys() & there.keys()):
        why = _refusal(folder, name)
        if not why:
            try:
                why = "" if sha256(there[name]) == due[name] else "was changed"
            except OSError as exc:
                why = f"cannot be read ({exc.strerror})"
        if why:
            wrong.append(f"{name} {why}")
    return wrong


def _files_of(folder: Path) -> list[Path]:
    """Returns everything below a folder except folders; linked folders are not entered."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _shipped_files(folder: Path, due: Collection[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Returns the files of a bundle by name, and the folders that Python made there and that are not looked into.

    Args:
        folder: The bundle.
        due: Names of its files; a folder that holds one of them is looked into whatever it is.
    """
    files: dict[str, Path] = {}
    passed_over = []

    def fail(exc: OSError) -> None:
        raise InputError(f"{exc.filename} cannot be read: {exc.strerror}; verify it as a user who may") from exc

    for place, folders, names in os.walk(folder, onerror=fail):
        below = Path(place)
        for name in sorted(folders):
            path = below / name
            shown = path.relative_to(folder).as_posix()
            if path.is_symlink():
                files[shown] = path
                folders.remove(name)
            elif _is_pythons(path) and not any(file.startswith(f"{shown}/") for file in due):
                passed_over.append(f"{shown}/")
                folders.remove(name)
        files |= {(below / name).relative_to(folder).as_posix(): below / name for name in names}
    return files, tuple(sorted(passed_over))


def _is_pythons(path: Path) -> bool:
    """Whether Python makes such folders: its compiled files, and a virtual environment."""
    if path.name == "__pycache__":
        return all(file.suffix == ".pyc" and file.is_file() and not file.is_symlink() for file in path.iterdir())
    mark = path / "pyvenv.cfg"
    return mark.is_file() and not mark.is_symlink()


def _some(wrong: list[str]) -> str:
    """The first faults of a list, and how many more there are."""
    rest = len(wrong) - _MOST_FAULTS
    return "; ".join(wrong[:_MOST_FAULTS]) + (f"; and {rest:,} more" if rest > 0 else "")


def _refusal(folder: Path, name: str) -> str:
    """Why a file, or a folder of C sources, is not opened; "" where it is, or is not there.

    Args:
        folder: What it is below, itself as the user gave it.
        name: Its path from there.
    """
    place = folder / name
    if any(above.is_symlink() for above in (place, *place.parents) if folder in above.parents):
        return "is a symbolic link, or lies behind one, and links are not followed"
    inside = _files_of(place) if place.is_dir() else [place]
    if any(os.path.lexists(path) and (path.is_symlink() or not path.is_file()) for path in inside):
        return "is no regular file" if inside == [place] else "holds a link, a pipe or a device"
    return ""


def inventory_of(folder: Path) -> Inventory:
    """Reads the manifest.json of a build or a bundle.

    Raises:
        InputError: The folder has none that can be read.
    """
    try:
        return read_own(folder / MANIFEST, Inventory)
    except InputError as exc:
        raise InputError(f"{exc}; give the folder of a build or a bundle") from exc


def read_own(path: Path, kind: type[Noun]) -> Noun:
    """Reads a noun of a build or bundle, which is a file of its folder and no link to another."""
    return read(path, kind, follow=False)


def _inside(name: str, folder: Path) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise InputError(f"the {MANIFEST} of {folder} names {name!r}, which is outside of it")
    return name


def _read_archive(path: Path) -> tuple[Inventory, dict[str, str]]:
    """Manifest and checksums of a .tar.gz, read as a stream: nothing is unpacked, so no name can lead elsewhere."""
    sums: dict[str, str] = {}
    manifest: bytes | None = None
    tops: set[str] = set()
    try:
        with open_regular(path) as packed, gzip.open(packed) as stream:
            for entry, chunks in tar_members(stream, str(path)):
                top, _, name = entry.name.partition("/")
                tops.add(top)
                if name in sums or ".." in name.split("/") or not name or name.startswith("/") or len(tops) > 1:
                    raise InputError(
                        f"{path}: {entry.name} is there twice, or leads out of the folder; a bundle has each file "
                        "once, below one folder"
                    )
                digest, kept = hashlib.sha256(), bytearray()
                for chunk in chunks:
                    digest.update(chunk)
                    if name == MANIFEST and len(kept) <= _MANIFEST_BYTES:
                        kept += chunk
                if len(kept) > _MANIFEST_BYTES:
                    raise InputError(f"{MANIFEST} of {path} has more than {_MANIFEST_BYTES:,} bytes, the limit")
                sums[name] = digest.hexdigest()
                manifest = bytes(kept) if name == MANIFEST else manifest
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as exc:
        raise InputError(f"{path} is no .tar.gz, or is damaged: {exc}") from exc
    if manifest is None:
        raise InputError(f"{path} holds no {MANIFEST}; give the folder or .tar.gz of a bundle")
    return from_json(manifest, Inventory, f"{MANIFEST} of {path}"), sums
