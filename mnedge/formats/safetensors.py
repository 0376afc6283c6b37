"""Reads .safetensors: eight bytes of length, a JSON header, the arrays one behind the other, and no code.

The format is https://huggingface.co/docs/safetensors: its header names dtype, shape and place of each array.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.foreign import parse_json, read_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The format's own limit of a header; more than any weights of a MobileNet in float64.
_HEADER_BYTES, _MOST_BYTES = 100_000_000, 2 << 30
_LENGTH_BYTES = 8
_BFLOAT16 = "BF16"
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", _BFLOAT16: "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U8": "<u1", "BOOL": "?",
}  # fmt: skip
_METADATA = "__metadata__"


def is_safetensors(first: bytes) -> bool:
    """Returns whether a file with these first nine bytes or more is a .safetensors: its header is a JSON object."""
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    return 2 <= length <= _HEADER_BYTES and first[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Reads all arrays by name, in the order of their names; bfloat16 becomes float32, which holds it exactly.

    Raises:
        InputError: The file is missing or damaged.
        UnsupportedError: An array has a dtype that NumPy has not.
    """
    content = read_file(path, _MOST_BYTES)
    if not is_safetensors(content[:16]):
        raise _damaged(path, "it does not begin with the length of a JSON header")
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if _LENGTH_BYTES + length > len(content):
        raise _damaged(path, f"its header needs {length} bytes, and {len(content) - _LENGTH_BYTES} follow")
    try:
        header = parse_json(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (ValueError, RecursionError) as exc:
        raise _damaged(path, f"its header is no JSON ({exc})") from exc
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no JSON object")
    body = memoryview(content)[_LENGTH_BYTES + length :]
    return {name: _array(path, name, header[name], body) for name in sorted(header) if name != _METADATA}


def _array(path: Path, name: str, entry: object, body: memoryview) -> NDArray[np.generic]:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, place = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (isinstance(dtype, str) and _are_counts(shape) and _are_counts(place) and len(place) == 2):
        raise _damaged(path, f"the header's entry of {name[:80]!r} lacks dtype, shape or data_offsets")
    if dtype not in _DTYPES:
        raise UnsupportedError(
            f"{path}: {name[:80]} has the dtype {dtype[:20]}; read are {', '.join(_DTYPES)}: save the model in float32"
        )
    stored = np.dtype(_DTYPES[dtype])
    begin, end = place
    if begin > end or end > len(body) or end - begin != math.prod(shape) * stored.itemsize:
        raise _damaged(path, f"{name[:80]!r} of shape {tuple(shape)} does not lie at bytes {begin} to {end}")
    values = np.frombuffer(body[begin:end], stored).reshape(shape)
    if dtype == _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is no intact .safetensors: {what}; fetch or save it again")
