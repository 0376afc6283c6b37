#!/usr/bin/env python3
"""Says what is in pictures and where: files, folders of pictures, or the camera.

detect.py photo.jpg                         one line an object: class, score, and its box in pixels
detect.py --json --least 0.5 pictures/      one JSON object a picture
detect.py --draw marked/ photo.jpg          also writes the picture with frames around what was found
detect.py --camera --every 10               a picture from the camera every 10 seconds; --stream: as many as it can

program.py beside it has the frame that all programs share: options, pictures, the camera, the model.
The model gives scores and codes of boxes, which are decoded here with the anchors of model.json; a model that gives
objects itself is taken too.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

# Nothing appears in the folder of a bundle that is not of it.
sys.dont_write_bytecode = True
from pictures import WHITE, rgb  # type: ignore[import-not-found]  # noqa: E402
from program import (  # type: ignore[import-not-found]  # noqa: E402
    Reading,
    argument_parser,
    check_labels,
    number,
    open_chosen,
    parse,
    read_labels,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from numpy.typing import NDArray
    from program import Anchors

    class Object(TypedDict):
        """An object in a picture; its box is y1, x1, y2, x2 in pixels of the upright picture."""

        label: str
        index: int
        score: float
        box: list[float]


# Centre and extent codes are these times as large as what they say (Liu et al. 2016, SSD, eq. 2).
CENTRE_SCALE, EXTENT_SCALE = 10.0, 5.0
# Score from which objects count where nobody says.
LEAST = 0.4


def place_anchors(told: Anchors) -> NDArray[np.float32]:
    """Anchors, (n, 4): centre y, centre x, height, width in fractions; map by map, row by row."""
    parts = []
    for (rows, columns), shapes in zip(told["sides"], told["shapes"], strict=True):
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        centres = np.repeat(np.stack([y, x], axis=-1).reshape(-1, 1, 2), len(shapes), axis=1)
        parts.append(np.concatenate([centres, np.broadcast_to(shapes, centres.shape)], axis=2).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def find(outputs: Sequence[NDArray[np.float32]], told: Anchors) -> list[tuple[int, float, list[float]]]:
    """Class index, score and corners (y1, x1, y2, x2 in fractions) of every object, the surest first.

    Args:
        outputs: Scores (n, classes) and codes (n, 4); or boxes, classes, scores and their number.
        told: "detection" of model.json: sides, shapes, least_score, overlap, most.
    """
    if len(outputs) == 4:
        boxes, classes, sure, count = outputs
        valid = range(int(np.ravel(count)[0]))
        return [(int(classes[row]), float(sure[row]), np.clip(boxes[row], 0, 1).tolist()) for row in valid]
    scores, codes = outputs
    anchors = place_anchors(told)
    centres = codes[:, :2] / CENTRE_SCALE * anchors[:, 2:] + anchors[:, :2]
    halves = np.exp(codes[:, 2:] / EXTENT_SCALE) * anchors[:, 2:] / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    found: list[tuple[int, float, list[float]]] = []
    for index in range(scores.shape[1]):
        rows = np.flatnonzero(scores[:, index] >= told["least_score"])
        rows = rows[np.argsort(-scores[rows, index], kind="stable")]
        while rows.size:
            best = int(rows[0])
            found.append((index, float(scores[best, index]), np.clip(corners[best], 0, 1).tolist()))
            rows = rows[1:][overlaps(corners[best], corners[rows[1:]]) <= told["overlap"]]
    return sorted(found, key=lambda one: -one[1])[: told["most"]]


def overlaps(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of a box with others."""
    near, far = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    shared = np.maximum(far - near, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (one[2:] - one[:2]).prod() - shared
    return np.asarray(shared / np.maximum(areas, 1e-12), np.float32)


def main(given: Sequence[str] | None = None) -> int:
    """Detects in what the command line names; the status is 1 where a picture could not be read."""
    parser = argument_parser(__doc__)
    counts = "score from which objects count [default: model.json's threshold, or 0.4]"
    parser.add_argument("--least", type=number(0.0, 1.0), help=counts)
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write the pictures with frames there")
    chosen = parse(parser, given)
    about, run = open_chosen(chosen)
    least = about.get("threshold", LEAST) if chosen.least is None else chosen.least
    labels, reading = read_labels(), Reading(chosen, about)
    for name, picture, pixels in reading:
        started = time.perf_counter()
        outputs = run(pixels)
        if len(outputs) == 2:
            check_labels(labels, outputs[0].shape[-1])
        found = [one for one in find(outputs, about["detection"]) if one[1] >= least]
        spent_ms = (time.perf_counter() - started) * 1e3
        size = (picture.height, picture.width) * 2
        objects: list[Object] = [
            {"label": labels[index], "index": index, "score": score, "box": [at * side for at, side in zip(box, size)]}  # noqa: B905 - four of each
            for index, score, box in found
        ]
        if chosen.json:
            # A box is y1, x1, y2, x2 in pixels of the upright picture.
            print(json.dumps({**reading.row(name, spent_ms), "objects": objects}), flush=True)  # noqa: T201
        else:
            noun = "object" if len(objects) == 1 else "objects"
            _tell(f"{name}: {len(objects)} {noun} ({reading.pace(spent_ms)})", objects)
        if chosen.draw:
            _draw(rgb(picture, about.get("white", WHITE)), objects, chosen.draw / f"{Path(name).stem}.png")
    return int(reading.status)


def _tell(heading: str, objects: Sequence[Object]) -> None:
    print(heading, flush=True)  # noqa: T201
    for entry in objects:
        y1, x1, y2, x2 = (round(at) for at in entry["box"])
        print(f"  {entry['label']} {entry['score']:.3f} at x {x1} to {x2}, y {y1} to {y2}", flush=True)  # noqa: T201


def _draw(picture: Image.Image, objects: Sequence[Object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = ImageDraw.Draw(picture)
    for entry in objects:
        y1, x1, y2, x2 = entry["box"]
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline="red", width=2)
        draw.text((x1 + 3, y1 + 2), f"{entry['label']} {entry['score']:.2f}", fill="red")
    picture.save(path)


if __name__ == "__main__":
    start(main)
