"""Arrays of a .npy or .npz as a network takes them: calibration and validation without pictures."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mnedge.batch import Batch, fed_dtype, is_real
from mnedge.errors import InputError, MnedgeError
from mnedge.foreign import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.lib.npyio import NpzFile
    from numpy.typing import NDArray

    from mnedge.batch import Input
    from mnedge.untyped import AnyArray

SUFFIXES = (".npy", ".npz")
# Name of the right answers in an .npz: of the first output, and before the name of any output.
TRUTHS, TRUTHS_OF = "y", "y:"
# Name of the tensor that TensorFlow gives an argument.
_SERVED = re.compile(r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*?_default_(?P<argument>.+?)(?::\d+)?")
_MOST_BYTES = 1 << 30
_MOST_SHRUNK = 4


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs of a network, and the right outputs if they are known.

    Attributes:
        name: The path as given.
        inputs: By the name of the network's input; a .npy has one without a name. (samples, …), float, uint8, or whole
            numbers.
        truths: (samples, …) by the name of an output, "" for the first: class indices, or what the outputs should be.
    """

    name: str
    inputs: Mapping[str, AnyArray]
    truths: Mapping[str, AnyArray] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    @property
    def sha256(self) -> str:
        """Checksum of the names, dtypes, shapes and values of the inputs and truths."""
        digest = hashlib.sha256()
        named = {**self.inputs, **{f"{TRUTHS_OF}{name}": values for name, values in self.truths.items()}}
        for name, values in named.items():
            digest.update(f"{name} {values.dtype.str} {values.shape}\0".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def part(self, numbers: NDArray[np.int64]) -> Arrays:
        """Selects samples by their numbers."""
        inputs, truths = (
            {name: values[numbers] for name, values in named.items()} for named in (self.inputs, self.truths)
        )
        return Arrays(self.name, inputs, truths)

    def batch(self, inputs: Sequence[Input], arguments: Mapping[str, str] | None = None) -> Batch:
        """The arrays as a batch for the inputs of a network: here, and nowhere else, names in a file become inputs.

        An array is called as the input, as the argument of a signature that stands for it, or, for an input that
        TensorFlow called "serving_default_NAME:0", NAME. The only array for the only input needs no name.

        Args:
            inputs: All inputs of the network, in order.
            arguments: The input that each argument of the network's signatures stands for, by the argument.

        Raises:
            InputError: An array is missing or is none of the inputs, or its samples have another shape or dtype.
        """
        place = self._places(inputs, arguments or {})
        wrong = [entry.name for entry in inputs if not _takes(entry, self.inputs[place[entry.name]])]
        if wrong:
            raise InputError(self._differs(inputs, f"{', '.join(wrong)} of another shape or dtype"))
        return Batch({entry.name: _fed(entry, self.inputs[place[entry.name]]) for entry in inputs})

    def _places(self, inputs: Sequence[Input], arguments: Mapping[str, str]) -> dict[str, str]:
        """The array of each input, by the input's name."""
        if len(inputs) == len(self.inputs) == 1:
            return {inputs[0].name: next(iter(self.inputs))}
        told = {argument: name for name, argument in _arguments(inputs).items()} | {**arguments}
        told |= {entry.name: entry.name for entry in inputs}
        found: dict[str, str] = {}
        for key in self.inputs:
            if key in told:
                found.setdefault(told[key], key)
        missing = [entry.name for entry in inputs if entry.name not in found]
        extra = [key or "an array without a name" for key in self.inputs if key not in found.values()]
        words = [f"no array for {', '.join(missing)}"] if missing else []
        words += [f"no input for {', '.join(extra)}"] if extra else []
        if words:
            raise InputError(self._differs(inputs, " and ".join(words)))
        return found

    def _differs(self, inputs: Sequence[Input], what: str) -> str:
        """The sentence of an error: both lists, and what to do."""
        held = [_shown(name, values.shape, str(values.dtype)) for name, values in self.inputs.items()]
        short = _arguments(inputs)
        taken = [
            _shown(short.get(entry.name, entry.name), entry.shape, "float" if is_real(entry) else entry.dtype)
            for entry in inputs
        ]
        return (
            f"{self.name} holds {', '.join(held)}; the model takes {', '.join(taken)}: {what}. Write one array an "
            "input, (samples, …), with numpy.savez(FILE, NAME=array, …), and the right answers as y"
        )


def _arguments(inputs: Sequence[Input]) -> dict[str, str]:
    """The argument in TensorFlow's names for inputs, by the input's name."""
    found = {entry.name: _SERVED.fullmatch(entry.name) for entry in inputs}
    return {name: match["argument"] for name, match in found.items() if match}


def _shown(name: str, shape: tuple[int, ...], dtype: str) -> str:
    extents = "x".join(map(str, shape[1:])) or "1 value"
    return f"{name} ({extents} {dtype})" if name else f"one array ({extents} {dtype})"


def _takes(entry: Input, values: AnyArray) -> bool:
    """Returns whether an input takes an array: the shape of its samples fits, and so does the dtype."""
    if values.shape[1:] != entry.shape[1:]:
        return False
    if is_real(entry):
        return values.dtype == np.uint8 or values.dtype.kind == "f"
    if not np.issubdtype(entry.dtype, np.integer):
        return False
    limits = np.iinfo(entry.dtype)
    return values.dtype.kind in "iu" and limits.min <= values.min() and values.max() <= limits.max


def _fed(entry: Input, values: AnyArray) -> AnyArray:
    return values.astype(fed_dtype(entry))


def is_arrays(spec: str) -> bool:
    """Returns whether --data names arrays."""
    return spec.endswith(SUFFIXES)


def open_arrays(path: Path) -> Arrays:
    """Reads a .npy with one array, or a .npz with an array for each input and the right answers where it has them.

    `y` holds those of the first output, `y:NAME` those of the output NAME.

    Raises:
        InputError: No such file, no arrays of numbers, or arrays of different lengths.
    """
    try:
        with open_regular(path) as stream:
            found = _loaded(stream, str(path))
    except OSError as exc:
        raise InputError(f"{path} is no .npy or .npz of numbers ({exc}); write it with numpy.save or savez") from exc
    answers = [name for name in found if name == TRUTHS or name.startswith(TRUTHS_OF)] if len(found) > 1 else []
    truths = {name.removeprefix(TRUTHS).removeprefix(":"): found.pop(name) for name in answers}
    if not found:
        raise InputError(f"{path} holds no array")
    for name, values in found.items():
        _check(path, name, values)
    lengths = {name or "the array": len(values) for name, values in found.items()}
    for name, values in truths.items():
        lengths[TRUTHS_OF + name if name else TRUTHS] = len(values) if values.ndim else 0
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise InputError(f"{path} holds arrays of different lengths ({listed}); the first axis is the sample of each")
    return Arrays(str(path), found, truths)


def _loaded(stream: BinaryIO, source: str) -> dict[str, AnyArray]:
    """The arrays of a file by name; pickled objects are never loaded."""
    try:
        if stream.read(2) == b"PK":
            _check_members(stream, source)
        stream.seek(0)
        loaded = np.load(stream, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else _members(loaded, source)
    except MnedgeError:
        raise
    except MemoryError as exc:
        raise InputError(f"{source} promises arrays of more memory than there is ({exc}); write it again") from exc
    except Exception as exc:  # NumPy reads headers as Python, so damage is any of Python's errors, and zipfile's
        raise InputError(f"{source} is no .npy or .npz of numbers ({exc}); write it with numpy.save or savez") from exc


def _members(loaded: NpzFile, source: str) -> dict[str, AnyArray]:
    twice = next((name for name in loaded.files if loaded.files.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{source} holds {twice} {loaded.files.count(twice)} times; each array has a name of its own")
    members = {name: loaded[name] for name in loaded.files}
    # NumPy gives the bytes of what is none of its arrays.
    other = next((name for name, member in members.items() if not isinstance(member, np.ndarray)), None)
    if other is not None:
        raise InputError(f"{source} holds {other}, which is no array; write it with numpy.savez")
    return members


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


def _check(path: Path, name: str, values: AnyArray) -> None:
    what = f"{path}, array {name}" if name else str(path)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{what} is of {values.dtype}; an input is of float, uint8 or whole numbers")
    if values.ndim < 2 or not values.size:
        raise InputError(f"{what} has shape {values.shape}; the first axis is the sample, and there must be one")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        place = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(f"{what} has a value that is no finite number, in sample {place}; remove or mend it")
