"""`cost --compare`: tables, plots and JSON of the published networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mnedge.cli._compare_networks import compare_networks
from mnedge.errors import InputError
from mnedge.models import Variant

if TYPE_CHECKING:
    from pathlib import Path


def test_a_plot_of_another_kind_is_refused_before_anything_is_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.png: plots are drawn as \.html or \.svg"):
        compare_networks(None, plot=tmp_path / "x.png", force=False, as_json=False)
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_users_is_not_replaced_by_a_plot(tmp_path: Path) -> None:
    (tmp_path / "x.svg").write_text("mine")
    with pytest.raises(InputError, match=r"x\.svg exists, and mnedge did not write it"):
        compare_networks(None, plot=tmp_path / "x.svg", force=False, as_json=False)
    assert (tmp_path / "x.svg").read_text() == "mine"


def test_a_chosen_variant_is_marked_and_the_others_are_held_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "x.svg"
    compare_networks(Variant("v3-small"), plot=plot, force=False, as_json=True)
    found = json.loads(capsys.readouterr().out)
    (benchmark,) = (row for row in found["benchmarks"] if row["task"] == "classify")
    (chosen,) = (row for row in benchmark["networks"] if row["chosen"])
    assert (chosen["family"], chosen["resolution"]) == ("v3-small", 224)
    assert "<svg" in plot.read_text()
