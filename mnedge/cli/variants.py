"""`mnedge variants`: what can be built, with its cost and its published accuracy."""

from __future__ import annotations

from mnedge.cli._options import Json
from mnedge.cli._output import print_json
from mnedge.cli.cost import comparison_row, print_published

PANEL = "Look"


def command(*, as_json: Json = False) -> None:
    """List the published variants with cost and accuracy.

    The columns are parameters, multiply-adds (MACs) and ImageNet top-1.

    Any other width and resolution that an architecture allows can be built as well. Where a printed figure and the
    architecture disagree, both stand here.
    """
    from mnedge.models import Variant, families
    from mnedge.models.cost import published_comparisons

    tables = {name: list(published_comparisons(name)) for name in families.names()}
    if not as_json:
        for name, comparisons in tables.items():
            print_published(name, comparisons)
        return
    rows = [(name, comparison) for name, comparisons in tables.items() for comparison in comparisons]
    print_json(
        [
            {
                "slug": Variant(name, comparison.published.alpha, comparison.published.resolution).slug,
                "family": name,
                "alpha": comparison.published.alpha,
                "resolution": comparison.published.resolution,
                "parameters": comparison.cost.parameters,
                "macs": comparison.cost.macs,
                "published": comparison_row(comparison),
            }
            for name, comparison in rows
        ]
    )
