#!/usr/bin/env python3
"""Says how alike pictures are: files, folders of pictures, or the camera.

embed.py photo.jpg pictures/                one line a picture: the cosine with the first one, 1 for the same
embed.py --json pictures/                   one JSON object a line, with the vector
embed.py --camera --every 10                a picture from the camera every 10 seconds, or --stream, against the first

program.py beside it has the frame that all programs share: options, pictures, the camera, the model.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

# Nothing appears in the folder of a bundle that is not of it.
sys.dont_write_bytecode = True
from program import Reading, argument_parser, open_chosen, parse, start  # type: ignore[import-not-found]  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def direction(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector brought to length 1, (dimensions,): 8 bits round the length that the model gave it."""
    flat = output.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-12), np.float32)


def main(given: Sequence[str] | None = None) -> int:
    """Embeds what the command line names; the status is 1 where a picture could not be read."""
    chosen = parse(argument_parser(__doc__), given)
    about, run = open_chosen(chosen)
    reading = Reading(chosen, about)
    first: NDArray[np.float32] | None = None
    for name, _, pixels in reading:
        started = time.perf_counter()
        vector = direction(run(pixels)[0])
        spent_ms = (time.perf_counter() - started) * 1e3
        first = vector if first is None else first
        alike = float(vector @ first)
        if chosen.json:
            row = {**reading.row(name, spent_ms), "similarity": alike, "embedding": vector.tolist()}
            print(json.dumps(row), flush=True)  # noqa: T201
        else:
            print(f"{name}: {alike:.3f} ({reading.pace(spent_ms)})", flush=True)  # noqa: T201
    return int(reading.status)


if __name__ == "__main__":
    start(main)
