"""READ FIRST: `search(target, …)`: arguments to settings, the steps, the account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mnedge import targets, tasks
from mnedge.amounts import bytes_of, count_of
from mnedge.artifact import check_file, check_reachable
from mnedge.choices import DEFAULT_TASK, Granularity
from mnedge.errors import BudgetError, InputError
from mnedge.workflows.search import account
from mnedge.workflows.search.candidates import RESOLUTIONS, candidates, resolutions_for
from mnedge.workflows.search.limits import Limits
from mnedge.workflows.search.steps import Settings, run_steps
from mnedge.workflows.search.timing import stopwatch
from mnedge.workflows.search.trainer import trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.data.dataset import Dataset
    from mnedge.results.search import SearchResult
    from mnedge.tasks import Task

# Outputs where neither the data nor the user says how many: ImageNet's, and the length of an embedding.
_CLASSES, _DIMENSIONS = 1000, 128


def search(
    target: str,
    *,
    data: str | None = None,
    task: str = DEFAULT_TASK,
    head: str | None = None,
    max_arena: int | str | None = None,
    max_flash: int | str | None = None,
    max_size: int | str | None = None,
    max_macs: int | str | None = None,
    max_ms: float | None = None,
    max_ram: int | str | None = None,
    variants: Sequence[str] = (),
    alphas: Sequence[float] = (),
    resolutions: Sequence[int] = (),
    granularities: Sequence[Granularity] = (),
    classes: int | None = None,
    weights: Sequence[str] = ("imagenet",),
    train: int = 4,
    epochs: int = 12,
    measure: int = 8,
    device: str | None = None,
    threads: int = 1,
    clock_mhz: float | None = None,
    cycles_per_instruction: float = 1.0,
    budget_s: float | None = None,
    check_data: bool = False,
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> SearchResult:
    """Finds the most accurate variant that fits a target.

    Candidates that cannot fit are ruled out by the compiler's own memory plan and by a latency model of a few
    measurements. The others are ranked by their ImageNet accuracy, and the best few are trained on the data.
    search.json, search.html, recipe.yaml and the trained weights are written into `out`. After Ctrl-C or at the end of
    the budget the result holds what was found so far; the same call continues from there.

    Args:
        target: Name of the target.
        data: The pictures, as the task reads them: a folder, a labels.csv or "demo"; without data nothing is trained.
        task: Task of the network.
        head: Head of the network; None for the task's first.
        max_arena: Largest arena with input and output: bytes, or text such as "256K"; None for the target's RAM.
        max_flash: Largest code and constants: bytes, or text such as "1M"; None for the target's flash.
        max_size: Largest int8 .tflite: bytes, or text such as "2M"; None for any size.
        max_macs: Most multiply-adds per picture: a number, or text such as "10M"; None for any number.
        max_ms: Longest latency, ms; None for any latency.
        max_ram: Largest arena with input, output and the stack of a run on the emulated core: bytes, or text; None for
            any size.
        variants: Families; none for all of them.
        alphas: Width multipliers; none for those that were published.
        resolutions: Sides of the input, pixels; none for 96, 128, 160, 192 and 224, and smaller ones where the
            pictures are smaller.
        granularities: Granularities of the weight scales; none for the target's own.
        classes: Number of classes, or length of an embedding; None for that of the data, or 1000.
        weights: Weights that training starts from: "imagenet", "random" or files; each variant takes the first that
            fits it.
        train: Number of variants to train.
        epochs: Epochs of the longest training.
        measure: Number of variants whose latency is measured for the latency model, at least 3.
        device: URI of the device that latency is measured on; None for this machine, or the target's emulated core.
        threads: Threads of the runtime.
        clock_mhz: Clock of the microcontroller, MHz; None for the clock of the target's typical part.
        cycles_per_instruction: Cycles per instruction of the microcontroller.
        budget_s: Seconds until the search ends with its best result so far; None for no limit.
        check_data: Read every picture again instead of trusting what the cache remembers.
        seed: Seed of the training.
        out: Folder that is written; None for artifacts/search-TARGET.
        force: Replace files that are not mnedge's own, unchanged work.
        progress: Called with the name of a step and the share of it that is done, 0..1.

    Returns:
        The variants, the chosen one first; `failure` is the error that ended the training early, and `nearest_miss`
        makes the error of a search in which nothing fits.

    Raises:
        InputError: An argument or the data cannot be used.
        UnsupportedError: A limit is on a figure that is unknown for the target.
        ToolError: A tool or a device is missing or fails.
    """
    folder = default_out(target) if out is None else Path(out)
    check_reachable(folder)
    for path in (*(folder / name for name in (account.RECIPE, account.JSON, account.PAGE)), *folder.glob("*.keras")):
        check_file(path, force=force)
    chosen = targets.get(target)
    limits = Limits(
        _or_typical(bytes_of(max_arena, "--max-arena"), chosen.ram_bytes),
        _or_typical(bytes_of(max_flash, "--max-flash"), chosen.flash_bytes),
        bytes_of(max_size, "--max-size"),
        count_of(max_macs, "--max-macs"),
        max_ms,
        bytes_of(max_ram, "--max-ram"),
    )
    chosen_task = tasks.get(task)
    if head is not None and head not in chosen_task.heads:
        raise InputError.unknown(f"head for --task {task}", head, chosen_task.heads)
    dataset = chosen_task.open_dataset(data) if data is not None else None
    if dataset is not None and check_data:
        dataset = dataset.read_again()
    for name in granularities:
        if name not in get_args(Granularity):
            raise InputError.unknown("granularity", name, get_args(Granularity))
    settings = Settings(
        target,
        candidates(
            _classes(chosen_task, dataset, data, classes),
            families=variants,
            alphas=alphas,
            resolutions=resolutions or (RESOLUTIONS if dataset is None else resolutions_for(dataset)),
            granularities=granularities or (chosen.granularity,),
            head=head or chosen_task.heads[0],
        ),
        limits,
        stopwatch(
            target,
            device=device,
            threads=threads,
            clock_mhz=clock_mhz,
            cycles_per_instruction=cycles_per_instruction,
        ),
        measured=measure,
        trained=train,
        epochs=epochs,
        budget_s=budget_s,
        task=task,
    )
    teach = None if dataset is None or not train else trainer(task, dataset, weights, epochs=epochs, seed=seed)
    found = run_steps(settings, teach, progress or (lambda _stage, _fraction: None))
    trained = teach.paths.get(found.chosen.candidate) if teach is not None and found.chosen is not None else None
    return account.write(found, settings, folder, data=data, trained=trained, force=force)


def default_out(target: str) -> Path:
    """The folder of a search for which none was named."""
    return Path("artifacts") / f"search-{target}"


def nearest_miss(result: SearchResult) -> BudgetError:
    """The error of a search in which nothing fits; it names the variant that misses its limits least."""
    miss = next((row.tradeoff for row in result.rows if row.tradeoff.name == result.nearest), None)
    if miss is None or result.stopped:
        return BudgetError("the search was stopped before anything was found that fits; run it again to go on")
    why = "; ".join(broken.text for broken in miss.broken)
    return BudgetError(
        f"no variant fits. The nearest is {miss.name}: {why}. Raise the limit, or allow smaller networks with --alpha "
        "and --resolution"
    )


def _or_typical(given: int | None, typical: int) -> int | None:
    """Returns the given limit, or that of the target's typical part; 0 stands for no limit."""
    return typical or None if given is None else given


def _classes(task: Task, dataset: Dataset | None, data: str | None, classes: int | None) -> int:
    known = None if dataset is None else task.classes(dataset)
    if known is None:
        return (_CLASSES if dataset is None else _DIMENSIONS) if classes is None else classes
    if classes not in (None, known):
        raise InputError(f"--classes {classes} does not fit {data}, which has {known}; leave it out")
    return known
