from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnedge.data.arrays import is_arrays, open_arrays
from mnedge.errors import InputError
from mnedge.graph.graph import Tensor


def real(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name, (1, *shape), dtype)


def test_one_array_needs_no_name(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    np.save(tmp_path / "a.npy", values)
    found = open_arrays(tmp_path / "a.npy")
    assert (found.count, found.truths) == (4, {})
    batch = found.batch([real("anything", 3, 2)]).arrays["anything"]
    assert batch.dtype == np.float32
    assert np.array_equal(batch, values)


def test_arrays_become_inputs_in_the_networks_order_and_truths_are_y(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.ones((5, 2)), right=np.zeros((5, 3)), y=np.arange(5), **{"y:age": np.ones(5)})  # type: ignore[arg-type]
    found = open_arrays(tmp_path / "a.npz")
    batch = found.batch([real("right", 3), real("left", 2)])
    assert [(name, values.shape) for name, values in batch.arrays.items()] == [("right", (5, 3)), ("left", (5, 2))]
    assert (len(batch), len(batch[:2]), len(batch[:2].arrays["left"])) == (5, 2, 2)
    assert {name: values.tolist() for name, values in found.truths.items()} == {"": [0, 1, 2, 3, 4], "age": [1.0] * 5}


def test_arrays_are_called_as_tensors_or_as_a_signatures_arguments(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", picture=np.ones((5, 2)), more=np.zeros((5, 3)), t=np.zeros((5, 1)))
    inputs = [real("serving_default_more:0", 3), real("x_1", 2), real("t", 1)]
    batch = open_arrays(tmp_path / "a.npz").batch(inputs, {"picture": "x_1"})
    assert {name: values.shape for name, values in batch.arrays.items()} == {
        "serving_default_more:0": (5, 3), "x_1": (5, 2), "t": (5, 1),
    }  # fmt: skip


def test_missing_and_extra_arrays_are_named_with_both_lists(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.ones((5, 2)), rigth=np.zeros((5, 3)))
    words = (
        r"holds left \(2 float64\), rigth \(3 float64\); the model takes left \(2 float\), right \(3 float\): "
        r"no array for right and no input for rigth\."
    )
    with pytest.raises(InputError, match=words):
        open_arrays(tmp_path / "a.npz").batch([real("left", 2), real("right", 3)])
    np.savez(tmp_path / "b.npz", left=np.ones((5, 2)), other=np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"the model takes left \(2 float\): no input for other"):
        open_arrays(tmp_path / "b.npz").batch([real("left", 2)])


def test_another_shape_or_dtype_names_both(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
    with pytest.raises(InputError, match=r"holds one array \(3x2 float64\); the model takes image \(2x3 float\)"):
        open_arrays(tmp_path / "a.npy").batch([real("image", 2, 3)])
    np.savez(tmp_path / "a.npz", word=np.array([[3], [300]]), x=np.zeros((2, 1)))
    found = open_arrays(tmp_path / "a.npz")
    batch = found.batch([real("word", 1, dtype="int32"), real("x", 1)])
    assert batch.arrays["word"].dtype == np.int32
    with pytest.raises(InputError, match=r"the model takes word \(1 uint8\), x \(1 float\): word of another shape or"):
        found.batch([real("word", 1, dtype="uint8"), real("x", 1)])
    with pytest.raises(InputError, match=r"word \(1 int64\).*: word of another shape or dtype"):
        found.batch([real("word", 1), real("x", 1)])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.array([["a"]])}, "an input is of float, uint8 or whole numbers"),
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
