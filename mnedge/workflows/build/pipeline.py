"""READ FIRST: `build(recipe)`, the stages in their order."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnedge import artifact
from mnedge.artifact import Artifact
from mnedge.report.write import write_reports
from mnedge.workflows.build import job, measure, preflight, stages
from mnedge.workflows.bundle import Release, ship
from mnedge.validation.baseline import baseline_rows, read_baseline
from mnedge.validation.locked import check_tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.workflows.build.job import Job
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
    check_data: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Builds, measures and writes all that a recipe asks for.

    Args:
        recipe: What to build.
        out: Folder of the artifacts; None for artifacts/SLUG.
        progress: Told the name of a stage and the share of it that is done, 0..1.
        baseline: report.json of an earlier build that this one is held against; None for none.
        lock: manifest.json whose tool versions are demanded; Path() for the one in `out`; None for any versions.
        check_data: Read every file of the data again, whatever the cache remembers of it.
        force: Replace files in `out` that are not mnedge's own, unchanged work; files of other names stay anyway.

    Returns:
        The report, as written to report.json; its gates may have failed.

    Raises:
        MnedgeError: A stage cannot do its work; `out` is what it was before.
    """
    if out is not None:
        # Before the data is opened: a place that cannot be written is the cheapest thing to find out.
        artifact.check_reachable(out)
    work = job.resolve(recipe, check_data=check_data)
    folder = out or Path("artifacts") / work.slug
    artifact.check_folder(folder, kind="build", force=force)
    preflight.check(work, folder)
    if lock is not None:
        check_tools(folder / "manifest.json" if lock == Path() else lock)
    before = None if baseline is None else read_baseline(baseline, work.slug)
    found, accounts = stages.artifacts(work, progress)
    # The models, what was measured of them and the bundles appear together, in place of an older build.
    with artifact.folder(folder, kind="build", force=force) as scratch:
        placed = _place(found, scratch, work.labels())
        report, details = measure.measure(work, placed, accounts, progress)
        if before is not None:
            report["gates"] += baseline_rows(report, before, recipe.tolerances)
        write_reports(scratch, report, details)
        for kind in recipe.bundles:
            ship(scratch, kind, scratch / "bundles" / kind, Release())
    return report


def _place(found: list[tuple[Path, Artifact]], folder: Path, labels: list[str]) -> list[Artifact]:
    """Copies artifacts from the cache into the folder that will ship."""
    placed = []
    for source, made in found:
        path = folder / made.path
        if source.is_dir():
            shutil.copytree(source, path)
        else:
            artifact.copy(source, path)
        placed.append(Artifact(path, made.format, made.precision, made.io, made.target))
    artifact.write_text(folder / artifact.LABELS, "".join(f"{label}\n" for label in labels))
    return placed
