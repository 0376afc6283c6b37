"""The tables of a profile."""

from __future__ import annotations

from dataclasses import replace

from mnedge.report.profile_tables import change_table, elsewhere_table, profile_table, tables_of
from mnedge.results.inspection import Agreement, LayerNoise, OutputNoise
from mnedge.results.profile import Elsewhere, LayerProfile, OpProfile


def _profile(path: str, *figures: tuple[str, float, float]) -> LayerProfile:
    ops = tuple(OpProfile(at, "ADD", name, (1,), ms, 2048, 0, error) for at, (name, ms, error) in enumerate(figures))
    return LayerProfile(path, "litert", 1, ops, LayerNoise(4, Agreement(1.0, 1.0), OutputNoise(20.0, None), ()))


def test_ops_show_their_shares_of_time_and_error() -> None:
    table = profile_table(_profile("a", ("x", 0.3, 0.005), ("y", 0.1, -0.001)))
    assert [cell.text for cell in table.rows[0]] == ["0", "ADD", "x", "0.3000", "75.0", "2.00 KiB", "0 B", "50.0"]
    assert table.rows[1][-1].text == "-10.0"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_baseline_shows_what_changed_the_slower_first() -> None:
    now = _profile("a", ("same", 0.3, 0.001), ("worse", 0.3, 0.004), ("slower", 0.4, 0.0))
    assert change_table(now) is None
    before = _profile("b", ("same", 0.301, 0.001), ("worse", 0.3, 0.001), ("slower", 0.2, 0.0), ("gone", 0.5, 0.0))
    table = change_table(now.against(before))
    assert table is not None
    assert table.title == "Against b"
    assert [row[0].text for row in table.rows] == ["slower", "worse", "gone"]
    slower, worse, gone = table.rows
    assert (slower[4].text, slower[4].tone) == ("+0.2000", "bad")
    assert (worse[7].text, worse[7].tone) == ("+30.0", "bad")
    assert (gone[2].text, gone[4].text) == ("–", "-0.5000")
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_other_places_stand_beside_this_machine_with_what_belongs_to_no_op() -> None:
    here = _profile("a", ("x", 0.3, 0.005), ("y", 0.1, 0.0))
    assert elsewhere_table(here) is None
    board = Elsewhere("qemu://cortex-m4", "compiled C", "instructions", emulated=True, costs=(None, 7e3), rest=3e3)
    pi = Elsewhere("ssh://pi", "litert 2", "ms", emulated=True, costs=(0.5, 1.5))
    table = elsewhere_table(replace(here, elsewhere=(board, pi)))
    assert table is not None
    assert table.columns[3:] == (">ms here", ">%", ">instructions cortex-m4", ">%", ">ms pi", ">%")
    assert [cell.text for cell in table.rows[0]] == ["0", "ADD", "x", "0.3000", "75.0", "–", "–", "0.5000", "25.0"]
    assert [cell.text for cell in table.rows[1][5:]] == ["7,000", "70.0", "1.5000", "75.0"]
    assert [cell.tone for cell in table.rows[1][5:]] == ["bad", "", "bad", ""]
    assert "10,000 instructions in all by compiled C, of which 3,000 belong to no op" in table.notes[0]
    assert "emulated: milliseconds there" in table.notes[1]
    assert [found.title for found in tables_of(replace(here, elsewhere=(pi,)))] == ["Ops", "Ops in other places"]
