"""The pictures of the concepts are the script's, and each stands on a page."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

_DOCS = Path(__file__).parents[2] / "docs"
_CONCEPTS = _DOCS / "concepts"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    found: dict[str, str] = runpy.run_path(str(_DOCS / "concept_pictures.py"))["render"]()
    return found


def test_the_script_draws_the_same_files(drawn: dict[str, str]) -> None:
    assert sorted(drawn) == sorted(path.name for path in _CONCEPTS.glob("*.svg"))
    for name, text in drawn.items():
        assert (_CONCEPTS / name).read_text(encoding="utf-8") == text, f"{name}: run python docs/concept_pictures.py"


def test_they_are_small_vectors_with_a_panel_of_their_own_colour(drawn: dict[str, str]) -> None:
    for name, text in drawn.items():
        assert len(text.encode()) < 24 << 10, name
        root = ET.fromstring(text)  # noqa: S314 - our own file
        shapes = [part for part in root.iter() if part.tag.endswith("}rect")]
        width, height = root.attrib["viewBox"].split()[2:]
        assert (shapes[0].attrib["width"], shapes[0].attrib["height"]) == (width, height)
        assert not [part for part in root.iter() if part.tag.endswith("}image")]


def test_nothing_reaches_over_the_edge(drawn: dict[str, str]) -> None:
    for name, text in drawn.items():
        root = ET.fromstring(text)  # noqa: S314 - our own file
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for part in root.iter():
            if "x" in part.attrib:
                x, y = float(part.attrib["x"]), float(part.attrib["y"])
                x2, y2 = x + float(part.attrib.get("width", 0)), y + float(part.attrib.get("height", 0))
                assert 0 <= x <= x2 <= width, (name, part.attrib)
                assert 0 <= y <= y2 <= height, (name, part.attrib)


def test_each_stands_on_a_page_with_the_figures_that_it_shows(drawn: dict[str, str]) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in _CONCEPTS.glob("*.md"))
    shown = dict(re.findall(r"!\[(.*?)\]\((\w+\.svg)\)", pages))
    assert sorted(shown.values()) == sorted(drawn)
    for words, name in shown.items():
        for figure in re.findall(r"\d+\.\d+ KiB", words):
            assert figure in drawn[name], (name, figure)
