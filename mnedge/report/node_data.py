"""Node data for Model Explorer: figures of ops that it lays over the graph of the same .tflite."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.results.profile import LayerProfile

# From the least to the largest figure.
_COLOURS = ("#ffffff", "#fbbf77", "#d1495b")


def node_data(profile: LayerProfile) -> dict[str, str]:
    """Texts of a profile's node data by file name, one a figure and other place.

    With a baseline there is also what became slower or worse.

    Model Explorer (google-ai-edge/model-explorer, node_data_builder.py) finds a node by the name of a tensor that it
    makes, and colours it by where its value lies between the least and the largest.
    """
    figures: dict[str, Mapping[str, float]] = {
        "latency_ms.json": {row.tensor: row.ms for row in profile.ops},
        "live_bytes.json": {row.tensor: row.live_bytes for row in profile.ops},
        "weights_bytes.json": {row.tensor: row.weights_bytes for row in profile.ops},
        "output_error.json": {row.tensor: row.output_error for row in profile.ops},
    }
    if profile.baseline is not None:
        kept = [row for row in profile.changes if row.ms is not None]
        figures["slower_ms.json"] = {row.tensor: row.slower_ms for row in kept}
        figures["worse_output_error.json"] = {row.tensor: row.worse for row in kept}
    for place in profile.elsewhere:
        known = zip(profile.ops, place.costs, strict=True)
        costs = {row.tensor: cost for row, cost in known if cost is not None}
        figures[f"{re.sub('[^A-Za-z0-9.-]+', '_', place.place)}_{place.unit}.json"] = costs
    return {name: _text(values) for name, values in figures.items()}


def _text(values: Mapping[str, float]) -> str:
    last = len(_COLOURS) - 1
    gradient = [{"stop": place / last, "bgColor": colour} for place, colour in enumerate(_COLOURS)]
    return json.dumps(
        {"results": {name: {"value": value} for name, value in values.items()}, "gradient": gradient}, indent=1
    )
