"""Installation of mnedge: packages, missing parts, and the machine's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnedge.results import shown


@dataclass(frozen=True)
class Part:
    """A package or program.

    Attributes:
        name: Name in its installer.
        version: Installed version; None if missing.
        needed: Whether `mnedge build` needs it.
        gives: Purpose.
        get: The command that installs it.
    """

    name: str
    version: str | None
    needed: bool
    gives: str
    get: str


@dataclass(frozen=True, kw_only=True)
class Installation:
    """An installation and its machine.

    Attributes:
        parts: Packages and programs.
        machine: The machine in a few lines, by name.
        gpus: Names of the GPUs that TensorFlow sees; None where it was not asked.
    """

    parts: tuple[Part, ...]
    machine: Mapping[str, str]
    gpus: tuple[str, ...] | None = None

    @property
    def missing(self) -> tuple[Part, ...]:
        """Parts that `mnedge build` needs and that are missing."""
        return tuple(part for part in self.parts if part.needed and part.version is None)

    def as_stored(self) -> Mapping[str, object]:
        """The row of `doctor --json`, which says first whether a build can run."""
        return {"ok": not self.missing, "parts": self.parts, "machine": self.machine, "gpus": self.gpus}

    def _repr_html_(self) -> str:
        columns = ("part", "version", "what it gives", "how to get it")
        rows = ((part.name, part.version, part.gives, "" if part.version else part.get) for part in self.parts)
        return shown.table("Parts", columns, rows) + shown.table("This machine", ("", ""), self.machine.items())
