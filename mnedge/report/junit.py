"""The gates of a report as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mnedge.report import figures
from mnedge.text import line, message

if TYPE_CHECKING:
    from mnedge.results.report import Report


def render_junit(report: Report) -> str:
    """Renders one test case per gate; a failed gate is a failure that names limit and measurement.

    Returns:
        XML with one `testsuite`, named after the build.
    """
    gates, slug = report.gates, line(report.slug)
    failed = [gate for gate in gates if not gate.passed]
    suite = ET.Element("testsuite", name=f"mnedge {slug}", tests=str(len(gates)), failures=str(len(failed)), errors="0")
    for gate in gates:
        case = ET.SubElement(suite, "testcase", classname=slug, name=line(gate.name))
        said = f"measured {figures.plain(gate.measured)}, limit {figures.plain(gate.limit)}"
        if gate.passed:
            ET.SubElement(case, "system-out").text = said
        else:
            ET.SubElement(case, "failure", message=said, type="GateError").text = said
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=False) + "\n"


def render_junit_of_error(name: str, error: Exception) -> str:
    """Renders a build that ended before its gates: one test case that has an error.

    Args:
        name: The recipe or network that was to be built.
        error: The error that ended the build.
    """
    shown = line(name)
    suite = ET.Element("testsuite", name=f"mnedge {shown}", tests="1", failures="0", errors="1")
    case = ET.SubElement(suite, "testcase", classname=shown, name="build")
    text = message(str(error))
    ET.SubElement(case, "error", message=line(text), type=type(error).__name__).text = text
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=False) + "\n"
