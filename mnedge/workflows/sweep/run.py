"""READ FIRST: `sweep(recipe, over, …)`: arguments to settings, the steps, the account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.recipe import Recipe, load
from mnedge.workflows.sweep import account
from mnedge.workflows.sweep.grid import points
from mnedge.workflows.sweep.processes import cores
from mnedge.workflows.sweep.steps import Settings, run_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.results.sweep import SweepResult
    from mnedge.workflows.sweep.grid import Value


def sweep(
    recipe: Recipe | Path | str,
    over: Mapping[str, Sequence[Value]],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    shard: int = 500,
    device: str | None = None,
    check_data: bool = False,
    out: Path | str | None = None,
    force: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> SweepResult:
    """Builds a recipe with every combination of some values and evaluates the artifacts.

    The work is shared by processes on this machine, or by the workers of a Dask cluster. The artifacts, sweep.json and
    sweep.html are written into `out`. After Ctrl-C the result holds what was found so far; the same call continues
    from there.

    Args:
        recipe: The recipe, its file, or the name of one that comes with mnedge.
        over: Values by key of the recipe, e.g. {"alpha": (0.35, 0.5), "resolution": (96, 128)}.
        workers: Number of processes on this machine; None for one per two cores.
        scheduler: Address of a Dask scheduler, e.g. "tcp://10.0.0.1:8786"; None for processes on this machine.
        shard: Number of pictures that a worker evaluates at a time.
        device: URI of the device that latency is measured on; "" for no measurement; None for this machine, or for no
            measurement with `scheduler`.
        check_data: Read every picture again instead of trusting what the cache remembers.
        out: Folder that is written; None for artifacts/sweep-RECIPE.
        force: Replace files that are not mnedge's own, unchanged work.
        progress: Called with the name of a step and the share of it that is done, 0..1.

    Returns:
        The points, the best first; `error` of a row says why that point failed.

    Raises:
        InputError: An argument, the recipe or the data cannot be used; nothing was started then.
        ToolError: The scheduler, its workers or the device cannot be had.
    """
    base = recipe if isinstance(recipe, Recipe) else load(str(recipe))
    settings = Settings(
        points(base, over),
        default_out(recipe) if out is None else Path(out),
        scheduler,
        max(1, cores() // 2) if workers is None else workers,
        shard,
        device if device is not None else "" if scheduler else "local",
        check_data=check_data,
        force=force,
    )
    report = progress or (lambda _stage, _fraction: None)
    swept = run_steps(settings, report)
    latency_ms = {} if swept.is_interrupted else account.latencies(swept, settings, report)
    return account.write(swept, settings, latency_ms, recipe=_name(recipe))


def default_out(recipe: Recipe | Path | str) -> Path:
    """The folder of a sweep for which none was named."""
    return Path("artifacts") / f"sweep-{_name(recipe)}"


def _name(recipe: Recipe | Path | str) -> str:
    return recipe.variant if isinstance(recipe, Recipe) else Path(recipe).stem
