"""Starts heavy libraries quietly and without work that no command needs."""

from __future__ import annotations

import gc
import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2


@contextmanager
def native_stderr() -> Iterator[None]:
    """Suppresses native output to standard error in the block; -vv shows it.

    TensorFlow and LiteRT announce their start there before any log level of theirs applies.
    """
    if logging.getLogger().isEnabledFor(logging.DEBUG):
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


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pauses Python's garbage collector in the block.

    Imports and the loading of a model make a million objects that stay, which the collector would walk again and again:
    a sixth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Lets an import of scikit-learn in the block fail, in a process that runs a command of mnedge.

    Keras imports it for wrappers that mnedge does not use, with SciPy's statistics behind it: a fifth of the import. A
    program of the user's that imports mnedge may use those wrappers, so nothing is withheld there.
    """
    hidden = "mnedge.cli" in sys.modules and "sklearn" not in sys.modules and "keras" not in sys.modules
    if hidden:
        # Python's own word for what is not to be had.
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["sklearn"]


def start_tensorflow() -> None:
    """Imports TensorFlow and Keras without their greetings; later imports of them find them loaded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_stderr(), paused_collection(), _without_scikit_learn():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401, ICN001
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        # It advises on retracing, which is not the user's code.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
