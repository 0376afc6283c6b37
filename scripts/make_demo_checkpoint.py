# noqa: INP001 - a script stands alone
"""Makes mnedge/models/demo_v3_small_1.0_96.h5, the checkpoint that comes with the package.

    python scripts/make_demo_checkpoint.py

Trains V3 small on the train split of the demo digits, from nothing; calibration and eval pictures are only looked at,
for the two figures that it prints. Takes some five minutes on two cores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mnedge.cli._output import progress
from mnedge.data.demo import open_demo
from mnedge.models.build import build_model
from mnedge.models.variant import Variant
from mnedge.models.weights import save_compact
from mnedge.pixels import SYMMETRIC
from mnedge.training.demo import train_demo

VARIANT = Variant("v3-small", 1.0, 96, classes=10)
PLACE = Path(__file__).parent.parent / "mnedge" / "models" / "demo_v3_small_1.0_96.h5"
EPOCHS = 30


def main(path: Path) -> None:
    """Trains, writes, reads back and measures."""
    dataset = open_demo()
    model = build_model(VARIANT, "random")
    with progress() as told:
        images, labels = dataset.pixels(dataset.split("train"), VARIANT.resolution)
        train_demo(model, images, labels, epochs=EPOCHS, progress=told)
    save_compact(model, path)
    written = build_model(VARIANT, path)
    for split in ("calibration", "eval"):
        images, labels = dataset.pixels(dataset.split(split), VARIANT.resolution)
        scores = np.concatenate([written(SYMMETRIC.real(image[None])).numpy() for image in images])
        typer.echo(f"{split}: top-1 {(scores.argmax(1) == labels).mean():.4f} of {len(labels)} pictures")
    typer.echo(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE)
