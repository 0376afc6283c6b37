"""Pictures that belong together when splits are drawn: those of one clip or folder, and those that are one picture."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache
from mnedge.data.content import digests
from mnedge.data.draw import group_of
from mnedge.data.preprocess import opened, rgb
from mnedge.data.splits import assign_splits
from mnedge.data.twins import THUMB, twins
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.draw import Draw

# Each round joins groups, so few of them settle it.
_MOST_ROUNDS = 8
_NONE = np.zeros(0, np.int64)
_SIDES = (("train", "calibration"), ("eval",), ("test",))
# Fewer pictures are looked at faster than remembered.
_LEAST_KEPT = 50
# Version of what is kept in the cache.
_KEPT = 1


def grouping(
    files: Sequence[Path],
    given: Sequence[str],
    labels: NDArray[np.int64],
    sources: Sequence[str],
    draw: Draw,
    root: str,
) -> list[int]:
    """Numbers pictures so that those of one number stay on one side of the splits that are drawn.

    Pictures are joined as `Draw.group_by` says, and where the drawn sides would share a picture: a copy, a mirror
    image, the next frame of a burst. Splits that are given are not looked at.

    Args:
        files: The pictures.
        given: Split of each picture; "" if none is given.
        labels: Class indices, int64, (pictures,).
        sources: Paths of the pictures below the data set.
        draw: Settings of the splits' draw.
        root: The folder that digests of the files are remembered for.
    """
    named: dict[str, int] = {}
    groups = [named.setdefault(group_of(draw.group_by, source), len(named)) for source in sources]
    if not draw.keeps_twins or not assign_splits(given, labels, sources, draw, groups).names:
        return groups
    present = [place for place, file in enumerate(files) if is_file(file)]
    if len(present) < _LEAST_KEPT:
        return _joined(files, given, labels, sources, draw, groups) if len(present) > 1 else groups
    told = [_KEPT, repr(draw), list(given), labels.tolist(), list(sources)]
    told += digests([files[place] for place in present], root)
    work = cache.resumable("groups", {})
    name = hashlib.sha256(json.dumps(told).encode()).digest()
    if (kept := _of_cache(cache.recall(work, name), len(groups))) is not None:
        return kept
    joined = _joined(files, given, labels, sources, draw, groups)
    cache.keep(work, name, json.dumps(joined).encode())
    return joined


def _of_cache(kept: bytes | None, count: int) -> list[int] | None:
    try:
        found = json.loads(kept or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != count or not all(isinstance(number, int) for number in found):
        return None
    return found


def _joined(
    files: Sequence[Path],
    given: Sequence[str],
    labels: NDArray[np.int64],
    sources: Sequence[str],
    draw: Draw,
    groups: list[int],
) -> list[int]:
    thumbs = _thumbnails(files)
    for _ in range(_MOST_ROUNDS):
        splits = assign_splits(given, labels, sources, draw, groups).numbers
        sides = [np.unique(np.concatenate([splits.get(name, _NONE) for name in side])) for side in _SIDES]
        pairs = [
            (int(one[pair.first]), int(other[pair.second]))
            for place, one in enumerate(sides)
            for other in sides[place + 1 :]
            if one.size and other.size
            for pair in twins(thumbs[one], thumbs[other])
        ]
        if not pairs:
            break
        groups = _united(groups, pairs)
    return groups


def _united(groups: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Groups with those of each pair made one."""
    parents = {group: group for group in groups}

    def top(group: int) -> int:
        while parents[group] != group:
            parents[group] = parents[parents[group]]
            group = parents[group]
        return group

    for one, other in pairs:
        low, high = sorted((top(groups[one]), top(groups[other])))
        parents[high] = low
    return [top(group) for group in groups]


def _thumbnails(files: Sequence[Path]) -> NDArray[np.float32]:
    """Small grey pictures, float32, (n, 32, 32); a picture that cannot be read is flat, and so nobody's twin."""
    from PIL import Image

    def read(file: Path) -> NDArray[np.float32]:
        try:
            with opened(file, least=THUMB) as image:
                small = rgb(image).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
        except InputError:
            return np.zeros((THUMB, THUMB), np.float32)
        return np.asarray(small, np.float32)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.stack(list(pool.map(read, files)))
