#!/usr/bin/env python3
"""Says what is in pictures: files, folders of pictures, or the camera.

classify.py photo.jpg                       one line a picture: the most probable classes, or a yes or no a label
classify.py --json --top 3 pictures/        one JSON object a line
classify.py --camera --every 10             a picture from the camera every 10 seconds
classify.py --camera usb --stream           as many pictures as it can, with how many a second

The camera is that of the board (csi) or of USB (usb, or its device). Needs a runtime (ai-edge-litert, or
tflite-runtime, or for .onnx onnxruntime), numpy and Pillow.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

# Nothing appears in the folder of a bundle that is not of it.
sys.dont_write_bytecode = True
# `python -I` does not search the folder of its program.
if (here := str(Path(__file__).resolve().parent)) not in sys.path:
    sys.path.insert(0, here)
from program import (  # type: ignore[import-not-found]  # noqa: E402
    Reading,
    argument_parser,
    check_labels,
    number,
    open_chosen,
    parse,
    read_labels,
    start,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from numpy.typing import NDArray

    class Answer(TypedDict, total=False):
        """A class or label of a picture; "yes" of labels by themselves."""

        label: str
        index: int
        score: float
        yes: bool


# Where the probability of a label by itself says yes.
THRESHOLD = 0.5


def answers(
    scores: NDArray[np.float32], labels: Sequence[str], head: str, top: int, threshold: float | None = None
) -> list[Answer]:
    """What a model says of a picture: the most probable classes, or of labels by themselves a yes or no for each.

    Args:
        scores: The real outputs, (labels,).
        labels: Class names.
        head: model.json: "softmax", "logits", "sigmoid" (one output) or "multi-label".
        top: How many classes, where they exclude each other.
        threshold: Probability from which a label is a yes, and the second of two classes the first said; None for
            `THRESHOLD`, and for the most probable class.
    """
    if head in ("sigmoid", "multi-label"):
        least = THRESHOLD if threshold is None else threshold
        return [
            {"label": label, "index": index, "score": float(scores[index]), "yes": bool(scores[index] >= least)}
            for index, label in enumerate(labels)
        ]
    if head == "logits":
        shares = np.exp(scores - scores.max())
        scores = shares / shares.sum()
    best = np.argsort(-scores, kind="stable")
    if threshold is not None and len(scores) == 2:
        best = np.array([1, 0] if scores[1] >= threshold else [0, 1])
    best = best[:top]
    return [{"label": labels[index], "index": int(index), "score": float(scores[index])} for index in best]


def _said(entry: Answer) -> str:
    answer = "" if "yes" not in entry else " yes" if entry["yes"] else " no"
    return f"{entry['label']}{answer} {entry['score']:.3f}"


def main(given: Sequence[str] | None = None) -> int:
    """Classifies what the command line names; the status is 1 where a picture could not be read."""
    parser = argument_parser(__doc__)
    parser.add_argument("--top", type=whole(1, 1 << 30), default=1, help="classes a picture [default: 1]")
    least = "score from which a label, or the second of two classes, is said [default: model.json's]"
    parser.add_argument("--threshold", type=number(0.0, 1.0), help=least)
    chosen = parse(parser, given)
    about, run = open_chosen(chosen)
    threshold = about.get("threshold") if chosen.threshold is None else chosen.threshold
    labels, reading = read_labels(), Reading(chosen, about)
    for name, _, pixels in reading:
        started = time.perf_counter()
        scores = run(pixels)[0].ravel()
        check_labels(labels, len(scores))
        spent_ms = (time.perf_counter() - started) * 1e3
        classes = answers(scores, labels, about["head"], chosen.top, threshold)
        if chosen.json:
            print(json.dumps({**reading.row(name, spent_ms), "classes": classes}), flush=True)  # noqa: T201
        else:
            said = ", ".join(_said(entry) for entry in classes)
            print(f"{name}: {said} ({reading.pace(spent_ms)})", flush=True)  # noqa: T201
    return int(reading.status)


if __name__ == "__main__":
    start(main)
