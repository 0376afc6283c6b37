"""`bundle android --check`: reads somebody's app, and says what costs its models memory, speed or the start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.bundles._app_file import check_app_file

if TYPE_CHECKING:
    from mnedge.results.app_check import AppCheck


def check_app(path: Path | str) -> AppCheck:
    """Checks an APK or AAB: storage and alignment of its models and native libraries, and its runtime against the ops.

    Args:
        path: The app, as Gradle or bundletool wrote it.

    Raises:
        InputError: The file is missing, no app, damaged, or beyond the limits.
    """
    return check_app_file(Path(path))
