"""Raw files: the bytes of a model's inputs as they lie in a microcontroller's memory, sample after sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.batch import is_real
from mnedge.data.arrays import Arrays
from mnedge.errors import InputError
from mnedge.foreign import open_regular
from mnedge.runtimes._runtime import decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.runtimes import TensorSpec

SUFFIXES = (".bin", ".raw")
_MOST_BYTES = 1 << 30


def is_raw(spec: str) -> bool:
    """Returns whether --data names a raw file."""
    return spec.endswith(SUFFIXES)


def open_raw(path: Path, inputs: Sequence[TensorSpec]) -> Arrays:
    """Reads a raw file: for each sample the bytes of every input in file order, little-endian, of the input's dtype.

    Args:
        path: The file.
        inputs: All inputs of the network, whose shapes and dtypes cut the bytes.

    Returns:
        Real values where the input stands for some: they quantize to the same steps again.

    Raises:
        InputError: No such file, or its size is no multiple of what the inputs take.
    """
    try:
        with open_regular(path) as stream:
            data = np.frombuffer(stream.read(_MOST_BYTES + 1), np.uint8)
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc}); give a .npy, .npz or raw file, or pictures") from exc
    sizes = [math.prod(entry.shape) * np.dtype(entry.dtype).itemsize for entry in inputs]
    if not data.size or data.size > _MOST_BYTES or data.size % sum(sizes):
        taken = " + ".join(f"{'x'.join(map(str, entry.shape))} {entry.dtype}" for entry in inputs)
        raise InputError(
            f"{path} has {data.size:,} bytes; a raw file holds samples of {sum(sizes):,} bytes each, as the model "
            f"takes them ({taken}), at least one, and at most {_MOST_BYTES:,} bytes"
        )
    samples = data.reshape(-1, sum(sizes))
    found = {}
    for entry, part in zip(inputs, np.split(samples, np.cumsum(sizes)[:-1], axis=1), strict=True):
        steps = np.ascontiguousarray(part).view(np.dtype(entry.dtype).newbyteorder("<"))
        steps = steps.reshape(len(samples), *entry.shape[1:])
        found[entry.name] = decode(steps, entry) if is_real(entry) else steps
        if not np.isfinite(found[entry.name]).all():
            raise InputError(f"{path} has a value that is no finite number; it holds {entry.dtype}, little-endian")
    return Arrays(str(path), found)
