#!/usr/bin/env python3
"""Says how alike pictures are: files, folders of pictures, or the camera.

embed.py photo.jpg pictures/                one line a picture: the cosine with the first one, 1 for the same
embed.py --json pictures/                   one JSON object a line, with the vector
embed.py --camera --every 10                a picture from the camera every 10 seconds, against the first

classify.py beside it opens the model and reads the pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from classify import HERE, camera, open_model, pictures, pixels_of  # type: ignore[import-not-found]
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def direction(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector brought to length 1, (dimensions,): 8 bits round the length that the model gave it."""
    flat = output.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-12), np.float32)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="files or folders")
    parser.add_argument("--camera", action="store_true", help="take the picture with the camera")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="with --camera: again and again")
    parser.add_argument("--model", type=Path, help="another model of this folder, e.g. the .onnx")
    parser.add_argument("--threads", type=int, default=4, help="threads [default: 4]")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    chosen = parser.parse_args(given)
    if bool(chosen.pictures) == chosen.camera:
        parser.error("give pictures, or --camera")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Embeds what the command line names; the status is 1 where a picture could not be read."""
    chosen = _arguments(given)
    about = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    run = open_model(chosen.model or HERE / about["model"], chosen.threads)
    first: NDArray[np.float32] | None = None
    status = 0
    for name, source in camera(chosen.every) if chosen.camera else pictures(chosen.pictures):
        try:
            with Image.open(source) as image:
                pixels = pixels_of(image, about)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
            print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
            status = 1
            continue
        started = time.perf_counter()
        vector = direction(run(pixels)[0])
        spent_ms = (time.perf_counter() - started) * 1e3
        first = vector if first is None else first
        alike = float(vector @ first)
        if chosen.json:
            row = {"picture": name, "ms": round(spent_ms, 3), "similarity": alike, "embedding": vector.tolist()}
            print(json.dumps(row), flush=True)  # noqa: T201
        else:
            print(f"{name}: {alike:.3f} ({spent_ms:.1f} ms)", flush=True)  # noqa: T201
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
