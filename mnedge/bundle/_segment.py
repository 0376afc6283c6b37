#!/usr/bin/env python3
"""Says what each pixel of pictures shows: files, folders of pictures, or the camera.

segment.py photo.jpg                        one line a picture: the share that each class has of it
segment.py --json pictures/                 one JSON object a line
segment.py --masks masks/ photo.jpg         also writes PNG files whose pixels are class indices, in the picture's size
segment.py --camera --every 10              a picture from the camera every 10 seconds

classify.py beside it opens the model and reads the pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from classify import HERE, camera, open_model, pictures, pixels_of  # type: ignore[import-not-found]
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Of pixels that the model does not see, where it takes a part of the picture.
UNSEEN = 255


def mask_of(output: NDArray[np.float32], size: tuple[int, int], about: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The class index of every pixel of a picture, uint8 (height, width); 255 outside the part that the model sees.

    Args:
        output: Scores, (H, W, classes), which are enlarged and then compared; or class indices, (H, W).
        size: Width and height of the picture.
        about: model.json: crop_fraction and fit ("crop" or "stretch").
    """
    width, height = (max(1.0, extent * about["crop_fraction"]) for extent in size)
    if about.get("fit", "crop") == "crop":
        width = height = min(width, height)
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


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="files or folders")
    parser.add_argument("--camera", action="store_true", help="take the picture with the camera")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="with --camera: again and again")
    parser.add_argument("--model", type=Path, help="another model of this folder, e.g. the .onnx")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="write masks there")
    parser.add_argument("--threads", type=int, default=4, help="threads [default: 4]")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    chosen = parser.parse_args(given)
    if bool(chosen.pictures) == chosen.camera:
        parser.error("give pictures, or --camera")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Segments what the command line names; the status is 1 where a picture could not be read."""
    chosen = _arguments(given)
    about = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    run = open_model(chosen.model or HERE / about["model"], chosen.threads)
    status = 0
    for name, source in camera(chosen.every) if chosen.camera else pictures(chosen.pictures):
        try:
            with Image.open(source) as image:
                size = ImageOps.exif_transpose(image).size
                pixels = pixels_of(image, about)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
            print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
            status = 1
            continue
        started = time.perf_counter()
        mask = mask_of(run(pixels)[0], size, about)
        spent_ms = (time.perf_counter() - started) * 1e3
        counts = np.bincount(mask.ravel(), minlength=UNSEEN + 1)[: len(labels)]
        shares = [float(count / max(counts.sum(), 1)) for count in counts]
        if chosen.json:
            classes = [{"label": label, "index": at, "fraction": shares[at]} for at, label in enumerate(labels)]
            print(json.dumps({"picture": name, "ms": round(spent_ms, 3), "classes": classes}), flush=True)  # noqa: T201
        else:
            said = ", ".join(f"{label} {100 * share:.1f} %" for label, share in zip(labels, shares) if share)  # noqa: B905 - one a label
            print(f"{name}: {said} ({spent_ms:.1f} ms)", flush=True)  # noqa: T201
        if chosen.masks:
            chosen.masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(chosen.masks / f"{Path(name).stem}.png")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
