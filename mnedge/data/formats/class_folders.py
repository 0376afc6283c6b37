"""Pictures in one folder a class, also in train, val, test and calibration folders of such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled
from mnedge.data.listing import PICTURES, is_junk
from mnedge.data.names import checked_name
from mnedge.data.splits import SPLIT_NAMES
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnedge.data.listing import Listing

# Folders that other formats have, and what they hold.
_OTHERS = {
    "images": "pictures", "jpegimages": "pictures", "img": "pictures", "masks": "masks", "segmentationclass": "masks",
    "segmentationobject": "masks", "labels": "labels", "annotations": "annotations", "imagesets": "lists of splits",
    "trimaps": "masks",
}  # fmt: skip
# Files that may lie between pictures without being one.
_BESIDE = (".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".pdf", ".html", ".ini", ".db", ".py", ".zip")


def _recognise(listing: Listing) -> str:
    if not listing.is_folder:
        return ""
    names = sorted({place.name for place in _places(listing.root)[0].values() for place in _inside(place)})
    return f"{len(names)} folders" if names else ""


def _read(listing: Listing) -> Labelled:
    """Reads the folders.

    Raises:
        InputError: No class or one class only, a class without pictures, or folders that are of another format.
    """
    root = listing.root
    splits, beside = _places(root)
    names = sorted({place.name for part in splits.values() for place in _inside(part)})
    if not names:
        raise InputError(f"{root} has no class folders; put the pictures of each class into a folder of its own")
    _refuse_others(listing, names)
    if len(names) == 1:
        raise InputError(f"{root} has one class, {names[0]!r}; a classifier needs at least two class folders")
    for name in names:
        checked_name(name, f"the folder {name!r} of {root}")
    held: dict[Path, list[Path]] = {}
    folders = {part / name: name for part in splits.values() for name in names}
    for path in listing.files:
        if (above := next((above for above in path.parents if above in folders), None)) is not None:
            held.setdefault(above, []).append(path)
    rows: list[tuple[Path, int, str]] = []
    none: list[str] = []
    for split, place in splits.items():
        for index, name in enumerate(names):
            files = held.get(place / name, [])
            own = [path for path in files if path.suffix.lower() not in _BESIDE]
            none += [listing.relative(path) for path in files if path.suffix.lower() in _BESIDE]
            if not listing.is_grouped:
                _refuse_nested(place / name, own)
            if not own and split in ("", "eval", "test", "train"):
                raise InputError(f"{place / name} holds no files; add pictures of {name!r} or remove the folder")
            rows.extend((file, index, split) for file in own)
    notes = (
        Finding("files are no pictures and were left out", tuple(none)),
        Finding("folders beside those of the splits were left out", tuple(map(listing.relative, beside))),
    )
    return Labelled(root, rows, tuple(names), is_fixed=True, notes=tuple(note for note in notes if note.where))


def _places(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """Folders that hold class folders, by split, "" for the root itself; and those beside them that hold pictures."""
    inside = _inside(root)
    found = {split: path for path in inside if (split := _split_of_folder(path))}
    others = [path for path in inside if path not in found.values() and any(_files_in(path))]
    # Among folders of pictures, "train" may be what the pictures show.
    if not found or (others and all(any(_files_in(path)) for path in found.values())):
        return {"": _unwrapped(root)}, []
    return {split: _unwrapped(path) for split, path in found.items()}, others


def _split_of_folder(path: Path) -> str:
    """The split that a folder's name says: train, val, test_set."""
    return SPLIT_NAMES.get(path.name.lower().removesuffix("_set").removesuffix("set"), "")


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one of the same name in it, where that is all there is (training_set/training_set)."""
    inside = _inside(folder)
    is_wrapper = len(inside) == 1 and inside[0].name.lower() == folder.name.lower() and not any(_files_in(folder))
    return inside[0] if is_wrapper and _inside(inside[0]) else folder


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name))


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())


def _refuse_others(listing: Listing, names: list[str]) -> None:
    """Refuses folders of pictures beside folders of masks, labels or annotations, which are not classes."""
    lower = {name.lower(): name for name in names}
    found = [name for name in lower if name in _OTHERS]
    if len(found) < 2:
        shown = {part for path in listing.pictures for part in listing.parts(path)}
        if found and lower[found[0]] not in shown:
            raise InputError(
                f"{listing.given} holds {lower[found[0]]}/ ({_OTHERS[found[0]]}) beside the classes' folders, and "
                "no picture in it; move it away, or give --task detect or --task segment to use it"
            )
        return
    held = " and ".join(f"{lower[name]}/ ({_OTHERS[name]})" for name in found)
    task = "segment" if any(_OTHERS[name] == "masks" for name in found) else "detect"
    raise InputError(
        f"{listing.given} holds {held}, which are no classes; give --task {task} for them, or a folder with one folder "
        "per class"
    )


def _refuse_nested(place: Path, files: list[Path]) -> None:
    """Refuses a class folder whose pictures all lie in several folders of their own: those may be the classes."""
    inner = sorted({path.relative_to(place).parts[0] for path in files if len(path.relative_to(place).parts) > 1})
    if len(inner) > 1 and all(len(path.relative_to(place).parts) > 1 for path in files):
        raise InputError(
            f"{place} holds no pictures itself but {len(inner)} folders of pictures ({', '.join(inner[:3])}"
            f"{', …' if len(inner) > 3 else ''}); give --data {place} if they are the classes, --group-by folder if "
            f"they are clips of {place.name!r}, or move the pictures up"
        )


FORMAT = Format(
    title="class folders",
    layout="a folder with one folder per class",
    recognise=_recognise,
    classes=_read,
    is_plain=True,
)
