"""`mnedge cost`: parameters and multiply-adds of a network, per layer and beside standard convolutions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli._options import Alpha, Force, Json
from mnedge.cli._output import print_json, print_table
from mnedge.errors import InputError

if TYPE_CHECKING:
    from mnedge.models.cost import Comparison, Cost
    from mnedge.models.variant import Variant


PANEL = "Measure"


def command(
    *,
    variant: Annotated[str | None, typer.Option(metavar="FAMILY", help="Family; `mnedge variants` lists them.")] = None,
    alpha: Alpha[float] = 1.0,
    resolution: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 224,
    classes: Annotated[int, typer.Option(help="Number of classes.")] = 1000,
    comparing: Annotated[
        bool, typer.Option("--compare", help="Show the MobileNets beside other networks instead.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="File that --compare draws, .html or .svg.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Count parameters and multiply-adds of a network.

    Both are given per layer and in total. Beside them stands the same network with standard convolutions instead of
    depthwise separable ones. Parameters include the four numbers per channel of each batch norm, as Keras counts them.

    With --compare, VGG-16, ResNet-50 and the others that the MobileNet papers compare with stand beside the
    MobileNets as classifiers, detectors and segmenters: parameters and multiply-adds counted from the architectures,
    accuracy as published. --variant then marks one of the classifiers.
    """
    from mnedge.models.variant import Variant

    chosen = Variant(variant, alpha, resolution, classes) if variant else None
    if comparing:
        from mnedge.cli._compare_networks import compare_networks

        compare_networks(chosen, plot=plot, force=force, as_json=as_json)
        return
    if plot is not None:
        raise InputError("--plot draws what --compare shows; give both")
    if chosen is None:
        raise InputError("--variant is missing: name a network, or give --compare for all of them")
    _count(chosen, as_json=as_json)


def _count(chosen: Variant, *, as_json: bool) -> None:
    from mnedge.models.cost import compare, cost, standard_convolution

    classes = chosen.classes
    counted, standard, comparisons = cost(chosen), standard_convolution(chosen), compare(chosen)
    if as_json:
        print_json(
            {
                "slug": chosen.slug,
                "variant": asdict(chosen),
                "parameters": counted.parameters,
                "macs": counted.macs,
                "standard_convolution": {"parameters": standard.parameters, "macs": standard.macs},
                "saving": {
                    "parameters_fraction": 1 - counted.parameters / standard.parameters,
                    "macs_fraction": 1 - counted.macs / standard.macs,
                },
                "layers": _layers(counted),
                "published": [comparison_row(comparison) for comparison in comparisons],
            }
        )
        return
    print_table(
        f"{chosen.slug}, {classes} classes",
        ("layer", "kind", ">output", ">kernel", ">stride", ">parameters", ">MACs"),
        (
            (
                layer.name,
                layer.kind.replace("_", " "),
                " x ".join(str(extent) for extent in layer.output_shape),
                f"{layer.kernel} x {layer.kernel}" if layer.kernel_shape else None,
                layer.stride if layer.kernel_shape else None,
                f"{layer.parameters:,}" if layer.parameters else None,
                f"{layer.macs:,}" if layer.macs else None,
            )
            for layer in counted.layers
        ),
    )
    print_table(
        "Total",
        ("network", ">parameters", ">MACs"),
        (
            (chosen.slug, f"{counted.parameters:,}", f"{counted.macs:,}"),
            ("with standard convolutions", f"{standard.parameters:,}", f"{standard.macs:,}"),
            (
                "saving",
                f"{standard.parameters / counted.parameters:.2f} x",
                f"{standard.macs / counted.macs:.2f} x",
            ),
        ),
    )
    if comparisons:
        print_published("Published, for 1000 classes", comparisons)


def print_published(title: str, comparisons: list[Comparison]) -> None:
    """Prints published rows beside the counted figures."""
    print_table(
        title,
        (">alpha", ">resolution", ">parameters, M", ">printed", ">MACs, M", ">printed", ">top-1", "source", "remark"),
        (
            (
                comparison.published.alpha,
                comparison.published.resolution,
                f"{comparison.cost.parameters / 1e6:.2f}",
                comparison.published.parameters_millions,
                f"{comparison.cost.macs / 1e6:.1f}",
                comparison.published.macs_millions,
                "" if comparison.published.top1 is None else f"{comparison.published.top1:.3f}",
                comparison.published.source,
                comparison.remark,
            )
            for comparison in comparisons
        ),
    )


def comparison_row(comparison: Comparison) -> dict[str, object]:
    """A published row as JSON values."""
    published = comparison.published
    return {
        "source": published.source,
        "parameters_millions": published.parameters_millions,
        "macs_millions": published.macs_millions,
        "top1": published.top1,
        "parameters_verdict": comparison.parameters,
        "macs_verdict": comparison.macs,
        "remark": comparison.remark,
    }


def _layers(counted: Cost) -> list[dict[str, object]]:
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "input_shape": list(layer.input_shape),
            "output_shape": list(layer.output_shape),
            "kernel": layer.kernel if layer.kernel_shape else None,
            "stride": layer.stride if layer.kernel_shape else None,
            "parameters": layer.parameters,
            "macs": layer.macs,
        }
        for layer in counted.layers
    ]
