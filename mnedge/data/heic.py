"""HEIC and HEIF, the pictures of iPhones: read by the package pillow-heif, where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".heic", ".heif")


def formats(path: Path) -> tuple[str, ...]:
    """Registers HEIC with Pillow for a file of that name and returns its format; () for other names.

    Raises:
        InputError: It is, and pillow-heif is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        return ()
    if find_spec("pillow_heif") is None:
        raise InputError(
            f"{path} is HEIC, which Pillow does not read by itself; `pip install pillow-heif`, or convert the pictures "
            "to JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible)"
        )
    _register()
    return ("HEIF",)


@cache
def _register() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()
