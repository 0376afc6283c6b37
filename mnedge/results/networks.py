"""Networks beside networks: what `mnedge cost --compare` gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """The size as a paper prints it.

    Attributes:
        parameters_millions: Parameters; None where they are not printed.
        macs_billions: Multiply-adds; None where they are not printed.
    """

    parameters_millions: float | None = None
    macs_billions: float | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """A network in a comparison.

    Attributes:
        name: Name in the field.
        family: Token of its MobileNet family; None for other networks and for detectors and segmenters.
        mobilenet: Whether it is a MobileNet, or has one as its backbone.
        resolution: Side of the input in pixels.
        parameters: Number of parameters, counted.
        macs: Multiply-adds of one picture, counted.
        accuracy: Published accuracy, 0..1; None where nobody published it.
        source: Source of the published figure.
        printed: The size as the paper prints it.
        remark: Differences of printed and counted figures, and further remarks.
        named: Whether people compare it; other networks only fill the plot.
        chosen: Whether it is the network of the command.
    """

    name: str
    family: str | None = None
    mobilenet: bool
    resolution: int
    parameters: int
    macs: int
    accuracy: float | None
    source: str
    printed: Printed = Printed()
    remark: str
    named: bool = True
    chosen: bool = False


@dataclass(frozen=True)
class NetworkComparison:
    """The networks of one benchmark.

    Attributes:
        task: Task of the networks.
        title: Name of the benchmark.
        dataset: Data set of the published accuracies.
        metric: Key of the accuracy.
        networks: The networks, most multiply-adds first.
    """

    task: str
    title: str
    dataset: str
    metric: str
    networks: tuple[NetworkRow, ...]


@dataclass(frozen=True)
class NetworkComparisons:
    """The benchmarks."""

    benchmarks: tuple[NetworkComparison, ...]
