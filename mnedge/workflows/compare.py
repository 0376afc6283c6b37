"""`compare`: builds side by side, and where they part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.report.comparison import compared, read_build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.results.comparison import Comparison


def compare(builds: Sequence[Path | str]) -> Comparison:
    """Holds builds against the first one: size, accuracy, latency, and what made them differ.

    Args:
        builds: Folders of builds, or their report.json; two or more.

    Raises:
        InputError: Fewer than two builds, or one has no report that can be read.
    """
    if len(builds) < 2:
        raise InputError("compare takes two or more builds, e.g. mnedge compare artifacts/A artifacts/B")
    return compared([read_build(Path(build)) for build in builds])
