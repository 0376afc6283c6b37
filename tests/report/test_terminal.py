import io
from dataclasses import replace

import pytest
from rich.console import Console

from mnedge.report import figures
from mnedge.report.tables import tables
from mnedge.report.terminal import print_report, print_table
from mnedge.results.report import Report


def test_every_figure_is_printed(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report)
    text = capsys.readouterr().out
    assert text.startswith("mobilenet_v3_small_1.0_96, 1.53 M parameters, 10.9 M multiply-adds\n")
    for expected in (
        "int8.tflite",
        "96.98",
        "95.3–98.1",
        "3.32×",
        "129,024",
        "98.90",
        "FAIL",
        "min_speedup_over_float",
    ):
        assert expected in text


def test_brackets_in_names_are_text_and_not_markup(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = tuple(replace(row, dataset="photos [red]of[/red] [/] cats") for row in report.accuracy)
    gates = (replace(report.gates[0], name="[bold]min_top1"), *report.gates[1:])
    print_report(replace(report, accuracy=accuracy, gates=gates))
    text = capsys.readouterr().out
    assert "photos [red]of[/red] [/] cats" in text
    assert "[bold]min_top1" in text


def test_an_empty_report_prints_its_name_alone(empty: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(empty)
    assert capsys.readouterr().out == "net\n"


def test_a_narrow_terminal_goes_without_some_columns_and_says_so(report: Report) -> None:
    text = io.StringIO()
    for table in tables(report):
        print_table(Console(file=text, width=80), table)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    median = figures.three(report.latency[1].p50_ms)
    assert any("int8.tflite" in line and "96.98" in line and median in line for line in lines)
    assert any("too narrow for: p90 ms, top-5 %" in line for line in lines)
