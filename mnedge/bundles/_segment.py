#!/usr/bin/env python3
"""Says what each pixel of pictures shows: files, folders of pictures, or the camera.

segment.py photo.jpg                        one line a picture: the share that each class has of it
segment.py --json pictures/                 one JSON object a line
segment.py --masks masks/ photo.jpg         also writes PNG files whose pixels are class indices, in the picture's size
segment.py --camera --every 10              a picture from the camera every 10 seconds; --stream: as many as it can

program.py beside it has the frame that all programs share: options, pictures, the camera, the model.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

# Nothing appears in the folder of a bundle that is not of it.
sys.dont_write_bytecode = True
from program import (  # type: ignore[import-not-found]  # noqa: E402
    Reading,
    argument_parser,
    check_labels,
    open_chosen,
    parse,
    read_labels,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from program import About

# Of pixels that the model does not see, where it takes a part of the picture.
UNSEEN = 255


def mask_of(output: NDArray[np.float32], size: tuple[int, int], about: About) -> NDArray[np.uint8]:
    """The class index of every pixel of a picture, uint8 (height, width); 255 outside the part that the model sees.

    Args:
        output: Scores, (H, W, classes), which are enlarged and then compared; or class indices, (H, W).
        size: Width and height of the picture.
        about: model.json: height, width, crop_fraction and fit ("crop" or "stretch").
    """
    width, height = (max(1.0, extent * about["crop_fraction"]) for extent in size)
    if about.get("fit", "crop") == "crop":
        proportion = about["width"] / about["height"]
        width, height = min(width, height * proportion), min(height, width / proportion)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    inner = round(width), round(height)
    if output.ndim == 2:
        found = np.asarray(Image.fromarray(output.astype(np.uint8)).resize(inner, Image.Resampling.NEAREST))
    else:
        planes = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(inner, Image.Resampling.BILINEAR)
            )
            for plane in np.moveaxis(output, -1, 0)
        ]
        found = np.argmax(planes, axis=0).astype(np.uint8)
    mask = np.full((size[1], size[0]), UNSEEN, np.uint8)
    mask[top : top + inner[1], left : left + inner[0]] = found
    return mask


def main(given: Sequence[str] | None = None) -> int:
    """Segments what the command line names; the status is 1 where a picture could not be read."""
    parser = argument_parser(__doc__)
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="write masks there")
    chosen = parse(parser, given)
    about, run = open_chosen(chosen)
    labels, reading = read_labels(), Reading(chosen, about)
    for name, picture, pixels in reading:
        started = time.perf_counter()
        output = run(pixels)[0]
        if output.ndim == 3:
            check_labels(labels, output.shape[-1])
        mask = mask_of(output, picture.size, about)
        spent_ms = (time.perf_counter() - started) * 1e3
        counts = np.bincount(mask.ravel(), minlength=UNSEEN + 1)[: len(labels)]
        shares = [float(count / max(counts.sum(), 1)) for count in counts]
        if chosen.json:
            classes = [{"label": label, "index": at, "fraction": shares[at]} for at, label in enumerate(labels)]
            print(json.dumps({**reading.row(name, spent_ms), "classes": classes}), flush=True)  # noqa: T201
        else:
            said = ", ".join(f"{label} {100 * share:.1f} %" for label, share in zip(labels, shares) if share)  # noqa: B905 - one a label
            print(f"{name}: {said} ({reading.pace(spent_ms)})", flush=True)  # noqa: T201
        if chosen.masks:
            chosen.masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(chosen.masks / f"{Path(name).stem}.png")
    return int(reading.status)


if __name__ == "__main__":
    start(main)
