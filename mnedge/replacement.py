"""Replacement: how a finished folder takes the place of an older one, whole, or goes into it file by file."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mnedge.errors import InputError
from mnedge.files import RECORD, leftovers, temporary, write_text
from mnedge.record import entries, locked, read_record, strangers, write_record

_OLD = "old"
FORCE_ADVICE = "choose another place, or give --force"


def occupied(path: Path, name: str, what: str) -> InputError:
    """The error for a folder that holds a file which is not mnedge's own, unchanged work."""
    advice = f"{FORCE_ADVICE} to write into it: files of the same name are replaced, all others stay"
    return InputError(f"{path} holds {name}, which mnedge {what}, so the folder is not replaced; {advice}")


def sweep(place: Path) -> None:
    """Removes the folders of killed programs beside `place`, unless they still hold what mnedge did not write."""
    for left in leftovers(place):
        with suppress(OSError):
            old = left / _OLD
            if left.is_dir() and not left.is_symlink() and not any(strangers(old, read_record(old).kind)):
                shutil.rmtree(left)


def is_fixed(place: Path) -> bool:
    """Returns whether a folder cannot be renamed safely: a mount, or the current folder of the user."""
    # `os.path.ismount`, since `Path.is_mount` fails where somebody else is just replacing the folder.
    return place.is_dir() and (os.path.ismount(place) or place == Path.cwd() or place in Path.cwd().parents)


def take_place(scratch: Path, place: Path, path: Path, *, kind: str, force: bool) -> None:
    """Puts `scratch` in the place of an older folder, or its files into that folder."""
    if not os.path.lexists(place):
        scratch.rename(place)
        return
    stranger = next(strangers(place, kind), None)
    if stranger is not None and not force:
        raise occupied(path, *stranger)
    if stranger is None and _holds_the_same(place, scratch):
        # The same files already: who reads them meanwhile, such as another build that ships them, is not disturbed.
        return
    if stranger is not None or is_fixed(place):
        _merge(scratch, place, path, kind)
        return
    scratch.chmod(stat.S_IMODE(place.stat().st_mode))
    aside = temporary(place)
    aside.mkdir()
    place.rename(aside / _OLD)
    # Nobody can add to it by its name any more: what came since the look above is seen now, and put back.
    stranger = next(strangers(aside / _OLD, kind), None)
    if stranger is not None:
        (aside / _OLD).rename(place)
        aside.rmdir()
        raise occupied(path, *stranger)
    try:
        _keep_delivered(aside / _OLD, scratch)
    except BaseException:
        (aside / _OLD).rename(place)
        aside.rmdir()
        raise
    scratch.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def _holds_the_same(place: Path, scratch: Path) -> bool:
    """Returns whether a folder is already what would take its place, apart from files delivered into it."""
    old, new = read_record(place), read_record(scratch)
    delivered = old.files.keys() - old.folder.keys()
    return replace(old, files={}) == new and set(entries(place)) - delivered == set(entries(scratch))


def _keep_delivered(old: Path, new: Path) -> None:
    """Takes files that were delivered one by one along from an older folder, where the new one has none of the name."""
    record, made = read_record(old), read_record(new)
    # A record may come from somebody else: only files that lie in the folder are taken.
    names = (name for name in entries(old) if name in record.files and name not in made.folder)
    kept = {name: record.files[name] for name in names if "/" not in name}
    for name in kept:
        try:
            os.link(old / name, new / name, follow_symlinks=False)
        except OSError:
            # Not every file system has hard links.
            shutil.copy2(old / name, new / name, follow_symlinks=False)
    if kept:
        write_text(new / RECORD, replace(made, files=kept).text)


def _merge(scratch: Path, place: Path, path: Path, kind: str) -> None:
    """Moves the files of `scratch` into a folder whose other files stay; mnedge's own, unchanged old ones go."""
    made = read_record(scratch)
    for name in made.folder:
        _check_way(place, name, path)
    with locked(place):
        old = read_record(place)
        arrived = {name: value for name, value in old.coming.items() if old.kind and old.owns(name, place / name)}
        old = replace(old, folder={**old.folder, **arrived}, coming={})
        whole = old.folder if old.kind == kind else {}
        write_record(place, replace(old, coming=made.folder))
        for name in made.folder:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (place / name).mkdir(exist_ok=True)
            else:
                (scratch / name).replace(place / name)
        for name in whole.keys() - made.folder.keys():
            if not name.endswith("/") and old.owns(name, place / name):
                (place / name).unlink()
                _drop_empty((place / name).parent, place)
        files = {name: value for name, value in old.files.items() if name not in made.folder}
        write_record(place, replace(made, files=files))


def _check_way(place: Path, name: str, path: Path) -> None:
    """Makes sure that only a regular file is replaced by a file, and that no link leads out of the folder."""
    target = place / name
    above = [parent for parent in target.parents if place in parent.parents]
    for parent in above:
        if os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir()):
            raise InputError(f"{parent} is no folder, and {path} is to hold {name}; choose another place")
    if not name.endswith("/") and os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
        raise InputError(f"{target} is no regular file, so it is not replaced; choose another place")


def _drop_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
