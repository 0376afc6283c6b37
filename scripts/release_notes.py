# noqa: INP001 - a script stands alone
"""Prints the notes of a release, which are its section of CHANGELOG.md.

python scripts/release_notes.py v0.2.0

Fails where the tag is not the version of the package, or the section has no date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def notes(tag: str) -> str:
    """Gives the text of a version's section.

    Args:
        tag: v and the version.

    Raises:
        SystemExit: The tag is none of this checkout's version, or the section is missing or has no date.
    """
    version = re.search(r'^__version__ = "(.+)"$', (_ROOT / "mnedge" / "__init__.py").read_text(), re.MULTILINE)
    if version is None or tag != f"v{version[1]}":
        raise SystemExit(f"the tag is {tag}, and mnedge/__init__.py has version {version and version[1]}")
    changes = (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    title = rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d\n"
    section = re.search(rf"{title}(.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL)
    if section is None:
        raise SystemExit(f"CHANGELOG.md has no section [{version[1]}] with a date")
    return section[1].strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(notes(sys.argv[1]))
