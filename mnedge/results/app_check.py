"""Findings about somebody's Android app: its models, its native libraries, and whether its runtime knows the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnedge.results import shown

State = Literal["good", "wrong", "note", "not known"]


@dataclass(frozen=True)
class AppRow:
    """One thing that was looked at in an app.

    Attributes:
        check: Name of the check: "stored", "page", "elf", "zip", "runtime" or "ops".
        subject: Path in the app; "" for the app as a whole.
        state: "wrong" asks for a repair, "note" costs something on some phones; "not known" cannot be told here.
        says: What was found, and what to do.
    """

    check: str
    subject: str
    state: State
    says: str


@dataclass(frozen=True)
class AppCheck:
    """Check of an APK or AAB.

    Attributes:
        path: The file.
        kind: "apk" or "aab".
        rows: What was looked at, in the order of the app's files.
    """

    path: str
    kind: Literal["apk", "aab"]
    rows: tuple[AppRow, ...]

    @property
    def wrong(self) -> tuple[AppRow, ...]:
        """The rows that ask for a repair."""
        return tuple(row for row in self.rows if row.state == "wrong")

    def _repr_html_(self) -> str:
        cells = [(row.check, row.subject, row.state, row.says) for row in self.rows]
        return shown.table(self.path, ("check", "file", "state", "says"), cells)
