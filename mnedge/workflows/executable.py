"""Models that no runtime loads, Keras models and SavedModels, as the float .tflite that they become."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.foreign import is_file
from mnedge.formats.pixels import with_pixels
from mnedge.formats.tflite_write import write_tflite
from mnedge.silence import start_tensorflow
from mnedge.sources import open_source
from mnedge.sources.keras import SOURCE as KERAS
from mnedge.sources.saved_model import SOURCE as SAVED_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LABELS = "labels.txt"


@contextmanager
def executable(artifacts: Sequence[Path | str]) -> Iterator[list[Path]]:
    """Gives files that runtimes load: a Keras model or a SavedModel becomes a float .tflite for as long as it is open.

    It is called as the model with .tflite behind it, and says what the model says of its pixels and labels.

    Args:
        artifacts: Models of any kind; what is no Keras model and no SavedModel comes back as it is.

    Raises:
        InputError: A model leaves its height and width open, or is damaged.
        UnsupportedError: It holds what cannot be brought in, e.g. a Lambda layer; the message names the way out.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found = []
        for place, artifact in enumerate(artifacts):
            path = Path(artifact)
            is_keras = is_file(path) and path.suffix in KERAS.suffixes
            found.append(
                _converted(path, Path(scratch) / str(place)) if is_keras or SAVED_MODEL.accepts(path) else path
            )
        yield found


def _converted(path: Path, folder: Path) -> Path:
    start_tensorflow()
    network = open_source(path)
    graph = network.graph
    if network.pixels is not None:
        graph = replace(graph, metadata=with_pixels(graph.metadata, network.pixels))
    folder.mkdir()
    if network.labels:
        (folder / _LABELS).write_text("".join(f"{name}\n" for name in network.labels), encoding="utf-8")
    file = folder / f"{path.name}.tflite"
    file.write_bytes(write_tflite(graph))
    return file
