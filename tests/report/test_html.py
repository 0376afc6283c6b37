import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnedge.report.html import render_html
from mnedge.report.overlay import data_uri
from mnedge.results.accuracy import Figures
from mnedge.results.details import Details, Gallery, GalleryPicture
from mnedge.results.latency import Machine
from mnedge.results.report import GateRow, Report
from mnedge.validation.two_classes import two_classes

_VOID = {"meta", "link", "br", "img", "hr"}


class _Page(HTMLParser):
    """Checks that tags close in order, and collects attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def test_every_part_is_on_the_page(report: Report, details: Details) -> None:
    page = _Page(render_html(report, details))
    text = " ".join(page.text.split())
    for expected in (
        "1 of 3 gates failed: min_speedup_over_float is 2.38, the limit is 2.5.",
        "96.98", "95.3–98.1", "3.32× smaller than float", "all int8", "126 KiB", "The machine was busy.",
        "Size, accuracy, latency", "Latency distribution", "Quantization, step by step", "Worst confusions",
        "Memory plan", "eight taken for one", "1,797 handwritten digits", "a CPU",
    ):  # fmt: skip
        assert expected in text, expected
    assert page.tags.count("figure") == 5


def test_nothing_is_loaded_from_anywhere(report: Report, details: Details) -> None:
    text = render_html(report, details)
    page = _Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not [
        pair for pair in page.attributes if pair[0] in ("src", "href", "srcset", "action") or pair[0].startswith("on")
    ]
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_every_plot_speaks(report: Report, details: Details) -> None:
    page = _Page(render_html(report, details))
    labels = [value for name, value in page.attributes if name == "aria-labelledby"]
    assert labels
    assert set(labels) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "B: int8.tflite, 1.76 MiB, top-1 97.0 %, median 3." in page.text


def test_text_from_outside_is_escaped(report: Report, details: Details) -> None:
    evil = "<script>alert('x')</script>\"&"
    gates = (*report.gates[:1], replace(report.gates[1], name=evil), *report.gates[2:])
    assert details.plan is not None
    plan = replace(details.plan, tensors=(replace(details.plan.tensors[0], name=evil), *details.plan.tensors[1:]))
    confusion = {name: tuple(replace(row, truth=evil) for row in rows) for name, rows in details.confusion.items()}
    steps = (replace(details.steps[0], name=evil), *details.steps[1:])
    text = render_html(
        replace(report, slug=evil, gates=gates),
        replace(
            details,
            dataset=evil,
            machine=Machine(evil, 2, 16, evil),
            warnings=(evil,),
            tools={evil: evil},
            confusion=confusion,
            steps=steps,
            plan=plan,
        ),
    )
    assert "script&gt;" in text
    assert "<script" not in text
    assert "script" not in _Page(text).tags


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_part_may_be_absent(data: st.DataObject, report: Report, details: Details) -> None:
    tables = [field.name for field in fields(report) if isinstance(getattr(report, field.name), tuple)]
    shorter = {name: getattr(report, name)[: data.draw(st.integers(0, 4))] for name in tables}
    none = Details()
    parts = data.draw(st.sets(st.sampled_from([field.name for field in fields(details)])))
    page = _Page(
        render_html(
            replace(report, **shorter), replace(details, **{name: getattr(none, name) for name in sorted(parts)})
        )
    )
    assert "None" not in page.text
    assert "nan" not in page.text


@pytest.mark.parametrize(
    ("passed", "sentence"),
    [([], "No gates were set."), ([True], "The gate passed."), ([True, True], "All 2 gates passed.")],
)
def test_the_verdict(empty: Report, passed: list[bool], sentence: str) -> None:
    gates = tuple(GateRow(f"gate_{place}", 1.0, 1.0, good) for place, good in enumerate(passed))
    assert sentence in _Page(render_html(replace(empty, gates=gates), Details())).text


def test_a_segmentation_shows_its_classes_and_worst_pictures(report: Report, details: Details) -> None:
    classes = {"iou": {"background": 0.97, "<cat>": 0.91, "unseen": None}}
    figures = Figures({"mean_iou": 0.9}, {"mean_iou": (0.8, 0.95)}, classes)
    report = replace(report, accuracy=tuple(replace(row, figures=figures) for row in report.accuracy))
    image = data_uri(np.zeros((8, 8, 3), np.uint8))
    gallery = Gallery("a.tflite", (GalleryPicture("x & y.png", "IoU 1 %", image),))
    details = replace(details, gallery=gallery, counted="pixels")
    page = _Page(render_html(report, details))
    text = " ".join(page.text.split())
    for expected in (
        "IoU of each class, %",
        "<cat>",
        "97.00",
        "IoU 1 %",
        "x & y.png",
        "a class' pixels that",
        "picture",
    ):
        assert expected in text, expected
    sources = [value for name, value in page.attributes if name == "src"]
    assert sources == [image]
    # What the page may load are the pictures in it.
    assert "img-src data:" in render_html(report, details)


def test_curves_of_two_classes_are_those_of_int8_and_its_float_peer(report: Report, details: Details) -> None:
    curves = two_classes(np.array([0.2, 0.4, 0.8], np.float32), np.array([False, True, True]), "ripe")
    rows = tuple(replace(row, figures=replace(row.figures, two_classes=curves)) for row in report.accuracy)
    page = render_html(replace(report, accuracy=rows), details)
    assert "A threshold for ripe" in page
    assert page.count('<circle class="roc"') == 4
    assert "A threshold for" not in render_html(report, details)
