"""READ FIRST: `build(recipe)`, the stages in their order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnedge import artifact, job, measure, preflight, stages
from mnedge.artifact import Artifact
from mnedge.report.write import REPORTS, write_reports
from mnedge.ship import Release, check_place, ship
from mnedge.validation.baseline import baseline_rows, read_baseline
from mnedge.validation.locked import check_tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.job import Job
    from mnedge.recipe import Recipe

_LABELS = "labels.txt"
_BUNDLES = "bundles"


def build(
    recipe: Recipe,
    out: Path | None,
    progress: Callable[[str, float], None],
    *,
    baseline: Path | None = None,
    lock: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Builds, measures and writes all that a recipe asks for.

    Args:
        recipe: What to build.
        out: Folder of the artifacts; None for artifacts/SLUG.
        progress: Told the name of a stage and the share of it that is done, 0..1.
        baseline: report.json of an earlier build that this one is held against; None for none.
        lock: manifest.json whose tool versions are demanded; Path() for the one in `out`; None for any versions.
        force: Replace files in `out` that are not mnedge's own, unchanged work; files of other names stay anyway.

    Returns:
        The report, as written to report.json; its gates may have failed.

    Raises:
        MnedgeError: A stage cannot do its work; nothing half-written is left in `out`.
    """
    if out is not None:
        # Before the data is opened: a place that cannot be written is the cheapest thing to find out.
        artifact.check_reachable(out)
    work = job.resolve(recipe)
    folder = out or Path("artifacts") / work.slug
    _check_vacant(work, folder, force=force)
    preflight.check(work, folder)
    if lock is not None:
        check_tools(folder / "manifest.json" if lock == Path() else lock)
    before = None if baseline is None else read_baseline(baseline, work.slug)
    float_tflite = stages.float_model(work, progress)
    shipped = stages.with_passes(float_tflite, stages.post_passes(work, "tflite"))
    found = [
        (shipped, Artifact(Path(f"{work.slug}.fp32.tflite"), "tflite", "fp32", "float32", recipe.targets[0])),
    ]
    if any("onnx" in target.formats for target in work.targets.values()):
        float_onnx = stages.onnx_model(float_tflite, "uint8", stages.post_passes(work, "onnx"))
        name = Path(f"{work.slug}.fp32.onnx")
        found.append((float_onnx, Artifact(name, "onnx", "fp32", "float32", recipe.targets[0])))
    accounts: list[dict[str, Any]] = []
    if recipe.int8:
        int8, accounts = stages.int8_artifacts(work, float_tflite, progress)
        found += int8
    placed = _place(found, folder, work.labels(), force=force)
    report, details = measure.measure(work, placed, accounts, progress)
    if before is not None:
        report["gates"] += baseline_rows(report, before, recipe.tolerances)
    write_reports(folder, report, details, force=force)
    for kind in recipe.bundles:
        ship(folder, kind, folder / _BUNDLES / kind, Release(), force=force)
    return report


def _check_vacant(work: Job, folder: Path, *, force: bool) -> None:
    """Makes sure, before the first stage, that what will be written replaces nothing of the user's."""
    artifact.check_reachable(folder)
    names = [_LABELS, *REPORTS, *(f"{work.slug}.*{ending}" for ending in (".tflite", ".onnx"))]
    for path in sorted(path for name in names for path in folder.glob(name)):
        artifact.check_file(path, force=force)
    for name in work.targets:
        artifact.check_folder(folder / f"{work.slug}.{name}", kind="compiled model", force=force)
    for kind in work.recipe.bundles:
        check_place(kind, folder / _BUNDLES / kind, force=force)


def _place(found: list[tuple[Path, Artifact]], folder: Path, labels: list[str], *, force: bool) -> list[Artifact]:
    """Copies artifacts from the cache to where they ship from; each appears whole."""
    placed = []
    for source, made in found:
        path = folder / made.path
        if source.is_dir():
            artifact.copy_folder(source, path, kind="compiled model", force=force)
        else:
            artifact.deliver(path, source.read_bytes(), force=force)
        placed.append(Artifact(path, made.format, made.precision, made.io, made.target))
    artifact.deliver(folder / _LABELS, "".join(f"{label}\n" for label in labels), force=force)
    return placed
