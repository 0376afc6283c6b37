from dataclasses import replace
from xml.etree import ElementTree as ET

from mnedge.errors import InputError
from mnedge.report.junit import render_junit, render_junit_of_error
from mnedge.results.report import GateRow, Report


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own XML


def test_each_gate_is_a_test_case_and_a_broken_limit_a_failure(report: Report) -> None:
    suite = _parsed(render_junit(report))
    assert suite.attrib == {
        "name": "mnedge mobilenet_v3_small_1.0_96",
        "tests": "3",
        "failures": "1",
        "errors": "0",
    }
    failures = {case.attrib["name"]: case.find("failure") for case in suite.iter("testcase")}
    assert [name for name, failure in failures.items() if failure is not None] == ["min_speedup_over_float"]
    failure = failures["min_speedup_over_float"]
    assert failure is not None
    assert failure.attrib["message"] == "measured 2.38, limit 2.5"


def test_names_are_escaped(report: Report) -> None:
    gates = (GateRow('<&">', 1.0, None, passed=False),)
    case = next(_parsed(render_junit(replace(report, gates=gates))).iter("testcase"))
    assert case.attrib["name"] == '<&">'


def test_no_gates_are_no_tests(empty: Report) -> None:
    assert _parsed(render_junit(empty)).attrib["tests"] == "0"


def test_a_build_that_died_is_an_error_of_its_own() -> None:
    suite = _parsed(render_junit_of_error("mine.yaml", InputError("no <photos>\x1b in mine")))
    assert (suite.attrib["tests"], suite.attrib["errors"], suite.attrib["failures"]) == ("1", "1", "0")
    case = next(suite.iter("error"))
    assert (case.attrib["type"], case.text) == ("InputError", "no <photos>\\x1b in mine")
