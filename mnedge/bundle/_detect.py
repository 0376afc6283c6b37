#!/usr/bin/env python3
"""Says what is in pictures and where: files, folders of pictures, or the camera.

detect.py photo.jpg                         one line an object: class, score, and its box in pixels
detect.py --json --least 0.5 pictures/      one JSON object a picture
detect.py --draw marked/ photo.jpg          also writes the picture with frames around what was found
detect.py --camera --every 10               a picture from the camera every 10 seconds

classify.py beside it opens the model and reads the pictures. The model gives scores and codes of boxes, which are
decoded here with the anchors of model.json; a model that gives objects itself is taken too.
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
from PIL import Image, ImageDraw, ImageOps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Centre and extent codes are these times as large as what they say (Liu et al. 2016, SSD, eq. 2).
CENTRE_SCALE, EXTENT_SCALE = 10.0, 5.0


def place_anchors(told: Mapping[str, Any]) -> NDArray[np.float32]:
    """Anchors, (n, 4): centre y, centre x, height, width in fractions; map by map, row by row."""
    parts = []
    for (rows, columns), shapes in zip(told["sides"], told["shapes"], strict=True):
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        centres = np.repeat(np.stack([y, x], axis=-1).reshape(-1, 1, 2), len(shapes), axis=1)
        parts.append(np.concatenate([centres, np.broadcast_to(shapes, centres.shape)], axis=2).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def find(outputs: Sequence[NDArray[np.float32]], told: Mapping[str, Any]) -> list[tuple[int, float, list[float]]]:
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


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="files or folders")
    parser.add_argument("--camera", action="store_true", help="take the picture with the camera")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="with --camera: again and again")
    parser.add_argument("--model", type=Path, help="another model of this folder, e.g. the .onnx")
    parser.add_argument("--least", type=float, default=0.4, help="score from which objects count [default: 0.4]")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write the pictures with frames there")
    parser.add_argument("--threads", type=int, default=4, help="threads [default: 4]")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture")
    chosen = parser.parse_args(given)
    if bool(chosen.pictures) == chosen.camera:
        parser.error("give pictures, or --camera")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Detects in what the command line names; the status is 1 where a picture could not be read."""
    chosen = _arguments(given)
    about = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    run = open_model(chosen.model or HERE / about["model"], chosen.threads)
    status = 0
    for name, source in camera(chosen.every) if chosen.camera else pictures(chosen.pictures):
        try:
            with Image.open(source) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                pixels = pixels_of(image, about)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
            print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
            status = 1
            continue
        started = time.perf_counter()
        found = [one for one in find(run(pixels), about["detection"]) if one[1] >= chosen.least]
        spent_ms = (time.perf_counter() - started) * 1e3
        size = (upright.height, upright.width) * 2
        objects = [
            {"label": labels[index], "index": index, "score": score, "box": [at * side for at, side in zip(box, size)]}  # noqa: B905 - four of each
            for index, score, box in found
        ]
        _tell(name, objects, spent_ms, as_json=chosen.json)
        if chosen.draw:
            _draw(upright, objects, chosen.draw / f"{Path(name).stem}.png")
    return status


def _tell(name: str, objects: Sequence[Mapping[str, Any]], spent_ms: float, *, as_json: bool) -> None:
    if as_json:
        # A box is y1, x1, y2, x2 in pixels of the upright picture.
        print(json.dumps({"picture": name, "ms": round(spent_ms, 3), "objects": list(objects)}), flush=True)  # noqa: T201
        return
    print(f"{name}: {len(objects)} objects ({spent_ms:.1f} ms)", flush=True)  # noqa: T201
    for entry in objects:
        y1, x1, y2, x2 = (round(at) for at in entry["box"])
        print(f"  {entry['label']} {entry['score']:.3f} at x {x1} to {x2}, y {y1} to {y2}", flush=True)  # noqa: T201


def _draw(picture: Image.Image, objects: Sequence[Mapping[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = ImageDraw.Draw(picture)
    for entry in objects:
        y1, x1, y2, x2 = entry["box"]
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline="red", width=2)
        draw.text((x1 + 3, y1 + 2), f"{entry['label']} {entry['score']:.2f}", fill="red")
    picture.save(path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
