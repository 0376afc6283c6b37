"""The reader of .safetensors against the format's own text, good and bad."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.safetensors import read_safetensors

if TYPE_CHECKING:
    from pathlib import Path


def _file(path: Path, header: object, body: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def _entry(dtype: object, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_arrays_are_read_whatever_their_order_and_dtype(tmp_path: Path) -> None:
    wide, bf16 = np.arange(6, dtype=np.float64), np.array([1.5, -2.0], np.float32)
    halves = (bf16.view(np.uint32) >> 16).astype(np.uint16)
    body = wide.tobytes() + halves.tobytes() + np.array(7, np.int64).tobytes()
    header = {
        "z": _entry("F64", [2, 3], 0, 48), "__metadata__": {"format": "pt"}, "a": _entry("BF16", [2], 48, 52),
        "count": _entry("I64", [], 52, 60), "none": _entry("F32", [0, 4], 60, 60),
    }  # fmt: skip
    found = read_safetensors(_file(tmp_path / "a.safetensors", header, body))
    assert list(found) == ["a", "count", "none", "z"]
    assert np.array_equal(found["z"], wide.reshape(2, 3))
    assert found["a"].dtype == np.float32
    assert np.array_equal(found["a"], bf16)
    assert found["count"] == 7
    assert found["none"].shape == (0, 4)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{}}", "its header is no JSON"),
        (b'{"a": {"dtype": "F32"', "its header is no JSON"),
        ({"a": 3}, "entry of 'a' lacks"),
        ({"a": _entry("F32", [2], 0, 4)}, r"'a' of shape \(2,\) does not lie at bytes 0 to 4"),
        ({"a": _entry("F32", [2], 8, 16)}, "does not lie at bytes 8 to 16"),
        ({"a": _entry("F32", [2], 8, 0)}, "does not lie at bytes 8 to 0"),
        ({"a": _entry("F32", [-2], 0, 8)}, "lacks dtype, shape or data_offsets"),
        ({"a": _entry("F32", [True], 0, 4)}, "lacks dtype, shape or data_offsets"),
        ({"a": _entry("F32", [1 << 62, 1 << 62], 0, 8)}, "does not lie"),
        ({"a": _entry(None, [2], 0, 8)}, "lacks dtype"),
    ],
)
def test_damage_is_named(tmp_path: Path, header: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_safetensors(_file(tmp_path / "a.safetensors", header, bytes(8)))


def test_every_cut_is_refused_and_unknown_dtypes_are_named(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.safetensors", {"a": _entry("F32", [2], 0, 8)}, bytes(8))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.safetensors"):
            read_safetensors(path)
    with pytest.raises(UnsupportedError, match="a has the dtype F8_E4M3; read are F64, F32"):
        read_safetensors(_file(path, {"a": _entry("F8_E4M3", [8], 0, 8)}, bytes(8)))
    with pytest.raises(InputError, match="cannot be read"):
        read_safetensors(tmp_path / "none.safetensors")
