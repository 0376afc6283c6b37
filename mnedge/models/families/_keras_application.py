"""Networks that Keras itself brings, with the ImageNet weights that it publishes."""

from __future__ import annotations

import glob
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError, last_line

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray


def build(
    builder: str, image: keras.KerasTensor, alpha: float, classes: int | None, **arguments: bool
) -> keras.KerasTensor:
    """Puts the network of a builder of keras.applications on an image.

    Args:
        builder: Name in keras.applications.
        image: Keras tensor, float32 (1, H, W, 3), in [-1, 1].
        alpha: Width multiplier.
        classes: Number of classes; None for the network without its classifier.
        arguments: Further arguments of the builder.

    Returns:
        A Keras tensor: the softmax of the classes, or the last feature map.
    """
    import keras

    with_classifier = {} if classes is None else {"classes": classes}
    network = getattr(keras.applications, builder)(
        input_tensor=image,
        input_shape=tuple(image.shape[1:]),
        alpha=alpha,
        include_top=classes is not None,
        weights=None,
        **with_classifier,
        **arguments,
    )
    return network.outputs[0]


def imagenet(
    builder: str, file: str, alpha: float, resolution: int, has_classifier: bool, /, **arguments: bool
) -> list[NDArray[np.float32]]:
    """Loads ImageNet weights through Keras' own download and cache; Keras checks the checksum if it publishes one (V3).

    Args:
        builder: Name in keras.applications.
        file: Name of the file, for messages.
        alpha: Width multiplier, one of those that are published.
        resolution: Side of the input in pixels, one of those that are published.
        has_classifier: Whether the weights of the classifier are loaded too.
        arguments: Further arguments of the builder.

    Returns:
        The arrays in the order of the network's weights.

    Raises:
        InputError: The file is not in the cache and cannot be downloaded, or is damaged.
    """
    import keras

    try:
        # Keras tells of its download on stdout, which belongs to results.
        with redirect_stdout(sys.stderr):
            source = getattr(keras.applications, builder)(
                input_shape=(resolution, resolution, 3),
                alpha=alpha,
                include_top=has_classifier,
                weights="imagenet",
                **arguments,
            )
    except Exception as exc:  # Keras raises a bare Exception when a download fails
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
        raise InputError(
            f"the ImageNet weights {file} cannot be had: {last_line(exc)}. Put the file into {folder} and run again, "
            f"or give a weights file with --weights FILE{_beside(folder, file)}"
        ) from exc
    arrays: list[NDArray[np.float32]] = source.get_weights()
    return arrays


def _beside(folder: Path, name: str) -> str:
    """The files that differ from `name` in the resolution only, which fit as well."""
    pattern = re.sub(r"_(\d{2,3})(?=[_.])", "_*", glob.escape(name))
    found = sorted(str(path) for path in folder.glob(pattern))
    return f"; of another resolution, but the same network, is {' or '.join(found)}" if found else ""
