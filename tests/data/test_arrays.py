import os
import pickle
import random
import zipfile
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


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    """A .npy of a header alone."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [_header("(99999999999, 1000)"), _header("(99999999999999999999, 9)"), _header("(-1, 9)"), _header("(True, 4)"),
     _header("(2, 2)", "'|O'"), _header("(2, 2)", "['<f4']"), _header("(" * 200), _header("(2, 2)")[:40],
     b"\x93NUMPY\x09\x00" + b"x" * 40],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_headers_that_promise_too_much_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.{suffix}"):
        open_arrays(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path}/run",)

    np.save(tmp_path / "a.npy", np.array([[Evil()]], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([[Evil()]], object))
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(InputError, match=r"Object arrays cannot be loaded|no \.npy or \.npz"):
            open_arrays(tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_an_npz_that_unpacks_to_much_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000), np.float32))
    assert open_arrays(tmp_path / "a.npz").count == 1000
    monkeypatch.setattr("mnedge.data.arrays._MOST_BYTES", 3_999_999)
    with pytest.raises(InputError, match=r"unpacks to 4,000,128; at most 3,999,999 bytes, or 4 times the file"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_npz_holds_arrays_alone_each_once(tmp_path: Path) -> None:
    for name, member, message in (
        ("a.npz", "notes.txt", "holds notes.txt, which is no array"),
        ("b.npz", "x.npy", "holds x 2 times; each array has a name of its own"),
        ("c.npz", "x", "holds x 2 times"),
    ):
        np.savez(tmp_path / name, x=np.ones((5, 2)))
        with zipfile.ZipFile(tmp_path / name, "a") as archive:
            archive.writestr(member, b"no array")
        with pytest.raises(InputError, match=message):
            open_arrays(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(InputError, match="it is no regular file"):
        open_arrays(tmp_path / "a.npy")


def test_damaged_arrays(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    np.savez(tmp_path / "a.npz", left=np.ones((5, 2)), y=np.arange(5))
    np.savez_compressed(tmp_path / "b.npz", left=np.ones((50, 20), np.float32), y=np.arange(50))
    np.save(tmp_path / "c.npy", np.arange(24, dtype=np.uint8).reshape(4, 6))
    seeds = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    taken = refused = 0
    for seed in range(request.config.getoption("--fuzz")):
        chance = random.Random(seed)  # noqa: S311 - damage, not secrets
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.choice((0, 1, 1, 3))] = chance.choice((b"", b"\xff", b"\0", b"9", b"(", b"PK\1\2"))
        (tmp_path / "x.npz").write_bytes(data)
        try:
            found = open_arrays(tmp_path / "x.npz")
        except InputError:
            refused += 1
            continue
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {exc!r}") from exc
        taken += found.count > 0
    assert taken > 0
    assert refused > 0
