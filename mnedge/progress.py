"""Progress of long work: a function that is told the name of a stage and the share of it that is done, 0..1."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from mnedge.text import line

Progress = Callable[[str, float], None]
# Its records are for MNEDGE_LOG: people see the stages already.
log = logging.getLogger(__name__)


class Lines:
    """Progress without a terminal: a line on standard error at the end of each stage, with its time."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        """Prints the line of a stage that has ended."""
        now = time.monotonic()
        started = self.started.setdefault(stage, now)
        if fraction >= 1.0 and started >= 0:
            print(f"{line(stage)}: done in {now - started:.1f} s", file=sys.stderr, flush=True)  # noqa: T201 - that is it
            self.started[stage] = -1.0


class Logged:
    """Progress that also writes the begin and the end of each stage into the log, with its time."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.started: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        """Hands on what a stage says of itself."""
        now = time.monotonic()
        if stage not in self.started:
            self.started[stage] = now
            log.info("%s: begins", line(stage))
        if fraction >= 1.0 and self.started[stage] >= 0:
            log.info("%s: done in %.1f s", line(stage), now - self.started[stage])
            self.started[stage] = -1.0
        self.shown(stage, fraction)


def telling(progress: Progress | None) -> Progress:
    """Chooses the progress of a verb: the given function, lines in a notebook or shell, nothing in a program.

    Args:
        progress: As the caller of the verb gave it; None where it gave none.
    """
    if progress is not None:
        return progress
    # Python's shell, IPython and the kernels of notebooks have a prompt.
    return Lines() if hasattr(sys, "ps1") else _nobody


def _nobody(_stage: str, _fraction: float) -> None:
    pass
