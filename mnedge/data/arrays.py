"""Arrays of a .npy or .npz as a network takes them: calibration and validation without pictures."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mnedge.errors import InputError, MnedgeError
from mnedge.foreign import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".npy", ".npz")
# Name of the right answers in an .npz.
TRUTHS = "y"
_MOST_BYTES = 1 << 30
_MOST_SHRUNK = 4


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs of a network, and what is right where that is known.

    Attributes:
        name: The path as given.
        inputs: By the name of the network's input; a .npy has one without a name. (samples, …), float32 or uint8.
        truths: (samples, …): class indices, or what the outputs should be; None where nothing is known.
    """

    name: str
    inputs: Mapping[str, NDArray[Any]]
    truths: NDArray[Any] | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    def of(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The values of one input of a network, as real numbers.

        Args:
            name: Of the input; the only array there is needs no name.
            shape: Of the input, with batch 1.

        Raises:
            InputError: There is no such array, or it has another shape.
        """
        if len(self.inputs) > 1 and name not in self.inputs:
            raise InputError(f"{self.name} has {', '.join(self.inputs)}, but the model's input is {name}; name it so")
        found = self.inputs[name] if name in self.inputs else next(iter(self.inputs.values()))
        if found.shape[1:] != shape[1:]:
            given, taken = ("x".join(map(str, extents[1:])) for extents in (found.shape, shape))
            raise InputError(
                f"{self.name} holds samples of {given}, the model's input {name} takes {taken}; give an array "
                f"(samples, {taken.replace('x', ', ')})"
            )
        return found.astype(np.float32)


def is_arrays(spec: str) -> bool:
    """Whether --data names arrays."""
    return spec.endswith(SUFFIXES)


def open_arrays(path: Path) -> Arrays:
    """Reads a .npy with one array, or a .npz with an array for each input, and `y`, the right answers, if it has them.

    Raises:
        InputError: No such file, no arrays of numbers, or arrays of different lengths.
    """
    try:
        with open_regular(path) as stream:
            found = _loaded(stream, str(path))
    except OSError as exc:
        raise InputError(f"{path} is no .npy or .npz of numbers ({exc}); write it with numpy.save or savez") from exc
    truths = found.pop(TRUTHS, None) if len(found) > 1 else None
    if not found:
        raise InputError(f"{path} holds no array")
    for name, values in found.items():
        _check(path, name, values)
    lengths = {name or "the array": len(values) for name, values in found.items()}
    if truths is not None:
        lengths[TRUTHS] = len(truths) if truths.ndim else 0
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise InputError(f"{path} holds arrays of different lengths ({listed}); the first axis is the sample of each")
    return Arrays(str(path), found, truths)


def _loaded(stream: BinaryIO, source: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; pickled objects are never loaded."""
    try:
        if stream.read(2) == b"PK":
            _check_members(stream, source)
        stream.seek(0)
        loaded = np.load(stream, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except MnedgeError:
        raise
    except MemoryError as exc:
        raise InputError(f"{source} promises arrays of more memory than there is ({exc}); write it again") from exc
    except Exception as exc:  # NumPy reads headers as Python, so damage is any of Python's errors, and zipfile's
        raise InputError(f"{source} is no .npy or .npz of numbers ({exc}); write it with numpy.save or savez") from exc


def _check_members(stream: BinaryIO, source: str) -> None:
    """Refuses an .npz of members that are far larger than the file; zipfile reads no more of each than is said here."""
    with zipfile.ZipFile(stream) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    packed = stream.seek(0, os.SEEK_END)
    if unpacked > max(_MOST_BYTES, _MOST_SHRUNK * packed):
        raise InputError(
            f"{source} has {packed:,} bytes and unpacks to {unpacked:,}; at most {_MOST_BYTES:,} bytes, or "
            f"{_MOST_SHRUNK} times the file, are unpacked: save each array as a .npy, or fewer samples"
        )


def _check(path: Path, name: str, values: NDArray[Any]) -> None:
    what = f"{path}, array {name}" if name else str(path)
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise InputError(f"{what} is of {values.dtype}; an input is of float or uint8")
    if values.ndim < 2 or not values.size:
        raise InputError(f"{what} has shape {values.shape}; the first axis is the sample, and there must be one")
    if not np.isfinite(values).all():
        place = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(f"{what} has a value that is no finite number, in sample {place}; remove or mend it")
