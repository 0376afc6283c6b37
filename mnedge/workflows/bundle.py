"""`bundle`: a folder that `build` wrote, made into what an app, a board or a firmware takes; `verify` checks it."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import artifact, bundles, targets
from mnedge.bundles import Parts
from mnedge.bundles._android_runtimes import flavour
from mnedge.bundles._archive import tar_gz_bytes, tar_members
from mnedge.bundles._bundle import MANIFEST, file_rows, write_manifest
from mnedge.bundles._signature import SIGNATURE, check_key, check_signature
from mnedge.bundles._signature import sign as write_signature
from mnedge.errors import InputError, UnsupportedError
from mnedge.foreign import is_folder, open_regular, read_file
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.heads import head_of
from mnedge.pixels import CHANNELS
from mnedge.recipe import known_release
from mnedge.report import model_card
from mnedge.report.sbom import FILE as SBOM
from mnedge.report.sbom import render_sbom
from mnedge.report.write import CHECKSUMS, REPORT, REPORTS
from mnedge.results.manifest import BuildManifest, BundledModel, Checksums, Inventory, KeptGate, Verified
from mnedge.results.report import Report
from mnedge.results.stored import from_json, read
from mnedge.runtimes._runtime import TensorSpec, takes_pixels

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mnedge.bundles._android_runtimes import AndroidRuntime
    from mnedge.graph.graph import Graph
    from mnedge.results.manifest import BundleManifest
    from mnedge.results.stored import Noun

_GROUP = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*", re.ASCII)
# Words that no part of a Java package can be (JLS 3.9).
_JAVA_WORDS = frozenset(
    "abstract assert boolean break byte case catch char class const continue default do double else enum extends false "  # noqa: SIM905 - read as a line
    "final finally float for goto if implements import instanceof int interface long native new null package private "
    "protected public return short static strictfp super switch synchronized this throw throws transient true try void "
    "volatile while".split()
)
_MANIFEST_BYTES = 16 << 20
_LABELS_BYTES = 64 << 20
_MOST_FAULTS = 10
_UNSTATED = "see the licences of the weights and of the data they were trained on"


@dataclass(frozen=True)
class Release:
    """A maker's description of a bundle.

    Attributes:
        group: Maven group, lower-case words with dots.
        version: Version of the bundle.
        license: Licence of the weights, as text.
        description: A sentence on what the model is for, for the model card; "" for none.
        target: The one microcontroller to ship where the build has C for several; "" for all, a folder each.
        runtime: Runtime of an Android app: MediaPipe Tasks, LiteRT's CompiledModel or ONNX Runtime.
    """

    group: str = "models.mnedge"
    version: str = "1.0.0"
    license: str = _UNSTATED
    description: str = ""
    target: str = ""
    runtime: AndroidRuntime = "tasks"


def release_of(built: Path | str, said: Mapping[str, str], **chosen: str) -> Release:
    """Gives what the maker says of a bundle, else what the recipe of the build says, else the defaults.

    Args:
        built: Folder that `build` wrote.
        said: What the maker says of the release, by key of the recipe's `release`.
        chosen: Further values of `Release`: target and runtime.

    Raises:
        InputError: `built` is no build, or says something else than text of its release.
    """
    recipe = _read(Path(built) / MANIFEST, BuildManifest).recipe
    written = recipe.get("release", {})
    if not isinstance(written, dict) or not all(isinstance(text, str) for text in written.values()):
        raise InputError(f"release of the recipe in {Path(built) / MANIFEST} is no mapping of texts; build it again")
    return described_release({**written, **said}, **chosen)


def described_release(said: Mapping[str, str], **chosen: str) -> Release:
    """Gives the release that a mapping such as a recipe's `release` describes.

    Raises:
        InputError: An entry is unknown, or is none that a bundle can carry.
    """
    if unknown := sorted(said.keys() - known_release().keys()):
        raise InputError.unknown("entry of release", unknown[0], known_release())
    release = Release(**said, **chosen)  # type: ignore[arg-type] # the runtime is checked
    _check(release)
    return release


def bundle(
    built: Path | str,
    kind: str,
    out: Path | str,
    release: Release | None = None,
    *,
    sbom: bool = False,
    sign: Path | str | None = None,
    force: bool = False,
) -> BundleManifest:
    """Makes a bundle of a build; the folder appears whole or not at all, its archive after it.

    Args:
        built: Folder that `mnedge build` wrote.
        kind: A name of `mnedge.bundles`: android, raspberry-pi, microcontroller or onnxruntime-mobile.
        out: Folder of the bundle; a kind with an archive also writes `out`.tar.gz.
        release: Description of the release; None for that of the build's recipe.
        sbom: Add sbom.cdx.json, a CycloneDX 1.6 bill of materials.
        sign: Private key (PEM, elliptic curve) to sign all files with; None for no signature.
        force: Write into a folder, and over an archive, that is not an unchanged bundle of mnedge's.

    Returns:
        The bundle's manifest.json.

    Raises:
        InputError: `built` is no build or was changed since, lacks what the bundle takes, or `out` is occupied.
    """
    chosen, place, folder = bundles.get(kind), Path(out), Path(built)
    said = release_of(folder, {}) if release is None else release
    _check(said)
    check_place(kind, place, force=force)
    if sign is not None:
        check_key(Path(sign))
    parts, model = read_build(folder, said)
    origin, report = _read(folder / MANIFEST, BuildManifest), _read(folder / REPORT, Report)
    texts = {"version": said.version, "terms": said.license, "description": said.description}
    with artifact.folder(place, kind="bundle", force=force) as scratch:
        chosen.write(parts, scratch)
        artifact.write_text(scratch / model_card.FILE, model_card.render_model_card(origin, report, **texts))
        if sbom:
            materials = render_sbom(origin, report, file_rows(scratch), **texts)
            artifact.write_text(scratch / SBOM, materials)
        manifest = write_manifest(scratch, kind, parts, model, kept_gates(report))
        if sign is not None:
            write_signature(scratch, Path(sign))
        packed = tar_gz_bytes(scratch, f"{parts.slug}-{kind}") if chosen.has_archive else b""
    if chosen.has_archive:
        artifact.deliver(archive_path(place), packed, force=force)
    return manifest


def check_place(kind: str, out: Path, *, force: bool = False) -> None:
    """Makes sure, before long work, that a bundle and its archive can be written.

    Raises:
        InputError: No such kind, what is there is not mnedge's to replace, or the parent cannot be written.
    """
    artifact.check_folder(out, kind="bundle", force=force)
    if bundles.get(kind).has_archive:
        artifact.check_file(archive_path(out), force=force)


def archive_path(out: Path) -> Path:
    """Returns the path of a bundle's .tar.gz, which lies beside the folder."""
    return out.with_name(f"{out.name}.tar.gz")


def read_build(built: Path, release: Release) -> tuple[Parts, BundledModel]:
    """Reads what a bundle takes from a build, each file against its checksum.

    Returns:
        The parts, and what the bundle's manifest says of the model: slug and checksums, no paths of this machine.

    Raises:
        InputError: Not a build, or a file is missing or was changed.
        UnsupportedError: The model takes no pictures, or does not say what a picture is to it.
    """
    if _inventory_of(built).files is not None:
        raise InputError(f"{built} is no build: its {MANIFEST} is a bundle's; give a folder that `build` wrote")
    manifest = _read(built / MANIFEST, BuildManifest)
    _check_build(built, manifest)
    int8 = [row for row in manifest.artifacts if row.precision == "int8"]
    tflite = [row for row in int8 if row.format == "tflite"]
    # Where a build has several, the phone's: what is lowered for a microcontroller is not what a phone runs best.
    tflite.sort(key=lambda row: "onnx" not in targets.get(row.target).formats)
    if not tflite:
        raise InputError(f"{built} has no int8 .tflite to ship; build it with --int8")
    # The boards are Arm, for which int8 activations are what ONNX Runtime fuses.
    onnx = sorted(
        (row for row in int8 if row.format == "onnx"),
        key=lambda row: targets.get(row.target).onnx_activations != "int8",
    )
    sources = {row.target: built / row.path for row in int8 if row.format == "c"}
    if release.target:
        if release.target not in sources:
            raise InputError.unknown("C target of this build", release.target, sources)
        sources = {release.target: sources[release.target]}
    model = built / tflite[0].path
    pixels = pixels_of(model)
    graph = parse_tflite(_with_ends(model, "int8"), str(model))
    source = graph.tensors[graph.inputs[0]]
    if pixels is None or len(source.shape) != 4 or source.shape[-1] != CHANNELS[pixels.order]:
        shape = "x".join(map(str, source.shape))
        raise UnsupportedError(
            f"{model} does not say what a picture is to its input of {shape}, and bundles are of models that take "
            "pictures; build it from labelled pictures, with --pixels where the model does not say its range, or ship "
            "the model itself"
        )
    parts = Parts(
        slug=manifest.slug,
        # Builds from before there were other tasks do not say.
        task=str(manifest.recipe.get("task", "classify")),
        size=(source.shape[1], source.shape[2]),
        pixels=pixels,
        takes_pixels=takes_pixels(TensorSpec(source.name, source.shape, source.dtype, source.quantization), pixels),
        head=head_of(graph, graph.outputs[0]),
        labels=_labels(built / artifact.LABELS),
        preprocessing=manifest.dataset.preprocessing,
        tools=manifest.tools,
        tflite=partial(_with_ends, model),
        onnx=built / onnx[0].path if onnx else None,
        sources=sources,
        group=release.group,
        version=release.version,
        license=release.license,
        runtime=release.runtime,
    )
    origin = BundledModel(manifest.slug, manifest.weights_sha256, manifest.calibration_sha256, manifest.artifacts)
    return parts, origin


def kept_gates(report: Report) -> tuple[KeptGate, ...]:
    """Lists the gates of a build and whether it kept them, without what was measured."""
    return tuple(KeptGate(gate.name, gate.limit, gate.passed) for gate in report.gates)


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
        inventory = _inventory_of(place)
        if inventory.files is None:
            if key is not None:
                raise InputError(f"{place} is a build, and bundles are signed; verify the bundle with the key")
            return _verify_build(place, _read(place / MANIFEST, BuildManifest))
        due = {row.path: row.sha256 for row in inventory.files}
        files, passed_over = _shipped_files(place, due)
        wrong, names = _differences(due, files, place), set(files)
    own = {MANIFEST, artifact.RECORD, SIGNATURE}
    wrong += [f"{name} does not belong to it" for name in sorted(names - due.keys() - own)]
    if wrong:
        raise InputError(f"{place} is not what its {MANIFEST} says: {_some(wrong)}; make it again")
    if key is not None:
        check_signature(place, Path(key))
    broken = tuple(gate.name for gate in inventory.gates if not gate.passed)
    return Verified(str(place), inventory.bundle, inventory.slug, len(due), broken, key is not None, passed_over)


def _verify_build(folder: Path, manifest: BuildManifest) -> Verified:
    """Checks a build and the bundles that its recipe asked for."""
    files = _check_build(folder, manifest)
    kinds = manifest.recipe.get("bundles", [])
    if not isinstance(kinds, (list, tuple)) or not all(isinstance(kind, str) for kind in kinds):
        raise InputError(f"bundles of the recipe in {folder / MANIFEST} is no list of names; build it again")
    report = _read(folder / REPORT, Report)
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


def _check_build(folder: Path, manifest: BuildManifest) -> int:
    """Checks what `build` wrote, without bundles; gives the number of files and folders that were checked."""
    if manifest.labels is None or manifest.labels.path != artifact.LABELS:
        raise InputError(f"{folder / MANIFEST} does not list {artifact.LABELS}; build it again")
    rows = _read(folder / CHECKSUMS, Checksums).files
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
                why = "" if artifact.sha256(there[name]) == due[name] else "was changed"
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


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(read_file(path, _LABELS_BYTES, follow=False).decode().split("\n")[:-1])
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} cannot be read: {exc}; build again") from exc


def _inventory_of(folder: Path) -> Inventory:
    try:
        return _read(folder / MANIFEST, Inventory)
    except InputError as exc:
        raise InputError(f"{exc}; give the folder of a build or a bundle") from exc


def _read(path: Path, kind: type[Noun]) -> Noun:
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


def _check(release: Release) -> None:
    if not _GROUP.fullmatch(release.group):
        raise InputError(
            f"--group {release.group!r} is no Maven group; give lower-case words with dots: com.example.ml"
        )
    if words := sorted(_JAVA_WORDS & set(release.group.split("."))):
        raise InputError(
            f"--group {release.group!r} holds {', '.join(words)}, which Java keeps for itself, so no Android package "
            f"can have it; write e.g. {words[0]}_"
        )
    flavour(release.runtime)
    if not _VERSION.fullmatch(release.version):
        raise InputError(f"--version {release.version!r} is no version; give e.g. 1.0.0")


def _with_ends(path: Path, io: Literal["int8", "uint8", "float32"]) -> bytes:
    from mnedge.quantization.io import with_io

    return write_tflite(with_io(_int8_ends(parse_tflite(path.read_bytes(), str(path))), io))


def _int8_ends(graph: Graph) -> Graph:
    """Takes the QUANTIZE and DEQUANTIZE off that `--io` put at the ends of an int8 graph."""
    inputs, outputs, dropped = list(graph.inputs), list(graph.outputs), []
    consumers, producers = graph.consumers(), graph.producers()
    for number, name in enumerate(inputs):
        readers = consumers[name]
        is_end = len(readers) == 1 and readers[0].kind == "QUANTIZE" and graph.tensors[name].dtype != "int8"
        if is_end and graph.tensors[readers[0].outputs[0]].dtype == "int8":
            inputs[number] = readers[0].outputs[0]
            dropped.append(readers[0])
    for number, name in enumerate(outputs):
        op = producers.get(name)
        if op is None or op.kind not in ("QUANTIZE", "DEQUANTIZE") or graph.tensors[name].dtype == "int8":
            continue
        source = op.inputs[0]
        if source is not None and graph.tensors[source].dtype == "int8":
            outputs[number] = source
            dropped.append(op)
    return graph.replaced(ops=[op for op in graph.ops if op not in dropped], inputs=inputs, outputs=outputs)
