"""The variants that a search looks at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mnedge.models import Variant
from mnedge.models import families as known
from mnedge.results.search import CandidateRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.choices import Granularity

# Those of V2's published table; the other families are published with some of them.
RESOLUTIONS = (96, 128, 160, 192, 224)


@dataclass(frozen=True)
class Candidate:
    """A network as it would ship.

    Attributes:
        variant: Family, width, resolution, classes.
        granularity: Granularity of the weight scales.
    """

    variant: Variant
    granularity: Granularity = "per-channel"

    @property
    def name(self) -> str:
        """Name in tables, e.g. "v2 0.35 96"."""
        shown = f"{self.variant.family} {self.variant.alpha:g} {self.variant.resolution}"
        return shown if self.granularity == "per-channel" else f"{shown} {self.granularity}"

    @property
    def row(self) -> CandidateRow:
        """The candidate as search.json has it."""
        variant = self.variant
        return CandidateRow(variant.family, variant.alpha, variant.resolution, variant.classes, self.granularity)

    @property
    def key(self) -> dict[str, object]:
        """The candidate as keys of the cache have it."""
        return asdict(self.row)


def candidates(
    classes: int,
    *,
    families: Sequence[str] = (),
    alphas: Sequence[float] = (),
    resolutions: Sequence[int] = (),
    granularities: Sequence[Granularity] = ("per-channel",),
) -> list[Candidate]:
    """Lists all combinations, each once.

    Args:
        classes: Number of outputs.
        families: Names; none for all families.
        alphas: Widths for every family; none for those that each is published with.
        resolutions: Sides of the input in pixels; none for `RESOLUTIONS`.
        granularities: Granularities of the weight scales.

    Raises:
        InputError: A family does not exist, or none has a network of such a width or resolution.
    """
    found = [
        Candidate(Variant(name, alpha, resolution, classes), granularity)
        for name in families or known.names()
        for alpha in alphas or known.get(name).alphas
        for resolution in resolutions or RESOLUTIONS
        for granularity in granularities
    ]
    return list(dict.fromkeys(found))
