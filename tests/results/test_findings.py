"""Findings: a phrase with a number, and no more places than one reads."""

from __future__ import annotations

from mnedge.results.findings import Finding


def test_a_finding_names_its_first_places_and_counts_the_rest() -> None:
    assert Finding("boxes were cut", ("a.xml",)).sentence() == "1 boxes were cut (a.xml)"
    many = Finding("boxes were cut", tuple(f"{number}.xml" for number in range(1234)))
    assert many.sentence() == "1,234 boxes were cut (0.xml; 1.xml; 2.xml and 1231 more)"
