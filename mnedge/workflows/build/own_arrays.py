"""Builds of a user's model on arrays: several inputs, or inputs that are not pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.choices import DEFAULT_TASK
from mnedge.data._dataset import Dataset
from mnedge.data.arrays import open_arrays
from mnedge.data.calibration import IMAGES
from mnedge.data.content import Content
from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.graph import arguments_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.arrays import Arrays
    from mnedge.data.preprocess import Size
    from mnedge.recipe import Recipe
    from mnedge.sources import Float


def open_samples(path: Path, network: Float, recipe: Recipe) -> tuple[Arrays, Dataset]:
    """Opens a recipe's arrays, which must fit the inputs of its model, and divides them.

    Without a calibration set of its own, every other sample calibrates, at most 200 of them, evenly spread, and the
    others are measured.

    Args:
        path: The model, for messages.
        network: Network of the model.
        recipe: Recipe to build.

    Returns:
        The arrays, and a data set without pictures that stands for them in reports.

    Raises:
        InputError: The arrays do not fit the inputs, or the recipe asks for what takes pictures.
        UnsupportedError: The recipe asks for training.
    """
    _check(recipe)
    arrays = open_arrays(Path(recipe.data))
    graph = network.graph
    # Found out before anything is computed.
    arrays.batch([graph.tensors[name] for name in graph.inputs], arguments_of(graph.signatures))
    every = np.arange(arrays.count)
    calibrating, measured = _divided(every) if recipe.calibration is None else (every[:0], every)

    def read(number: int, _: Size) -> NDArray[np.uint8]:
        raise InputError(f"sample {number} of {recipe.data} is of arrays and no picture, which {path} takes")

    dataset = Dataset(
        name=arrays.name,
        classes=network.labels,
        fixed_classes=False,
        labels=np.zeros(arrays.count, np.int64),
        splits={"train": every[:0], "calibration": calibrating, "eval": measured},
        sources=tuple(f"sample {number}" for number in every),
        read=read,
        content=Content(other=arrays.sha256),
    )
    return arrays, dataset


def _check(recipe: Recipe) -> None:
    if recipe.method == "qat":
        raise UnsupportedError(
            f"training with fake quantization takes pictures, and {recipe.data} holds arrays; leave --method qat out"
        )
    told = {"--positive": recipe.positive, "--task": None if recipe.task == DEFAULT_TASK else recipe.task}
    wrong = [f"{name} {value}" for name, value in told.items() if value is not None]
    if recipe.bundles:
        wrong.append(f"the bundle {recipe.bundles[0]}")
    if wrong:
        raise InputError(f"{wrong[0]} is for pictures, and {recipe.data} holds arrays; leave it out")


def _divided(every: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the samples that calibrate, and of those that are measured: both the only one, where there is one."""
    count = min(IMAGES, max(1, every.size // 2))
    calibrating = np.unique(np.linspace(0, every.size - 1, count).astype(np.int64))
    others = np.setdiff1d(every, calibrating)
    return calibrating, others if others.size else every
