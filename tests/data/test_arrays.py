from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnedge.data.arrays import is_arrays, open_arrays
from mnedge.errors import InputError


def test_one_array_needs_no_name(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    np.save(tmp_path / "a.npy", values)
    found = open_arrays(tmp_path / "a.npy")
    assert (found.count, found.truths) == (4, None)
    assert found.of("anything", (1, 3, 2)).dtype == np.float32
    assert np.array_equal(found.of("anything", (1, 3, 2)), values)


def test_several_inputs_have_names_and_truths_are_y(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.ones((5, 2)), right=np.zeros((5, 3)), y=np.arange(5))
    found = open_arrays(tmp_path / "a.npz")
    assert found.of("right", (1, 3)).tolist() == [[0, 0, 0]] * 5
    assert found.truths is not None
    assert found.truths.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"has left, right, but the model's input is image"):
        found.of("image", (1, 2))


def test_another_shape_names_both(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
    with pytest.raises(InputError, match=r"samples of 3x2, the model's input image takes 2x3"):
        open_arrays(tmp_path / "a.npy").of("image", (1, 2, 3))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.array([["a"]])}, "an input is of float or uint8"),
        ({"x": np.array([[1.0], [np.nan]])}, "no finite number, in sample 1"),
        ({"x": np.zeros((3, 1)), "y": np.zeros(2)}, "different lengths .x 3, y 2"),
        ({"x": np.zeros((0, 4))}, "there must be one"),
        ({}, "holds no array"),
    ],
)
def test_what_is_no_input_is_named(tmp_path: Path, arrays: Any, words: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=words):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04cut"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz is no \.npy or \.npz"):
        open_arrays(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"gone\.npy is no \.npy"):
        open_arrays(tmp_path / "gone.npy")
    assert is_arrays("x/gone.npy")
    assert not is_arrays("photos")
