"""The model card says what is known, and nothing of what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.report.model_card import Description, calibration_in_words, render_model_card
from mnedge.results.manifest import BuildManifest, CalibrationRow, DatasetRow

if TYPE_CHECKING:
    from mnedge.results.report import Report


def _manifest(report: Report) -> BuildManifest:
    return BuildManifest(
        slug=report.slug,
        recipe={},
        tools={"mnedge": "0.2.0"},
        weights_sha256="a" * 64,
        dataset=DatasetRow("demo", {"crop_fraction": 1.0}, sha256="b" * 64),
        calibration=CalibrationRow("demo", 200, "", ""),
        calibration_sha256="c" * 64,
        artifacts=report.artifacts,
    )


def test_figures_stand_there_with_intervals_and_times_do_not(report: Report) -> None:
    text = render_model_card(
        _manifest(report),
        report,
        Description("1.2.0", "MIT", "image classification", "Reads <digits>.", ("It cannot tell <much>.",)),
    )
    assert text.startswith(f"# {report.slug.replace('_', chr(92) + '_')} 1.2.0\n\nReads \\<digits\\>.\n")
    assert "97.0 % (95.3–98.1)" in text
    gate = next(line for line in text.splitlines() if "speedup" in line)
    assert gate.startswith("| min\\_speedup\\_over\\_float | 2.5")
    assert gate.endswith("| FAILED |")
    assert "ms" not in text.split("## Limits")[0].split("## Accuracy")[1].split("## Gates")[0]
    assert "| task | image classification |" in text
    assert "- It cannot tell \\<much\\>." in text
    for digest in "abc":
        assert digest * 64 in text


def test_what_was_not_measured_is_said(empty: Report) -> None:
    text = render_model_card(
        replace(_manifest(empty), weights_sha256=None), empty, Description("1", "MIT", "image classification")
    )
    assert "The accuracy was not measured." in text
    assert "## Gates" not in text
    assert "weights |" not in text


def test_a_calibration_set_of_unknown_origin_leaves_no_gaps() -> None:
    assert calibration_in_words(CalibrationRow("photos", 1200, "", "")) == "1,200 pictures of photos"
    known = CalibrationRow("imagenet-200", 200, "nips2017", "CC BY 2.0")
    assert calibration_in_words(known) == "200 pictures of imagenet-200; nips2017; CC BY 2.0"
