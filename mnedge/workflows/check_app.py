"""`bundle android --check`: reads somebody's app, and says what costs its models memory, speed or the start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import bundles, registry
from mnedge.errors import InputError

if TYPE_CHECKING:
    from mnedge.results.app_check import AppCheck


def check_app(path: Path | str, kind: str = "android") -> AppCheck:
    """Checks an APK or AAB: storage and alignment of its models and native libraries, and its runtime against the ops.

    Args:
        path: The app, as Gradle or bundletool wrote it.
        kind: A name of `mnedge.bundles` whose apps can be checked.

    Raises:
        InputError: Apps of this kind are not checked; the file is missing, no app, damaged, or beyond the limits.
    """
    check = bundles.get(kind).check
    if check is None:
        known = (name for name in registry.names("mnedge.bundles") if bundles.get(name).check)
        raise InputError(f"apps of {kind} are not checked; those of {', '.join(known)} are")
    return check(Path(path))
