"""Plots of networks beside networks."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from mnedge.report.axes import LEFT, RIGHT
from mnedge.report.networks import _NOMINAL_WIDTH, _box, plot, render_networks, render_networks_svg, table
from mnedge.results.networks import NetworkComparison, NetworkRow

_PLAIN = NetworkRow(
    name="", mobilenet=False, resolution=224, parameters=4_000_000, macs=1, accuracy=None, source="a <paper>", remark=""
)


def _row(name: str, macs: float, accuracy: float | None, parameters: float = 4e6, **more: Any) -> NetworkRow:
    return replace(_PLAIN, name=name, macs=int(macs), accuracy=accuracy, parameters=int(parameters), **more)


def _benchmark(rows: list[NetworkRow] | None = None) -> NetworkComparison:
    rows = rows or [
        _row("big", 1e10, 0.7, 100e6),
        _row("middle", 1e9, 0.75, 25e6),
        _row("MobileNet small", 1e8, 0.7, 1e6, mobilenet=True),
        _row("MobileNet worse", 2e8, 0.6, 1e6, mobilenet=True, named=False),
        _row("MobileNet mine", 3e8, None, 1e6, mobilenet=True, chosen=True),
    ]
    return NetworkComparison("classify", "Tests <1>", "none", "top1", tuple(rows))


def test_places_are_logarithmic_in_cost_and_areas_proportional_to_parameters() -> None:
    made = plot(_benchmark())
    assert made is not None
    discs = {disc.words.partition(":")[0]: disc for disc in made.discs}
    assert "MobileNet mine" not in discs
    small, middle, big = discs["MobileNet small"], discs["middle"], discs["big"]
    assert middle.x - small.x == pytest.approx(big.x - middle.x)
    assert small.y == pytest.approx(big.y)
    assert middle.y < big.y
    assert (big.radius / small.radius) ** 2 == pytest.approx(100)
    assert all(LEFT < disc.x < RIGHT for disc in discs.values())
    assert [tick.text for tick in made.x_ticks][:3] == ["100 M", "200 M", "500 M"]
    assert made.trail == ((small.x, small.y),)


def test_names_cover_neither_each_other_nor_leave_the_plot() -> None:
    rows = [_row(f"network {number}", 1e8 * 1.15**number, 0.7 + 0.004 * (number % 3)) for number in range(9)]
    made = plot(_benchmark(rows))
    assert made is not None
    boxes = [
        _box(disc.label, (disc.x * _NOMINAL_WIDTH / 100, disc.y, disc.radius))
        for disc in made.discs
        if disc.label is not None
    ]
    assert len(boxes) == 9
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= _NOMINAL_WIDTH
        for x1, y1, x2, y2 in boxes[:number]:
            assert right <= x1 or left >= x2 or bottom <= y1 or top >= y2


def test_only_what_is_named_has_a_name_and_stands_in_the_table() -> None:
    made = plot(_benchmark())
    assert made is not None
    assert {disc.label.text for disc in made.discs if disc.label} == {"big", "middle", "small"}
    assert [row[0].text for row in table(_benchmark()).rows] == ["big", "middle", "MobileNet small", "MobileNet mine"]
    accuracy = [row[4].text for row in table(_benchmark()).rows]
    assert accuracy == ["70.0", "75.0", "70.0", "–"]


def test_one_network_is_no_plot() -> None:
    assert plot(_benchmark([_row("alone", 1e9, 0.7)])) is None


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.requests += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_escapes_and_asks_for_nothing() -> None:
    text = render_networks([_benchmark()], title="A <title>")
    page = _Page()
    page.feed(text)
    assert page.requests == []
    assert "<paper>" not in text
    assert "A &lt;title&gt;" in text


def test_the_picture_is_well_formed_svg() -> None:
    root = ET.fromstring(render_networks_svg([_benchmark(), _benchmark()], title="A <title>"))  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert all(math.isfinite(float(circle.get("r", "nan"))) for circle in circles)
    # Four discs that have an accuracy and two of the legend, twice.
    assert len(circles) == 2 * (4 + 2)
