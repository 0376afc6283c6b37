"""Builds side by side."""

from __future__ import annotations

from dataclasses import dataclass

from mnedge.results import shown


@dataclass(frozen=True)
class Difference:
    """A measurement against another one.

    Attributes:
        value: Second minus first for shares (-1..1); first over second for times and sizes (above 1 is better).
        low: Lower end of the 95 % interval; None where it is unknown.
        high: Upper end.
        shown: Whether the measurements show a difference; None where they cannot.
    """

    value: float
    low: float | None
    high: float | None
    shown: bool | None


@dataclass(frozen=True)
class Figure:
    """A figure of one artifact in every build.

    Attributes:
        artifact: File name without slug, and the device where it is not this machine.
        name: bytes, p50_ms or a metric.
        values: One value per build; None for a build without the figure.
        changes: One difference per build but the first, against the first.
        note: Reason why they may not be compared; "" if they may.
    """

    artifact: str
    name: str
    values: tuple[int | float | None, ...]
    changes: tuple[Difference | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Change:
    """A fact that differs between the builds.

    Attributes:
        stage: The first stage that it acts in.
        what: "recipe KEY", "tool NAME", or what a checksum is of.
        values: JSON values, one per build.
    """

    stage: str
    what: str
    values: tuple[object, ...]


@dataclass(frozen=True)
class Comparison:
    """Builds against the first one.

    Attributes:
        builds: Their paths.
        slugs: Their names.
        figures: Size, accuracy and latency of every artifact that any build has.
        changes: Differences of the manifests, in the order of the stages.
        verdict: A sentence that names the first stage whose results differ.
        without_manifest: Builds without a manifest.json: what changed is known from their artifacts alone.
        broken_gates: Names of the gates that each build broke, a list a build.
    """

    builds: tuple[str, ...]
    figures: tuple[Figure, ...]
    changes: tuple[Change, ...]
    verdict: str
    slugs: tuple[str, ...] = ()
    without_manifest: tuple[str, ...] = ()
    broken_gates: tuple[tuple[str, ...], ...] = ()

    def _repr_html_(self) -> str:
        figures = ((figure.artifact, figure.name, *figure.values) for figure in self.figures)
        changes = ((change.stage, change.what, *change.values) for change in self.changes)
        return "".join(
            (
                shown.table(self.verdict, ("artifact", "figure", *self.builds), figures),
                shown.table("What changed", ("first acts in", "what", *self.builds), changes),
            )
        )
