"""The page of accuracy against what it costs."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from mnedge.report.axes import LEFT, RIGHT
from mnedge.report.tradeoff import cards, plots, render_tradeoff, table
from mnedge.results.tradeoff import BrokenLimit, TradeoffRow

_ROWS = (
    TradeoffRow(
        name="best", status="chosen", top1=0.9, latency_ms=15.0, ram_bytes=65536, flash_bytes=1 << 20, epochs=8,
    ),
    TradeoffRow(
        name="small", status="front", top1=0.8, latency_ms=5.0, ram_bytes=32768, flash_bytes=1 << 19,
        latency_source="model",
    ),
    TradeoffRow(name="beaten", status="fits", top1=0.7, latency_ms=10.0, ram_bytes=65536, flash_bytes=1 << 20),
    TradeoffRow(
        name="<b>big</b>", status="excluded", latency_ms=30.0, broken=(BrokenLimit("30 ms, the limit is 20 ms"),)
    ),
)  # fmt: skip
_NOTES = ("Latency: a <board>.",)


def test_marks_stand_where_the_figures_say() -> None:
    latency, ram, flash = plots(_ROWS, {"max_ms": 20.0})
    assert [plot.key for plot in (latency, ram, flash)] == ["latency_ms", "ram_bytes", "flash_bytes"]
    marks = {mark.number: mark for mark in latency.marks}
    assert set(marks) == {1, 2, 3}
    assert LEFT < marks[2].x < marks[3].x < marks[1].x < RIGHT
    assert marks[1].y < marks[2].y < marks[3].y
    assert latency.limit is None or latency.limit > marks[1].x
    # Positions are proportional to the cost from 0 on.
    assert (marks[1].x - LEFT) / (marks[2].x - LEFT) == pytest.approx(3.0)
    assert ram.limit is None


def test_the_front_is_a_staircase_that_leaves_out_what_is_beaten() -> None:
    (latency, *_) = plots(_ROWS, {})
    marks = {mark.number: mark for mark in latency.marks}
    ends = {(x2, y2) for _, x2, _, y2 in latency.stairs}
    assert (marks[1].x, marks[1].y) in ends
    assert (RIGHT, marks[1].y) in ends
    assert all(marks[3].y not in (y1, y2) for _, _, y1, y2 in latency.stairs)


def test_columns_without_figures_are_left_out_and_estimates_are_marked() -> None:
    found = table(_ROWS)
    assert ">arena" not in found.columns
    assert "why not" in found.columns
    latency = found.columns.index(">latency ms")
    assert [row[latency].text for row in found.rows] == ["15.0", "~5.00", "10.0", "30.0"]
    assert found.rows[3][-1].text == "30 ms, the limit is 20 ms"


def test_the_page_escapes_and_asks_for_nothing() -> None:
    page = render_tradeoff(
        _ROWS, _NOTES, title="Search for <x>", command="search", limits={"max_ms": 20.0}, data="photos"
    )
    assert "<b>big</b>" not in page
    assert "Chosen: best" in page
    assert "Latency: a &lt;board&gt;." in page

    class Loads(HTMLParser):
        found: tuple[str, ...] = ()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += tuple(name for name, _ in attrs if name in ("src", "href"))
            assert tag not in ("script", "link", "img", "iframe")

    parser = Loads()
    parser.feed(page)
    assert parser.found == ()


def test_nothing_that_fits_says_what_the_nearest_breaks() -> None:
    excluded = _ROWS[3:]
    page = render_tradeoff(excluded, (), title="t", command="search", nearest="<b>big</b>")
    assert "No variant fits. The nearest is &lt;b&gt;big&lt;/b&gt;: 30 ms, the limit is 20 ms." in page
    assert cards(excluded, None) == []
    assert plots(excluded, {}) == []


def test_the_cards_are_the_figures_of_the_chosen_variant() -> None:
    assert [(card.label, card.value) for card in cards(_ROWS, "photos")] == [
        ("Top-1", "90.0 %"), ("Latency", "15.0 ms"), ("RAM", "64.0 KiB"), ("Flash", "1.00 MiB"),
    ]  # fmt: skip
    (imagenet,) = cards(
        [TradeoffRow(name="x", status="chosen", imagenet_top1=0.5, imagenet_top1_source="published")], None
    )
    assert (imagenet.value, imagenet.detail) == ("50.0 %", "published")


def test_reasons_stand_below_their_variants() -> None:
    page = render_tradeoff(_ROWS, _NOTES, title="Search", command="search", limits={"max_ms": 20.0}, data="photos")
    columns = len(table(_ROWS).columns) - 1
    assert f'<td colspan="{columns - 1}">why not: 30 ms, the limit is 20 ms</td>' in page
    assert page.count('<tr class="why">') == sum(bool(row.broken) for row in _ROWS)
    assert page.count('<th scope="col"') == columns
