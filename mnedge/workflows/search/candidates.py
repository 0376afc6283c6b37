"""The variants that a search looks at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from mnedge.data.preprocess import picture_size
from mnedge.models import Variant, heads
from mnedge.models import families as known
from mnedge.models.variant import CLASSIFIER
from mnedge.results.search import CandidateRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.choices import Granularity
    from mnedge.data.dataset import Dataset

# Those of V2's published table; the other families are published with some of them.
RESOLUTIONS = (96, 128, 160, 192, 224)
# For pictures that are smaller than that themselves.
_SMALL_RESOLUTIONS = (32, 48, 64)
# Enlarged further than so many times, a picture shows no more.
_MOST_ENLARGED = 3
_LOOKED_AT = 64


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
        shown = (variant.family, variant.alpha, variant.resolution, variant.classes, self.granularity)
        return CandidateRow(*shown, None if variant.head == CLASSIFIER else variant.head)

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
    head: str = CLASSIFIER,
) -> list[Candidate]:
    """Lists all combinations, each once.

    Args:
        classes: Number of outputs.
        families: Names; none for all families.
        alphas: Widths for every family; none for those that each is published with.
        resolutions: Sides of the input in pixels; none for `RESOLUTIONS`.
        granularities: Granularities of the weight scales.
        head: Head of the networks. Families that cannot carry it are left out, unless they are named.

    Raises:
        InputError: A family does not exist, or none has a network of such a width or resolution.
    """
    found = []
    for name in families or known.names():
        if not families and head != CLASSIFIER and not _carries(name, head):
            continue
        found += [
            Candidate(Variant(name, alpha, resolution, classes, head), granularity)
            for alpha in alphas or known.get(name).alphas
            for resolution in resolutions or RESOLUTIONS
            for granularity in granularities
        ]
    return list(dict.fromkeys(found))


def _carries(family: str, head: str) -> bool:
    """Returns whether a head can stand on the maps of a family."""
    own = known.get(family)
    wanted = heads.get(head).output_strides
    return not wanted or any(stride <= own.stride for stride in wanted)


def resolutions_for(dataset: Dataset) -> tuple[int, ...]:
    """Sides of the input that suit the pictures: below 96 where these are smaller themselves, and no senseless ones.

    Args:
        dataset: Data set; some pictures of it are looked at.
    """
    if dataset.root is None or not dataset.sources:
        return RESOLUTIONS
    some = dataset.sources[:: max(1, len(dataset.sources) // _LOOKED_AT)]
    side = median(min(picture_size(dataset.root / source)) for source in some)
    if side >= RESOLUTIONS[0]:
        return RESOLUTIONS
    sides = (*_SMALL_RESOLUTIONS, *RESOLUTIONS)
    return tuple(one for one in sides if one <= max(RESOLUTIONS[0], _MOST_ENLARGED * side))
