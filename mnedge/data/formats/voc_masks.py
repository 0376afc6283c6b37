"""Masks of Pascal VOC 2012 and CVAT: SegmentationClass/NAME.png for JPEGImages/NAME.jpg.

Pixels are class indices with a palette (Pascal VOC), or the colours of a labelmap.txt (CVAT's `Segmentation mask`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Mask, Masked
from mnedge.data.formats._pixels import Encoding, encoding_of, mask_of_file, read_palette
from mnedge.data.names import read_names
from mnedge.data.splits import read_split_lists, split_of
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing

_MASKS = "SegmentationClass"
_PICTURES = ("JPEGImages", "images", "Images")
# Pascal VOC's own classes, by index (devkit, VOCinit.m).
_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def _masks(listing: Listing) -> list[Path]:
    return [path for path in listing.with_suffix(".png") if path.parent.name == _MASKS]


def _recognise(listing: Listing) -> str:
    found = _masks(listing)
    return f"{listing.relative(found[0].parent)}/" if found else ""


def _read(listing: Listing) -> Masked:
    """Reads the folders; ImageSets/Segmentation/{train,val,test}.txt or folders may name splits.

    Raises:
        InputError: A mask without picture, or pixels that are no class.
    """
    masks = _masks(listing)
    top = masks[0].parent.parent
    lists = read_split_lists(top, ("Segmentation", ""))
    rows: list[tuple[Path, Path, str]] = []
    lone, unlisted = [], []
    for mask in masks:
        places = [mask.parent.parent / name for name in _PICTURES]
        found = (listing.by_stem.get((place, mask.stem)) for place in (*places, mask.parent.parent))
        picture = next(filter(None, found), None)
        if picture is None:
            lone.append(listing.relative(mask))
        elif lists and mask.stem not in lists:
            unlisted.append(listing.relative(picture))
        else:
            rows.append((picture, mask, lists.get(mask.stem, split_of(listing.parts(mask)))))
    if not rows:
        raise InputError(
            f"{listing.given}: none of its {len(masks)} masks has a picture of its name in {' or '.join(_PICTURES)}/; "
            "export the images, too"
        )
    encoding = _encoding(top, [mask for _, mask, _ in rows])
    notes = (
        Finding("masks have no picture and were left out", tuple(lone)),
        Finding("pictures are in no list of ImageSets and were left out", tuple(unlisted)),
    )
    made: list[tuple[Path, Mask, str]] = [
        (picture, mask_of_file(mask, encoding), split) for picture, mask, split in rows
    ]
    return Masked(listing.root, made, encoding.classes, (*encoding.notes, *(note for note in notes if note.where)))


def _encoding(top: Path, masks: list[Path]) -> Encoding:
    palette = top / "labelmap.txt"
    if palette.is_file():
        return Encoding.of_palette(read_palette(palette), palette)
    listed = next((path for path in (top / "classes.txt", top / "labels.txt") if path.is_file()), None)
    if listed is not None:
        return encoding_of(top, masks, tuple(read_names(listed)))
    found = encoding_of(top, masks, ())
    if found.values is None and len(found.classes) > 2 and len(found.classes) <= len(_VOC):
        note = Finding(
            "folders of masks have no classes.txt; their classes are those of Pascal VOC, by index", (str(top),)
        )
        return Encoding(_VOC, notes=(note,))
    return found


FORMAT = Format(
    title="Pascal VOC masks",
    layout="Pascal VOC's or CVAT's SegmentationClass/ beside JPEGImages/, with a labelmap.txt",
    recognise=_recognise,
    masks=_read,
)
