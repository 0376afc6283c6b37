"""The steps of a search in their order.

Whatever ends a search early, it ends with what it has; whatever was built, measured or trained is in the cache, so that
the same search goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from mnedge import targets
from mnedge.choices import DEFAULT_TASK
from mnedge.devices import _boards
from mnedge.errors import InputError, MnedgeError, ToolError, UnsupportedError
from mnedge.foreign import checked_number
from mnedge.models.cost import cost
from mnedge.models.variant import CLASSIFIER
from mnedge.workflows.search import latency_model
from mnedge.workflows.search.footprint import core_of, footprint, least_bytes
from mnedge.workflows.search.halving import halve, rounds
from mnedge.workflows.search.latency_model import FEWEST
from mnedge.workflows.search.limits import Broken, Limits, broken
from mnedge.workflows.search.outcome import Finding, Outcome, outcome, overshoot
from mnedge.workflows.search.published import expected_top1
from mnedge.workflows.search.timing import measure_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnedge.models import Variant
    from mnedge.workflows.search.candidates import Candidate
    from mnedge.workflows.search.halving import Trial
    from mnedge.workflows.search.timing import Stopwatch

    Progress = Callable[[str, float], None]

_NEAREST = 3


class Trainer(Protocol):
    """Trains a candidate on the user's data up to so many epochs in all; gives its score, 0..1."""

    def __call__(self, candidate: Candidate, epochs: int, progress: Callable[[float], None], /) -> float:
        """Goes on from its last round; what was trained before comes from the cache."""
        ...

    def weights_of(self, variant: Variant, /) -> object | None:
        """The weights that a variant starts from; None if there are none, and it cannot be trained."""
        ...


@dataclass(frozen=True)
class Settings:
    """Settings of a search.

    Attributes:
        target: Name of the target.
        candidates: Candidates that may be chosen.
        limits: The largest value allowed of each figure.
        watch: Determines latency.
        measured: Number of candidates that the latency model is fitted to, at least 3.
        trained: Number of candidates that are trained, the best first; 0 for none.
        epochs: Epochs of the longest training.
        budget_s: Seconds after which the search ends with what it has; None for no limit.
        task: Task of the candidates.
    """

    target: str
    candidates: Sequence[Candidate]
    limits: Limits
    watch: Stopwatch
    measured: int = 8
    trained: int = 4
    epochs: int = 12
    budget_s: float | None = None
    task: str = DEFAULT_TASK

    def __post_init__(self) -> None:
        if self.budget_s is not None:
            checked_number("--budget, in seconds,", self.budget_s)
        for name, value, least in (
            ("--measure", self.measured, FEWEST),
            ("--train", self.trained, 0),
            ("--epochs", self.epochs, 1),
        ):
            if value < least:
                raise InputError(f"{name} is {value}; it is a whole number of at least {least}")


class _OutOfTimeError(Exception):
    """The budget is spent."""


def run_steps(settings: Settings, train: Trainer | None, progress: Progress) -> Outcome:
    """Rules out, ranks, trains and chooses.

    Args:
        settings: Settings of the search.
        train: Trains on the user's data; None ranks by the published figures alone.
        progress: Called with the name of a step and the share of it that is done, 0..1.

    Returns:
        The outcome, also if Ctrl-C or the budget ended the search early.

    Raises:
        UnsupportedError: A limit is on a figure that is unknown for the target.
        ToolError: A tool or a device is missing or fails.
    """
    _check(settings)
    work = _Search(settings, progress)
    stopped: Literal["", "interrupted", "budget"] = ""
    error: MnedgeError | None = None
    try:
        work.count()
        work.time_some()
        work.compile(work.open_ones())
        work.time_borderline()
        work.time_best()
        if not any(finding.fits for finding in work.findings.values()):
            work.compile_nearest()
        elif train is not None and settings.trained:
            error = work.train(train)
    except KeyboardInterrupt:
        stopped = "interrupted"
    except _OutOfTimeError:
        stopped = "budget"
    return outcome(list(work.findings.values()), work.model, stopped, error, work.notes())


class _Search:
    """The findings so far, and the steps that add to them."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self.settings = settings
        self.report = progress
        self.model: latency_model.LatencyModel | None = None
        self.findings: dict[Candidate, Finding] = {}
        self.said: list[str] = []
        self.deadline = None if settings.budget_s is None else time.monotonic() + settings.budget_s

    def progress(self, stage: str, fraction: float) -> None:
        """Reports progress; ends the search once its time is over."""
        self.report(stage, fraction)
        if self.deadline is not None and time.monotonic() > self.deadline and fraction < 1:
            raise _OutOfTimeError

    def count(self) -> None:
        """Counts multiply-adds and parameters, looks accuracy up, and rules out by the size of the weights."""
        for candidate in self.settings.candidates:
            expected = expected_top1(candidate.variant)
            # The tables count classifiers; another head is counted where it is compiled.
            counted = cost(candidate.variant) if candidate.variant.head == CLASSIFIER else None
            self.findings[candidate] = Finding(
                candidate,
                None if counted is None else counted.macs,
                None if counted is None else counted.parameters,
                expected,
            )
            self._apply_limits(candidate)
            least = least_bytes(candidate.variant)
            bounds = {"flash_bytes": least, "size_bytes": least}
            if targets.get(self.settings.target).accelerator:
                # Vela compresses weights.
                bounds = {}
            self._rule_out(candidate, broken(self.settings.limits, bounds, is_least=True))

    def open_ones(self) -> list[Candidate]:
        """The candidates that are not ruled out, the most accurate first: an early end then has seen the best."""
        left = [finding for finding in self.findings.values() if not finding.broken]
        left.sort(key=lambda finding: (-finding.expected.top1, finding.macs or 0))
        return [finding.candidate for finding in left]

    def time_some(self) -> None:
        """Measures a few candidates, predicts the others, and excludes those that are surely too slow."""
        watch, left = self.settings.watch, self.open_ones()
        if watch.kind in ("none", "estimate") or not left:
            return
        chosen = latency_model.spread([candidate.variant for candidate in left], self.settings.measured)
        handful = [next(one for one in left if one.variant == variant) for variant in chosen]
        measured = self._measure(handful, "measure latency of a few")
        self.model = latency_model.fit({candidate.variant: ms for candidate, ms in measured.items()})
        for candidate in left:
            if candidate not in measured:
                predicted = self.model.predict_ms(candidate.variant)
                self._update(candidate, latency_ms=predicted, latency_source="model")
                self._apply_limits(candidate)

    def compile(self, wanted: Iterable[Candidate], stage: str = "compile what may fit") -> None:
        """Compiles candidates for their exact arena and flash."""
        todo = list(wanted)
        with_stack = self.settings.limits.max_ram_bytes is not None and bool(targets.get(self.settings.target).kernels)
        for place, candidate in enumerate(todo):
            self.progress(stage, place / len(todo))
            taken = footprint(candidate, self.settings.target, with_stack=with_stack)
            if taken.estimate_ms is not None:
                self._update(candidate, latency_ms=taken.estimate_ms, latency_source="measured")
            if taken.macs is not None:
                self._update(candidate, macs=taken.macs, parameters=taken.parameters)
            self._update(candidate, footprint=taken)
            self._apply_limits(candidate)
        self.progress(stage, 1.0)

    def time_borderline(self) -> None:
        """Measures the candidates that may be on either side of the limit, given the model's error."""
        doubtful = [
            candidate
            for candidate in self.open_ones()
            if self.findings[candidate].latency_source == "model"
            and self._is_borderline(self.findings[candidate].latency_ms or 0.0)
        ]
        for place, candidate in enumerate(doubtful):
            self.progress("measure latency near the limit", place / len(doubtful))
            self._measure([candidate], "")
        if doubtful:
            self.progress("measure latency near the limit", 1.0)

    def compile_nearest(self) -> None:
        """Compiles the nearest misses that were ruled out before, so that their figures are exact."""
        out = [finding for finding in self.findings.values() if finding.broken and finding.footprint is None]
        out.sort(key=overshoot)
        self.compile([finding.candidate for finding in out[:_NEAREST]], "compile the nearest misses")

    def time_best(self) -> None:
        """Measures the best candidates that fit, so that no choice rests on the model."""
        while self.settings.watch.kind != "none":
            best = [candidate for candidate in self.open_ones() if self.findings[candidate].fits]
            best = best[: max(1, self.settings.trained)]
            unsure = [candidate for candidate in best if self.findings[candidate].latency_source == "model"]
            if not unsure:
                return
            self._measure(unsure, "measure latency of the best")

    def train(self, train: Trainer) -> MnedgeError | None:
        """Trains the best that fit by successive halving; returns the error that ended it early, if any."""
        fitting = [candidate for candidate in self.open_ones() if self.findings[candidate].fits]
        arms = [candidate for candidate in fitting if train.weights_of(candidate.variant) is not None]
        if len(arms) < len(fitting):
            self.said.append(
                f"{len(fitting) - len(arms)} of {len(fitting)} that fit were not trained: no weights for them."
            )
        arms = arms[: self.settings.trained]
        total = sum(size * epochs for size, epochs in rounds(len(arms), self.settings.epochs))
        done = 0

        def run(candidate: Candidate, epochs: int) -> float:
            def report(share: float) -> None:
                self.progress("train the best", min((done + share * epochs) / total, 0.999))

            report(0.0)
            return train(candidate, epochs, report)

        def finished(trial: Trial[Candidate]) -> None:
            nonlocal done
            done += trial.epochs
            self._update(trial.arm, trials=(*self.findings[trial.arm].trials, trial))

        try:
            halve(arms, self.settings.epochs, run, finished)
        except MnedgeError as exc:
            # The findings so far are not lost with it.
            return exc
        self.progress("train the best", 1.0)
        return None

    def notes(self) -> list[str]:
        """Notes on the figures: how latency was determined, and which variants were not trained."""
        proxy = (
            ()
            if self.settings.task == DEFAULT_TASK
            else ("Variants are ranked by ImageNet top-1 of their backbone before they are trained.",)
        )
        return [f"Latency: {self.settings.watch.words}.", *proxy, *self.said]

    def _measure(self, candidates: Sequence[Candidate], stage: str) -> dict[Candidate, float]:
        def report(share: float) -> None:
            if stage:
                self.progress(stage, share)

        measured = measure_ms(self.settings.watch, candidates, report)
        for candidate, milliseconds in measured.items():
            self._update(candidate, latency_ms=milliseconds, latency_source="measured")
            self._apply_limits(candidate)
        return measured

    def _is_borderline(self, predicted_ms: float) -> bool:
        limit, model = self.settings.limits.max_ms, self.model
        if limit is None or model is None:
            return False
        error = model.worst_error if model.worst_error is not None else 1.0
        return predicted_ms * (1 - error) <= limit <= predicted_ms * (1 + error)

    def _apply_limits(self, candidate: Candidate) -> None:
        finding = self.findings[candidate]
        figures = finding.figures()
        is_doubtful = finding.latency_source == "model" and self._is_borderline(finding.latency_ms or 0.0)
        if is_doubtful:
            figures["latency_ms"] = None
        kept = tuple(one for one in finding.broken if one.is_least and figures[one.limit.removeprefix("max_")] is None)
        found = (*kept, *broken(self.settings.limits, figures))
        self._update(candidate, broken=found, is_doubtful=is_doubtful)

    def _rule_out(self, candidate: Candidate, found: tuple[Broken, ...]) -> None:
        if found:
            self._update(candidate, broken=(*self.findings[candidate].broken, *found))

    def _update(self, candidate: Candidate, **changes: object) -> None:
        self.findings[candidate] = replace(self.findings[candidate], **changes)  # type: ignore[arg-type]


def _check(settings: Settings) -> None:
    target, limits = targets.get(settings.target), settings.limits
    if not settings.candidates:
        raise InputError("there is nothing to search: no family, width and resolution is left")
    is_compiled = bool(target.kernels or target.accelerator)
    memories = (
        ("--max-arena", limits.max_arena_bytes),
        ("--max-ram", limits.max_ram_bytes),
        ("--max-flash", limits.max_flash_bytes),
    )
    for name, limit in memories:
        if limit is not None and not is_compiled:
            raise UnsupportedError(
                f"{name}: what {settings.target} takes of memory is its runtime's affair; give --max-size for the "
                ".tflite, or a target that is compiled for, e.g. cortex-m7"
            )
    if limits.max_flash_bytes is not None and target.kernels and "arm-none-eabi-gcc" in _boards.missing_tools():
        raise ToolError(f"--max-flash is measured with arm-none-eabi-gcc, which is not on PATH; {_boards.ADVICE}")
    missing = _boards.missing_tools(core_of(settings.target)) if target.kernels else ()
    if limits.max_ram_bytes is not None and missing:
        raise ToolError(f"--max-ram is measured on an emulated core, for which {missing} is missing; {_boards.ADVICE}")
    if limits.max_ms is not None and settings.watch.kind == "none":
        raise UnsupportedError(
            f"--max-ms: {settings.target} has no device here; give --device qemu://cortex-m4 and --clock-mhz"
        )
