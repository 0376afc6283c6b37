"""Files in the folder of a data set, without those of operating systems."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.foreign import is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".heic",
    ".heif",
)  # fmt: skip
# Left by macOS, Windows, Synology and Python; never part of a data set.
_JUNK = ("__macosx", "desktop.ini", "thumbs.db", "ehthumbs.db", "@eadir", "__pycache__", "$recycle.bin")
_SHOWN_SUFFIXES = 4


def is_junk(name: str) -> bool:
    """Returns whether a file or folder is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in _JUNK


@dataclass(frozen=True)
class Listing:
    """The files of a data set.

    Attributes:
        given: The folder or file as the user named it.
        root: The folder that its files lie in or below.
        files: Files to recognise a format by: all of the folder, or the one that was given.
        is_grouped: Whether folders within folders of classes are groups of pictures, as the user says.
    """

    given: Path
    root: Path
    files: tuple[Path, ...]
    is_grouped: bool = False

    @property
    def is_folder(self) -> bool:
        """Returns whether a folder was given, not one file of it."""
        return self.given.is_dir()

    @cached_property
    def around(self) -> tuple[Path, ...]:
        """Lists all files of the folder, also if one of them was given."""
        return self.files if self.is_folder else tuple(_walked(self.root))

    @cached_property
    def pictures(self) -> tuple[Path, ...]:
        """The picture files, by their suffix."""
        return tuple(path for path in self.around if path.suffix.lower() in PICTURES)

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """The folders below the root that hold files, directly or further down, in order of their paths."""
        found: set[Path] = set()
        for path in self.around:
            parent = path.parent
            while parent != self.root and parent not in found:
                found.add(parent)
                parent = parent.parent
        return tuple(sorted(found))

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = {}
        for path in self.around:
            names.setdefault(path.name, []).append(path)
        return names

    @cached_property
    def by_stem(self) -> dict[tuple[Path, str], Path]:
        """Picture files by their folder and their name without suffix."""
        return {(path.parent, path.stem): path for path in reversed(self.pictures)}

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Files of these suffixes, lower case, whatever theirs is."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def named(self, *names: str) -> list[Path]:
        """Files of these names."""
        return [path for path in self.files if path.name in names]

    def relative(self, path: Path) -> str:
        """A file's path below the root, for messages."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def parts(self, path: Path) -> tuple[str, ...]:
        """Names of the folders from the root to a file."""
        return path.relative_to(self.root).parts[:-1] if path.is_relative_to(self.root) else ()

    def picture(self, name: str, places: Sequence[Path]) -> Path:
        """The picture that an annotation names: at one of some places, or the only file of its base name.

        Paths of other machines, with drive letters, backslashes or the folders of an upload, count by their base name.

        Args:
            name: As the annotation has it.
            places: Folders to look in first.

        Returns:
            The file; where there is none, the first place it could be at, which does not exist.
        """
        for place in places:
            if is_file(place / name):
                return place / name
        plain = name.replace("\\", "/")
        base = plain.rpartition("/")[2]
        for place in places:
            for shorter in (plain, base):
                if shorter and is_file(place / shorter):
                    return place / shorter
        found = self._by_name.get(base, [])
        return found[0] if len(found) == 1 else places[0] / name

    def summary(self) -> str:
        """Describes the files by suffix, for messages: "30 .jpg, 30 .txt in 2 folders"."""
        counts = Counter(path.suffix.lower() or path.name for path in self.files)
        if not counts:
            return "no files"
        shown = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common(_SHOWN_SUFFIXES))
        rest = len(counts) - _SHOWN_SUFFIXES
        below = len({path.parent for path in self.files} - {self.root})
        return shown + (f" and {rest} other kinds" if rest > 0 else "") + (f" in {below} folders" if below else "")


def listing_of(path: Path, *, is_grouped: bool = False) -> Listing:
    """Looks what lies in a folder, or beside a file; see `Listing`."""
    if path.is_dir():
        return Listing(path, path, tuple(_walked(path)), is_grouped)
    return Listing(path, path.parent, (path,), is_grouped)


def _walked(root: Path) -> Iterable[Path]:
    """All files below a folder, in order; a link to a folder that it lies in is not followed."""
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        above = Path(os.path.realpath(Path(folder).parent))
        if Path(folder).is_symlink() and above.is_relative_to(os.path.realpath(folder)):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not is_junk(name))
        found += [Path(folder, name) for name in files if not is_junk(name)]
    return sorted(found)
