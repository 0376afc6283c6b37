"""READ FIRST: `build(recipe)`, the stages in their order."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import artifact
from mnedge.artifact import Artifact
from mnedge.choices import CONSTRAINTS
from mnedge.files import copy, write_text
from mnedge.foreign import is_folder
from mnedge.progress import telling
from mnedge.recipe import Recipe, load
from mnedge.report.write import write_reports
from mnedge.validation.baseline import baseline_rows, read_baseline
from mnedge.validation.gates import gate_rows
from mnedge.validation.locked import check_locked, check_tools
from mnedge.workflows.build import job, measure, preflight, stages
from mnedge.workflows.bundle import bundle

if TYPE_CHECKING:
    from mnedge.progress import Progress
    from mnedge.results.report import Report


def build(
    recipe: Recipe | Path | str,
    out: Path | str | None = None,
    progress: Progress | None = None,
    *,
    baseline: Path | str | None = None,
    locked: bool = False,
    locked_to: Path | str | None = None,
    check_data: bool = False,
    force: bool = False,
) -> Report:
    """Builds, measures and writes all that a recipe asks for.

    Args:
        recipe: Recipe to build: a Recipe, the name of one that comes with mnedge, or a YAML file.
        out: Folder of the artifacts; None for artifacts/SLUG.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        baseline: report.json of an earlier build that this one is held against; None for none.
        locked: Refuse other tool versions than manifest.json in `out` has; where there is none, than the constraints
            file of `lock` in the current folder has.
        locked_to: Refuse other tool versions than this manifest.json, or constraints file, has.
        check_data: Read every file of the data again, whatever the cache remembers of it.
        force: Replace files in `out` that are not mnedge's own, unchanged work; files of other names stay anyway.

    Returns:
        The report, as written to report.json; its gates may have failed.

    Raises:
        MnedgeError: A stage cannot do its work; `out` is what it was before.
    """
    notify = telling(progress)
    wanted = recipe if isinstance(recipe, Recipe) else load(str(recipe))
    if out is not None:
        # Before the data is opened: a place that cannot be written is the cheapest thing to find out.
        artifact.check_folder(Path(out), kind="build", force=force)
    work = job.resolve(wanted, notify, check_data=check_data)
    folder = Path(out) if out is not None else Path("artifacts") / work.slug
    artifact.check_folder(folder, kind="build", force=force)
    preflight.check(work, folder)
    if locked or locked_to is not None:
        if locked_to is None:
            check_locked(folder / "manifest.json", Path(CONSTRAINTS))
        else:
            check_tools(Path(locked_to))
    before = None if baseline is None else read_baseline(Path(baseline), work.slug)
    found, accounts = stages.artifacts(work, notify)
    # The models, what was measured of them and the bundles appear together, in place of an older build.
    with artifact.folder(folder, kind="build", force=force) as scratch:
        placed = _place(found, scratch, work.labels())
        measured, details = measure.measure(work, placed, accounts, notify)
        gates = gate_rows(measured, wanted.gates)
        if before is not None:
            gates += baseline_rows(measured, before, wanted.tolerances)
        report = replace(measured, gates=gates)
        labels = scratch / artifact.LABELS
        manifest = measure.manifest(work, report.artifacts, labels, quantized=bool(accounts))
        write_reports(scratch, report, details, manifest)
        # A build that broke a gate is not shipped.
        for kind in wanted.bundles if all(gate.passed for gate in gates) else ():
            bundle(scratch, kind, scratch / "bundles" / kind)
    return report


def _place(found: list[tuple[Path, Artifact]], folder: Path, labels: list[str]) -> list[Artifact]:
    """Copies artifacts from the cache into the folder that will ship."""
    placed = []
    for source, made in found:
        path = folder / made.path
        if is_folder(source):
            shutil.copytree(source, path)
        else:
            copy(source, path)
        placed.append(Artifact(path, made.format, made.precision, made.io, made.target))
    write_text(folder / artifact.LABELS, "".join(f"{label}\n" for label in labels))
    return placed
