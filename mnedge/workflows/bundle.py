"""`bundle`: a folder that `build` wrote, made into what an app, a board or a firmware takes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import artifact, bundles, targets, tasks
from mnedge.bundles import Parts
from mnedge.bundles._app import check_threshold
from mnedge.bundles._archive import archive_path, tar_gz_bytes
from mnedge.bundles._bundle import MANIFEST, file_rows, write_manifest
from mnedge.bundles._signature import check_key
from mnedge.bundles._signature import sign as write_signature
from mnedge.choices import DEFAULT_TASK
from mnedge.errors import InputError, UnsupportedError
from mnedge.files import write_text
from mnedge.foreign import read_file
from mnedge.formats.pixels import pixels_of
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.heads import head_of
from mnedge.pixels import CHANNELS
from mnedge.report import model_card
from mnedge.report.sbom import FILE as SBOM
from mnedge.report.sbom import render_sbom
from mnedge.report.write import REPORT
from mnedge.results.manifest import BuildManifest, BundledModel, KeptGate
from mnedge.results.report import Report
from mnedge.runtimes._runtime import TensorSpec, takes_pixels
from mnedge.workflows.release import Release, check_release, release_of
from mnedge.workflows.verify import check_build, inventory_of, read_own

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph
    from mnedge.results.manifest import BundleManifest

_LABELS_BYTES = 64 << 20


def bundle(
    built: Path | str,
    kind: str,
    out: Path | str,
    release: Release | None = None,
    *,
    sbom: bool = False,
    sign: Path | str | None = None,
    modules: Path | str | None = None,
    force: bool = False,
) -> BundleManifest:
    """Makes a bundle of a build; the folder appears whole or not at all, its archive after it.

    Args:
        built: Folder that `mnedge build` wrote.
        kind: A name of `mnedge.bundles`: android, raspberry-pi, microcontroller, onnxruntime-mobile or web.
        out: Folder of the bundle; a kind with an archive also writes `out`.tar.gz.
        release: Description of the release; None for that of the build's recipe.
        sbom: Add sbom.cdx.json, a CycloneDX 1.6 bill of materials.
        sign: Private key (PEM, elliptic curve) to sign all files with; None for no signature.
        modules: Folder node_modules whose runtime is copied into a page; None for none.
        force: Write into a folder, and over an archive, that is not an unchanged bundle of mnedge's.

    Returns:
        The bundle's manifest.json.

    Raises:
        InputError: `built` is no build or was changed since, lacks what the bundle takes, or `out` is occupied.
    """
    chosen, place, folder = bundles.get(kind), Path(out), Path(built)
    said = release_of(folder, {}) if release is None else release
    check_release(said)
    check_place(kind, place, force=force)
    if modules is not None and not chosen.takes_modules:
        raise InputError(f"a bundle of the kind {kind} holds no runtime of npm's; --with-runtime is for web")
    if sign is not None:
        check_key(Path(sign))
    parts, model = read_build(folder, said)
    parts = replace(parts, modules=None if modules is None else Path(modules), threshold=said.threshold)
    if said.threshold is not None:
        check_threshold(parts.slug, parts.task, parts.head, parts.labels)
    origin, report = read_own(folder / MANIFEST, BuildManifest), read_own(folder / REPORT, Report)
    task = tasks.get(report.task)
    described = model_card.Description(said.version, said.license, task.title, said.description, task.limits(report))
    with artifact.together(), artifact.folder(place, kind="bundle", force=force) as scratch:
        chosen.write(parts, scratch)
        write_text(scratch / model_card.FILE, model_card.render_model_card(origin, report, described))
        if sbom:
            write_text(scratch / SBOM, render_sbom(origin, report, file_rows(scratch), described))
        manifest = write_manifest(scratch, kind, parts, model, kept_gates(report))
        if sign is not None:
            write_signature(scratch, Path(sign))
        if chosen.has_archive:
            artifact.deliver(archive_path(place), tar_gz_bytes(scratch, f"{parts.slug}-{kind}"), force=force)
    return manifest


def check_place(kind: str, out: Path, *, force: bool = False) -> None:
    """Makes sure, before long work, that a bundle and its archive can be written.

    Raises:
        InputError: No such kind, what is there is not mnedge's to replace, or the parent cannot be written.
    """
    artifact.check_folder(out, kind="bundle", force=force)
    if bundles.get(kind).has_archive:
        artifact.check_file(archive_path(out), force=force)


def read_build(built: Path, release: Release) -> tuple[Parts, BundledModel]:
    """Reads what a bundle takes from a build, each file against its checksum.

    Returns:
        The parts, and what the bundle's manifest says of the model: slug and checksums, no paths of this machine.

    Raises:
        InputError: Not a build, or a file is missing or was changed.
        UnsupportedError: The model takes no pictures, or does not say what a picture is to it.
    """
    if inventory_of(built).files is not None:
        raise InputError(f"{built} is no build: its {MANIFEST} is a bundle's; give a folder that `build` wrote")
    manifest = read_own(built / MANIFEST, BuildManifest)
    check_build(built, manifest)
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
        task=str(manifest.recipe.get("task", DEFAULT_TASK)),
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


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(read_file(path, _LABELS_BYTES, follow=False).decode().split("\n")[:-1])
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} cannot be read: {exc}; build again") from exc


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
