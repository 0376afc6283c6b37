"""The page's colours against WCAG 2.1: 4.5 to 1 for text, 3 to 1 for marks."""

import re
from pathlib import Path

import pytest

import mnedge.report

_CSS = (Path(mnedge.report.__file__).parent / "page" / "report.css").read_text()
_TEXT = ("ink", "soft", "good", "bad", "fp32", "int8", "warn")


def _palettes() -> dict[str, dict[str, str]]:
    """Light, dark and print: each of the later ones on top of the first."""
    blocks = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
        for block in re.findall(r":root \{(.*?)\}", _CSS, re.DOTALL)
    ]
    light, dark, paper = blocks
    return {"light": light, "dark": {**light, **dark}, "print": {**light, **paper}}


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["light", "dark", "print"])
def test_text_can_be_read(name: str) -> None:
    palette = _palettes()[name]
    for ground in ("paper", "card"):
        for text in _TEXT:
            assert _contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    assert _contrast(palette["warn"], palette["warn-paper"]) >= 4.5
    # Letters inside the discs.
    for disc in ("fp32", "int8"):
        assert _contrast(palette["on-colour"], palette[disc]) >= 4.5, disc


def test_the_formula_is_that_of_the_guidelines() -> None:
    # The two examples that every checker gives.
    assert _contrast("#000", "#ffffff") == pytest.approx(21.0)
    assert _contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)
