"""The gates of a report as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from mnedge.report import figures
from mnedge.report.summary import rows

if TYPE_CHECKING:
    from collections.abc import Mapping


def render_junit(report: Mapping[str, Any]) -> str:
    """Renders one test case per gate; a failed gate is a failure that names limit and measurement.

    Returns:
        XML with one `testsuite`, named after the build.
    """
    gates = rows(report, "gates")
    slug = str(report.get("slug") or "report")
    failed = [gate for gate in gates if not gate.get("passed")]
    suite = ET.Element("testsuite", name=f"mnedge {slug}", tests=str(len(gates)), failures=str(len(failed)), errors="0")
    for gate in gates:
        case = ET.SubElement(suite, "testcase", classname=slug, name=str(gate["name"]))
        said = f"measured {figures.plain(gate.get('measured'))}, limit {figures.plain(gate.get('limit'))}"
        if gate.get("passed"):
            ET.SubElement(case, "system-out").text = said
        else:
            ET.SubElement(case, "failure", message=said, type="GateError").text = said
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=False) + "\n"
