from dataclasses import replace

from mnedge.report.markdown import render_markdown
from mnedge.results.report import Report


def test_the_verdict_and_every_table_are_there(report: Report) -> None:
    text = render_markdown(report)
    assert "❌ 1 of 3 gates failed: min\\_speedup\\_over\\_float is 2.38, the limit is 2.5." in text
    assert "| verdict | gate | limit | measured |\n| --- | --- | --: | --: |\n| ❌ FAIL |" in text
    for title in ("Artifacts", "int8", "Parity", "Memory, bytes", "Gates"):
        assert f"### {title}\n" in text


def test_rows_have_as_many_cells_as_their_head_whatever_the_names_hold(report: Report) -> None:
    gates = (replace(report.gates[0], name="a|b\n<img src=x> [c](d) `e` \\| f"), *report.gates[1:])
    accuracy = (replace(report.accuracy[0], dataset="photos | <b>"), *report.accuracy[1:])
    text = render_markdown(replace(report, gates=gates, accuracy=accuracy))
    assert "<img" not in text.replace("\\<", "")
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        # A cell ends at a bar without a backslash before it.
        counts = {len(row.replace("\\\\", "").replace("\\|", "").split("|")) for row in rows}
        assert len(counts) <= 1, block


def test_an_empty_report_is_a_title_and_a_verdict(empty: Report) -> None:
    assert render_markdown(empty) == "## net\n\nNo gates were set.\n"
