"""`lock`: the versions of mnedge and of all that it stands on, as constraints that pip takes."""

from __future__ import annotations

import platform
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from mnedge import __version__, artifact
from mnedge.choices import CONSTRAINTS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra *==")


def lock(out: Path | str = CONSTRAINTS, *, force: bool = False) -> dict[str, str]:
    """Writes a constraints file with the version of every package that mnedge needs, directly or through others.

    `pip install -c FILE mnedge` then installs the same, and `build --locked-to FILE` refuses anything else. A package
    that only an extra asks for is listed where it is installed.

    Args:
        out: The file.
        force: Replace a file that is not mnedge's own, unchanged work.

    Returns:
        Versions by package, mnedge first.

    Raises:
        InputError: The file cannot be written, or is not mnedge's to replace.
    """
    place = Path(out)
    artifact.check_file(place, force=force)
    found: dict[str, Distribution] = {}
    waiting = _required("mnedge", with_extras=True)
    while waiting:
        name = waiting.pop()
        if name in found or name == "mnedge":
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            # Of another platform or Python, or an extra that is not installed.
            continue
        waiting += _required(name)
    pins = {"mnedge": __version__, **{name: found[name].version for name in sorted(found)}}
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    lines = [f"# mnedge {__version__} on {system}: pip install -c {place.name} mnedge", *_lines(pins)]
    artifact.deliver(place, "\n".join(lines) + "\n", force=force)
    return pins


def _lines(pins: dict[str, str]) -> list[str]:
    return [f"{name}=={text}" for name, text in pins.items()]


def _required(name: str, *, with_extras: bool = False) -> list[str]:
    """Names of what a package asks for; of its extras only on request."""
    try:
        asked = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    wanted = [text for text in asked if with_extras or not _EXTRA.search(text.partition(";")[2])]
    return [re.sub(r"[-_.]+", "-", found[0]).lower() for text in wanted if (found := _NAME.match(text))]
