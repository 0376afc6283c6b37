"""Comparison of the MobileNets with other networks: counted and published figures, benchmark by benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.models import Variant, families
from mnedge.models.cost import MACS_TOLERANCE, PARAMETERS_TOLERANCE, Cost, cost, verdict
from mnedge.models.peers.published import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnedge.models.families import Published
    from mnedge.models.peers.published import Benchmark, Peer

# Besides the full width and size of every family: what the V1 paper holds against SqueezeNet, and V2's widest.
_NAMED = {("v1", 0.5, 160), ("v2", 1.4, 224)}


@dataclass(frozen=True)
class Network:
    """A network in a comparison.

    Attributes:
        name: Name for people.
        family: Token of the MobileNet that it is; "" for other networks and for detectors and segmenters.
        mobilenet: Whether it is one, or has one as its backbone.
        resolution: Side of the input in pixels.
        cost: Counts of the architecture.
        accuracy: Published accuracy, 0..1; None if nobody published it.
        source: Source of the figures.
        parameters_millions: Printed parameters; None if none are printed.
        macs_billions: Printed multiply-adds; None if none are printed.
        remark: Differences of printed and counted figures, and further remarks.
        named: Whether it is one of those that people compare: the others only fill the plot.
        chosen: Whether it is the network of the command.
    """

    name: str
    family: str
    mobilenet: bool
    resolution: int
    cost: Cost
    accuracy: float | None
    source: str
    parameters_millions: float | None
    macs_billions: float | None
    remark: str
    named: bool = True
    chosen: bool = False


def comparisons(chosen: Variant | None = None) -> Iterator[tuple[Benchmark, list[Network]]]:
    """Yields the benchmarks with their networks, largest number of multiply-adds first.

    Args:
        chosen: A variant to mark among the classifiers; it is added where it is not published.
    """
    for benchmark in BENCHMARKS:
        networks = [_peer(peer) for peer in benchmark.peers]
        if benchmark.takes_families:
            networks += _mobilenets(chosen)
        yield benchmark, sorted(networks, key=lambda network: -network.cost.macs)


def _peer(peer: Peer) -> Network:
    counted = Cost(tuple(peer.layers()))
    remark = "; ".join(filter(None, (*_differences(peer.parameters_millions, peer.macs_billions, counted), peer.note)))
    return Network(
        name=peer.name,
        family="",
        mobilenet=peer.mobilenet,
        resolution=peer.resolution,
        cost=counted,
        accuracy=peer.accuracy,
        source=peer.source,
        parameters_millions=peer.parameters_millions,
        macs_billions=peer.macs_billions,
        remark=remark,
    )


def _mobilenets(chosen: Variant | None) -> list[Network]:
    found = []
    for name, family in families.by_name().items():
        # Where two sources print the same variant, the later one stands; without accuracy there is nothing to compare.
        rows = {(row.alpha, row.resolution): row for row in family.published if row.top1 is not None}
        found += [_mobilenet(Variant(name, *key), row, chosen) for key, row in rows.items()]
    if chosen and not any(network.chosen for network in found):
        counted = cost(chosen)
        classes = "" if chosen.classes == 1000 else f", {chosen.classes} classes"
        name = f"{_name(chosen)}{classes}"
        found.append(
            Network(
                name=name,
                family=chosen.family,
                mobilenet=True,
                resolution=chosen.resolution,
                cost=counted,
                accuracy=None,
                source="",
                parameters_millions=None,
                macs_billions=None,
                remark="",
                chosen=True,
            )
        )
    return found


def _mobilenet(variant: Variant, row: Published, chosen: Variant | None) -> Network:
    counted = cost(variant)
    macs_billions = row.macs_millions / 1000
    is_chosen = variant == chosen
    key = (variant.family, variant.alpha, variant.resolution)
    return Network(
        name=_name(variant),
        family=variant.family,
        mobilenet=True,
        resolution=variant.resolution,
        cost=counted,
        accuracy=row.top1,
        source=row.source,
        parameters_millions=row.parameters_millions,
        macs_billions=macs_billions,
        remark="; ".join(_differences(row.parameters_millions, macs_billions, counted)),
        named=is_chosen or key in _NAMED or key[1:] == (1.0, 224),
        chosen=is_chosen,
    )


def _name(variant: Variant) -> str:
    title = families.get(variant.family).title
    size = "" if variant.resolution == 224 else f", {variant.resolution} px"
    return f"{title} {variant.alpha:g}{size}" if variant.alpha != 1 or size else title


def _differences(parameters: float | None, macs: float | None, counted: Cost) -> Iterator[str]:
    counted_parameters, counted_macs = counted.parameters / 1e6, counted.macs / 1e9
    if parameters is not None and verdict(parameters, counted_parameters, PARAMETERS_TOLERANCE) == "differs":
        yield f"{parameters:g} M parameters printed"
    if macs is not None and verdict(macs, counted_macs, MACS_TOLERANCE) == "differs":
        yield f"{macs:g} G multiply-adds printed" if macs >= 1 else f"{1000 * macs:g} M multiply-adds printed"
