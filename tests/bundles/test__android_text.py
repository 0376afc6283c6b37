"""Templates of an Android bundle, filled in."""

import re
import xml.etree.ElementTree as ET

import pytest

from mnedge.bundles import _android_text as text

_WORDS = {
    "GROUP": "com.example.models", "IDENTIFIER": "net", "SLUG": "net_1.0", "VERSION": "1.0.1",
    "LICENSE": 'Apache-2.0 <& "others">', "NOUN": "classifier", "TASK": "classify",
}  # fmt: skip


def test_a_word_stands_for_itself_and_escaped_in_xml() -> None:
    filled = text.fill("@LICENSE@|@LICENSE_XML@|@OTHER@", _WORDS)
    assert filled == 'Apache-2.0 <& "others">|Apache-2.0 &lt;&amp; "others"&gt;|@OTHER@'


@pytest.mark.parametrize("template", [text.ANDROID_MANIFEST, text.POM, text.MAVEN_METADATA])
def test_xml_stays_well_formed_whatever_the_licence_says(template: str) -> None:
    filled = text.fill(template, _WORDS)
    assert not re.search(r"@[A-Z_]+@", filled)
    ET.fromstring(filled.encode())  # noqa: S314 - written here


def test_the_licence_of_the_weights_stands_in_the_pom() -> None:
    pom = ET.fromstring(text.fill(text.POM, _WORDS).encode())  # noqa: S314 - written here
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    assert [entry.text for entry in pom.findall(".//m:license/m:name", space)] == [_WORDS["LICENSE"]]
    assert [pom.findtext(f"m:{name}", None, space) for name in ("groupId", "artifactId", "version")] == [
        "com.example.models", "net_1.0", "1.0.1",
    ]  # fmt: skip
