"""Output and files of `mnedge cost --compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.cli._output import print_json, print_table, say
from mnedge.results.networks import NetworkComparison, NetworkComparisons, NetworkRow, Printed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.models.peers.compare import Network
    from mnedge.models.variant import Variant

_TITLE = "MobileNets beside the networks that their papers compare with"
_SUFFIXES = (".html", ".svg")


def compare_networks(chosen: Variant | None, *, plot: Path | None, force: bool, as_json: bool) -> None:
    """Prints the tables, or one JSON object, and draws the plots.

    Args:
        chosen: A variant to mark; the others are then held against it.
        plot: Path of the plot: .html or .svg; None for no plot.
        force: Replace a file that is not mnedge's own, unchanged work.
        as_json: Print JSON.

    Raises:
        InputError: The plot's file has another suffix, or cannot be written.
    """
    from mnedge.artifact import check_file
    from mnedge.errors import InputError
    from mnedge.models.peers.compare import comparisons

    if plot is not None and plot.suffix not in _SUFFIXES:
        raise InputError(
            f"--plot {plot}: plots are drawn as {' or '.join(_SUFFIXES)}; give a file name that ends in one of them"
        )
    if plot is not None:
        check_file(plot, force=force)
    benchmarks = [
        NetworkComparison(
            benchmark.task,
            benchmark.title,
            benchmark.dataset,
            benchmark.metric,
            tuple(_row(network) for network in networks),
        )
        for benchmark, networks in comparisons(chosen)
    ]
    if plot is not None:
        _draw(benchmarks, plot, force=force)
    if as_json:
        print_json(NetworkComparisons(tuple(benchmarks)))
        return
    for benchmark in benchmarks:
        _print(benchmark)
    if plot is not None:
        say(f"plots: {plot}")


def _draw(benchmarks: Sequence[NetworkComparison], plot: Path, *, force: bool) -> None:
    from mnedge.artifact import deliver
    from mnedge.report.networks import render_networks, render_networks_svg

    render = render_networks if plot.suffix == ".html" else render_networks_svg
    deliver(plot, render(benchmarks, title=_TITLE), force=force)


def _print(benchmark: NetworkComparison) -> None:
    from mnedge.report import figures
    from mnedge.report.summary import METRICS

    networks = [row for row in benchmark.networks if row.named]
    base = next((row.macs for row in networks if row.chosen), None)
    ratio = (">times the MACs",) if base else ()
    metric = METRICS[benchmark.metric]
    columns = ("network", ">input px", ">parameters", ">MACs", *ratio, f">{metric} %", "published in", "remark")
    print_table(
        f"{benchmark.title}: {benchmark.dataset}",
        columns,
        (
            (
                f"{row.name} ◀" if row.chosen else row.name,
                row.resolution,
                figures.magnitude(row.parameters),
                figures.magnitude(row.macs),
                *([figures.three(row.macs / base)] if base else []),
                None if row.accuracy is None else f"{100 * row.accuracy:.1f}",
                row.source or None,
                row.remark,
            )
            for row in networks
        ),
    )


def _row(network: Network) -> NetworkRow:
    return NetworkRow(
        name=network.name,
        family=network.family or None,
        mobilenet=network.mobilenet,
        resolution=network.resolution,
        parameters=network.cost.parameters,
        macs=network.cost.macs,
        accuracy=network.accuracy,
        source=network.source,
        printed=Printed(network.parameters_millions, network.macs_billions),
        remark=network.remark,
        named=network.named,
        chosen=network.chosen,
    )
