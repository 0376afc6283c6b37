"""Keeps native libraries from writing to the user's terminal what is no news to the user."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2


@contextmanager
def native_stderr() -> Iterator[None]:
    """Drops what is written to standard error in the block, below Python too; with --verbose nothing is dropped.

    TensorFlow and LiteRT announce their start there before any log level of theirs applies.
    """
    if logging.getLogger().isEnabledFor(logging.INFO):
        yield
        return
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def start_tensorflow() -> None:
    """Imports TensorFlow and Keras without their greetings; later imports of them find them loaded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401, ICN001
    if not logging.getLogger().isEnabledFor(logging.INFO):
        # It advises on retracing, which is not the user's code.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
